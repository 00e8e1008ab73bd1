"""params.yaml is the one home of tunables: what is wrong there is told in one line."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from readings import PARAMS, Hyperparameters, write_params

from lifecycle.errors import MisuseError
from lifecycle.params import read_params

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def fixture_folder(tmp_path, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])


def write(params):
    """Write params.yaml whole."""
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def expect_refusal(message):
    """Expect that params.yaml is refused with a message of one line."""
    with pytest.raises(MisuseError) as refused:
        read_params()
    assert str(refused.value) == message


def test_parameters_come_as_they_are_written(tmp_path) -> None:
    write_params(tmp_path, {"ingest": {"keep_months": 6}})

    params = read_params()

    assert params.ingest.keep_months == 6
    assert params.gate.limits == {"r2_score": 0}
    assert params.train.seed == 0
    assert params.train.hyperparameters == Hyperparameters(rate=0.5, depth=3)


def test_parameters_of_this_repository_are_understood() -> None:
    assert read_params(ROOT / "params.yaml").train.hyperparameters


@pytest.mark.parametrize("section", [name for name in PARAMS if name != "domain"])
def test_unknown_key_of_a_section_is_named(section, tmp_path) -> None:
    write_params(tmp_path, {section: {"colour": "red"}})

    expect_refusal(f"params.yaml: {section}.colour is unknown; remove it, or correct its spelling.")


@pytest.mark.parametrize(
    ("section", "key"), [(name, key) for name, values in PARAMS.items() if name != "domain" for key in values]
)
def test_missing_key_of_a_section_is_named(section, key) -> None:
    rest = {name: value for name, value in PARAMS[section].items() if name != key}
    write(PARAMS | {section: rest})

    expect_refusal(f"params.yaml: {section}.{key} is missing; every key is required.")


@pytest.mark.parametrize("section", PARAMS)
def test_missing_section_is_named(section) -> None:
    write({name: value for name, value in PARAMS.items() if name != section})

    expect_refusal(f"params.yaml: {section} is missing; every key is required.")


def test_unknown_section_is_named_before_what_is_missing() -> None:
    write({"trian" if name == "train" else name: value for name, value in PARAMS.items()})

    expect_refusal("params.yaml: trian is unknown; remove it, or correct its spelling.")


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("sample", "rows_per_month", "40", "input should be a valid integer"),
        ("sample", "rows_per_month", 0, "input should be greater than 0"),
        ("sample", "seed", 1.5, "input should be a valid integer"),
        ("ingest", "source", None, "input should be a valid string"),
        ("ingest", "keep_months", 0, "input should be greater than 0"),
        ("ingest", "keep_months", "all", "input should be a valid integer"),
        ("environment", "libraries", "numpy", "input should be a valid list"),
        ("prepare", "test_months", True, "input should be a valid integer"),
        ("train", "folds", 1, "input should be greater than or equal to 2"),
        ("train", "rate", "fast", "input should be a valid number"),
        ("train", "depth", 2.5, "input should be a valid integer"),
        ("evaluate", "metrics", [], "list should have at least 1 item after validation, not 0"),
        ("evaluate", "confidence", 1, "input should be less than 1"),
        ("gate", "tolerance", -0.1, "input should be greater than or equal to 0"),
        # A limit that is no number would hold for every model.
        ("gate", "tolerance", float("nan"), "input should be a finite number"),
        ("gate", "max_size_mb", float("inf"), "input should be a finite number"),
        ("registry", "name", "My Model", "string should match pattern '^[a-z][a-z0-9-]*[a-z0-9]$'"),
    ],
)
def test_wrong_value_is_told_with_its_key_and_what_was_expected(section, key, value, expected, tmp_path) -> None:
    write_params(tmp_path, {section: {key: value}})

    expect_refusal(f"params.yaml: {section}.{key} is {value!r}; expected: {expected}.")


def test_wrong_value_inside_a_list_or_a_mapping_is_found(tmp_path) -> None:
    write_params(tmp_path, {"gate": {"limits": {"r2_score": float("nan")}}})
    expect_refusal("params.yaml: gate.limits.r2_score is nan; expected: input should be a finite number.")

    write_params(tmp_path, {"sample": {"months": ["2024-01", "2024-13"]}})
    with pytest.raises(MisuseError, match=r"sample\.months\.1 is '2024-13'; expected: string should match pattern"):
        read_params()


@pytest.mark.parametrize("key", ["hyperparameters", "momentum"])
def test_key_of_train_that_no_hyperparameter_has_is_named(key, tmp_path) -> None:
    write_params(tmp_path, {"train": {key: 1}})

    expect_refusal(f"params.yaml: train.{key} is unknown; remove it, or correct its spelling.")


@pytest.mark.parametrize("section", ["train", "gate"])
def test_section_that_is_none_is_told(section) -> None:
    write(PARAMS | {section: 3})

    with pytest.raises(MisuseError, match=rf"^params\.yaml: {section} is 3; expected: input should be a valid"):
        read_params()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"train: [1\nseed: 2\n", r"^params\.yaml is no YAML: .*line 2.*$"),
        (b"train: \xff\n", r"^params\.yaml is no YAML: .*$"),
        (b"", r"^params\.yaml: its top level is None; expected: .*dictionary.*$"),
    ],
    ids=["broken", "not UTF-8", "empty"],
)
def test_file_that_is_no_mapping_is_told_in_one_line(text, message, tmp_path) -> None:
    (tmp_path / "params.yaml").write_bytes(text)

    with pytest.raises(MisuseError, match=message) as refused:
        read_params()
    assert "\n" not in str(refused.value)


def test_missing_file_says_where_to_start() -> None:
    expect_refusal("params.yaml is missing; start in the folder that holds it.")


def test_command_ends_with_one_line_and_code_2(tmp_path) -> None:
    write_params(tmp_path, {"prepare": {"test_months": "one"}})

    done = subprocess.run(
        [sys.executable, "-m", "lifecycle.params"], capture_output=True, text=True, check=False, cwd=tmp_path
    )

    assert done.returncode == 2
    assert done.stderr == (
        "MisuseError: params.yaml: prepare.test_months is 'one'; expected: input should be a valid integer.\n"
    )
