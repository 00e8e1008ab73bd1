"""What a lock claims of its inputs, held against what the commit has."""

import pytest

from lifecycle.comparison.lock import list_stale

FIT = {"cmd": "fit", "deps": [{"path": "data", "md5": "a"}], "outs": [{"path": "out/model.onnx", "md5": "b"}]}


def make_lock(**changes: object) -> dict:
    """Make up a lock of two stages; the changes are the first one's."""
    measure = {"cmd": "measure", "deps": [{"path": "out/model.onnx", "md5": "b"}]}
    return {"stages": {"fit": FIT | changes, "measure": measure}}


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, ()),
        ({"deps": [{"path": "data", "md5": "c"}]}, ("stage fit: data (data)",)),
        ({"cmd": "fit anew"}, ("stage fit: command (fit anew)",)),
        # What comes out is no input: whether it is true, a run alone can tell.
        ({"outs": [{"path": "out/model.onnx", "md5": "c"}]}, ()),
    ],
)
def test_lock_is_stale_where_it_names_other_inputs(changes: dict[str, object], reasons: tuple[str, ...]) -> None:
    assert list_stale(make_lock(), make_lock(**changes)) == reasons


def test_stage_whose_input_an_earlier_stage_made_anew_is_no_reason_of_its_own() -> None:
    made = make_lock()
    made["stages"]["measure"] = {"cmd": "measure", "deps": [{"path": "out/model.onnx", "md5": "c"}]}

    assert not list_stale(make_lock(), made)


def test_stage_that_the_lock_does_not_name_makes_it_stale() -> None:
    made = make_lock()
    made["stages"]["more"] = FIT

    assert list_stale(make_lock(), made) == ("stage more: new stage",)


@pytest.mark.parametrize("claimed", [{}, {"stages": None}])
def test_lock_without_a_stage_is_stale(claimed: dict) -> None:
    assert list_stale(claimed, make_lock()) == ("dvc.lock names no stage",)
