"""A champion whose own code cannot be had, or cannot read the test rows, is refused by its name."""

from pathlib import Path

import pytest
from conftest import PACKAGE, commit_all, replace_text, run_git

from lifecycle.comparison.champion import predict_champion
from lifecycle.data.rows import read_rows
from lifecycle.errors import RefusedError
from lifecycle.paths import TEST
from lifecycle.registry import Champion


def predict(folder: Path) -> None:
    """Let the model of the folder's commit predict while the code of the task is another one."""
    champion = Champion("model@v1.0.0", run_git(folder, "rev-parse", "HEAD").strip(), "v1.0.0", None)
    features = folder / "src" / PACKAGE / "features.py"
    features.write_text("# Other features\n", encoding="utf-8")
    predict_champion(champion, read_rows(TEST), TEST, PACKAGE)


def test_champion_that_needs_a_column_which_is_gone_is_refused_with_the_way_out(workspace: Path) -> None:
    replace_text(workspace / "src" / PACKAGE / "features.py", "columns[name]", "columns['gone']")
    commit_all(workspace, "Need another column")

    said = r"^champion model@v1\.0\.0 cannot read the test rows \(KeyError: 'gone'\)\. A column that it needs is gone"
    with pytest.raises(RefusedError, match=said):
        predict(workspace)


def test_champion_whose_commit_does_not_name_its_code_is_refused(workspace: Path) -> None:
    run_git(workspace, "rm", "--quiet", "--cached", "params.yaml")
    run_git(workspace, "commit", "--quiet", "--message", "Lose the name of the task's code")

    with pytest.raises(RefusedError, match=r"^the code of champion model@v1\.0\.0 cannot be had: .*params\.yaml"):
        predict(workspace)
