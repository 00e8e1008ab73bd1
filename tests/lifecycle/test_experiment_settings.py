"""Settings of an experiment: read, named, and written into params.yaml in the form that people gave it."""

import pytest
import yaml

from lifecycle.errors import MisuseError
from lifecycle.experiments.branch import restore_form
from lifecycle.experiments.settings import LONGEST_NAME, choose_name, edit_params, parse_settings

PARAMS = b"""\
train: # why
  rate: 0.5 # a share
  names: [a, b]
  # Of a tree.
  depth:
    - 1
    - 2
note: 'x'
"""


def test_each_combination_of_values_is_an_experiment() -> None:
    assert parse_settings("train.rate=0.1,0.2 train.names=[a,b]") == [
        {"train.rate": 0.1, "train.names": ["a", "b"]},
        {"train.rate": 0.2, "train.names": ["a", "b"]},
    ]
    assert parse_settings("") == [{}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate", "'rate' is no setting; expected key=value"),
        ("=1", "'=1' is no setting"),
        ("a=1 a=2", "a is set twice"),
        ("a=", "has no value"),
        ("a=[1", "has no value"),
        ("a={b: 1}", "'{b:' is no|has no value|'1}' is no"),
        ("a='1", "cannot be read"),
    ],
)
def test_text_that_is_no_setting_is_told(text: str, said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        parse_settings(text)


def test_setting_a_value_leaves_form_and_comments() -> None:
    edited = edit_params(PARAMS, {"train.depth": [3], "train.rate": 0.25, "note": "y: #"})

    assert yaml.safe_load(edited) == {"train": {"rate": 0.25, "names": ["a", "b"], "depth": [3]}, "note": "y: #"}
    assert edited.startswith(b"train: # why\n  rate: 0.25 # a share\n  names: [a, b]\n  # Of a tree.\n  depth:\n")


def test_key_of_another_section_and_a_section_on_one_line_stay_whole() -> None:
    edited = edit_params(b"train: {rate: 1, depth: 7}\ngate:\n  rate: 3\n", {"train.rate": 2.5})

    assert edited == b"train: {rate: 2.5, depth: 7}\ngate:\n  rate: 3\n"


@pytest.mark.parametrize(("said", "number"), [("1e-6", 1e-6), ("2.5E3", 2500), ("1e+20", 1e20), ("-3", -3)])
def test_number_with_an_exponent_is_one_wherever_it_is_read(said: str, number: float) -> None:
    ((setting,),) = (one.values() for one in parse_settings(f"train.rate={said}"))

    assert setting == number
    assert yaml.safe_load(edit_params(PARAMS, {"train.rate": setting}))["train"]["rate"] == number
    assert yaml.safe_load(edit_params(PARAMS, {"train.rate": [setting]}))["train"]["rate"] == [number]


@pytest.mark.parametrize(
    ("key", "said"),
    [("train.rat", "has no 'rat' there; it has rate, names"), ("train", "is a section"), ("note.x", "has no 'x'")],
)
def test_unknown_key_is_told_with_its_neighbours(key: str, said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        edit_params(PARAMS, {key: 1})


def test_names_are_readable_unique_and_short() -> None:
    settings = {"train.rate": 0.1, "evaluate.source": "s3://a/../b"}
    long = {f"train.parameter_{number}": number for number in range(9)}

    name = choose_name(settings, ())

    assert name == "rate-0.1-source-s3-a-b"
    assert choose_name(settings, (name, f"{name}-2")) == f"{name}-3"
    assert choose_name(settings, ("mine",), "mine") == "mine-2"
    assert len(choose_name(long, (choose_name(long, ()),))) <= LONGEST_NAME
    assert choose_name(long, ()) != choose_name({**long, "train.parameter_8": 0}, ())


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (
            b"train: {rate: 0.25, names: [a, b]}\nnote: x\n",
            b"train:\n  rate: 0.25 # a share\n  names: [a, b]\nnote: 'x'\n",
        ),
        (b"train: {rate: 0.25, names: [a, b], new: 1}\nnote: x\n", None),
        (b"train: {rate: 0.25, names: [a, b]}\n", None),
    ],
    ids=["a value", "a new key", "a key that is gone"],
)
def test_form_of_params_comes_back_unless_keys_came_or_went(after: bytes, expected: bytes | None) -> None:
    former = b"train:\n  rate: 0.5 # a share\n  names: [a, b]\nnote: 'x'\n"

    assert restore_form(former, after) == (expected or after)
