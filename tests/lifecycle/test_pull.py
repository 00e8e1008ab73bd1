"""What the first step of the pipeline says when the data cannot be brought in line."""

from pathlib import Path

from conftest import replace_text, run_here


def test_data_are_brought_back(workspace: Path) -> None:
    month = next(Path("data").glob("*.parquet"))
    content = month.read_bytes()
    month.unlink()
    run_here(workspace, "lifecycle.pull")
    assert month.read_bytes() == content


def test_file_without_a_copy_is_not_thrown_away(workspace: Path) -> None:
    own = Path("data/notes.txt")
    own.write_text("mine", encoding="utf-8")
    month = next(Path("data").glob("*.parquet"))
    month.unlink()
    month.write_bytes(b"changed by hand")
    done = run_here(workspace, "lifecycle.pull")
    assert done.returncode == 1
    assert done.stderr.startswith("RefusedError: dvc pull data.dvc failed: ")
    assert done.stderr.count("\n") == 1
    assert own.read_text(encoding="utf-8") == "mine"
    assert month.read_bytes() == b"changed by hand"


def test_misspelt_parameter_is_told_first(workspace: Path) -> None:
    replace_text(workspace / "params.yaml", "tolerance:", "tolerence:")
    done = run_here(workspace, "lifecycle.pull")
    assert done.returncode == 2
    assert "gate.tolerence is unknown" in done.stderr
