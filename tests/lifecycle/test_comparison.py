"""Decisions between champion and challenger on GitHub: read as data, kept next to the version, and acted on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosting import use_github
from repositories import copy_repository, git
from test_versions import change_model

import rehearsal.github_pulls  # noqa: F401  pylint: disable=unused-import
from lifecycle.compare import find_waiting
from lifecycle.comparison.record import NOTES, read_decisions
from lifecycle.errors import MisuseError, RefusedError
from lifecycle.github.comparison import main
from lifecycle.github.versions import promote, register
from lifecycle.params import DeployParams, Params, read_params
from lifecycle.serving.contenders import choose_challenger
from rehearsal.github import Repository
from rehearsal.remote import AUTHOR, COMMITTER

RECORD: dict[str, Any] = {
    "name": "model",
    "decision": "promote",
    "mode": "shadow",
    "champion": {"version": "v1.0.0", "hash": "a"},
    "challenger": {"version": "v1.1.0", "hash": "b"},
    "requests": 500,
    "gain": 1.5,
    "low": 1.0,
    "high": 2.0,
    "loss": "squared_error",
    "rule": {"alpha": 0.05, "min_requests": 500, "max_requests": 20000, "min_gain": 0},
    "from": "2026-01-01T00:00:00+00:00",
    "until": "2026-01-02T00:00:00+00:00",
    "left_out": {"doubled": 3},
    "decided_at": "2026-01-02T00:00:00+00:00",
}


@pytest.fixture(name="github")
def fixture_github(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Repository]:
    """Start in a clone with the champion v1.0.0 and, checked out, v1.1.0; beside it the remote and its GitHub."""
    monkeypatch.chdir(copy_repository(tmp_path_factory, tmp_path / "repository"))
    git("clone", "--quiet", "--bare", ".", str(tmp_path / "remote.git"))
    git("remote", "add", "origin", str(tmp_path / "remote.git"))
    register("model")
    promote("model", "v1.0.0")
    change_model()
    register("model")
    # A job's process ends after it has named itself to Git; this one does not.
    with use_github(monkeypatch, tmp_path, **AUTHOR, **COMMITTER) as repository:
        yield repository


def keep(folder: Path, **changes: Any) -> None:
    """Keep a decision that another job made."""
    path = folder / "decision.json"
    path.write_text(json.dumps(RECORD | changes), encoding="utf-8")
    main(["keep", str(path)])


def read_remote(folder: Path) -> list[dict[str, Any]]:
    """Read the decisions on the challenger that a fresh clone fetches."""
    git("clone", "--quiet", str(folder / "remote.git"), str(folder / "fresh"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "fresh")
        main(["fetch"])
        return read_decisions("model", git("rev-parse", "model@v1.1.0^{commit}").strip())


def challenge(**changes: Any) -> Params:
    """Let new versions serve beside the champion first."""
    params = read_params()
    deploying = DeployParams(**params.deploy.model_dump() | {"challenge": True})
    return params.model_copy(update={"deploy": deploying, **changes})


def test_challenger_that_won_is_deployed_and_its_decision_shared(
    github: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose_challenger(challenge()) == "v1.1.0"

    keep(tmp_path)
    keep(tmp_path, decided_at="2026-01-03T00:00:00+00:00")

    assert read_remote(tmp_path) == [RECORD]
    assert github.dispatches == [{"workflow": "deploy.yml", "ref": "main", "inputs": {}}] * 2
    said = "v1.1.0: promote after 500 requests against v1.0.0 (shadow), 2026-01-02; started deploy.yml\n"
    assert capsys.readouterr().out == 2 * said
    # From now on it takes over, and nothing waits.
    assert choose_challenger(challenge()) is None and find_waiting(challenge()) is None


@pytest.mark.parametrize("decision", ["keep", "undecided"])
def test_challenger_that_did_not_win_is_not_deployed(github: Repository, tmp_path: Path, decision: str) -> None:
    keep(tmp_path, decision=decision)

    assert read_remote(tmp_path) == [RECORD | {"decision": decision}] and not github.dispatches
    assert find_waiting(challenge()) is None
    with pytest.raises(RefusedError, match=f"v1.1.0 is not to replace the champion .{decision} after 500 requests"):
        choose_challenger(challenge())


@pytest.mark.usefixtures("github")
def test_decision_against_another_champion_holds_nobody_back(tmp_path: Path) -> None:
    keep(tmp_path, decision="keep", champion={"version": "v0.9.0", "hash": "c"})

    assert choose_challenger(challenge()) == "v1.1.0"
    assert find_waiting(challenge()).name == "v1.1.0"


def test_decision_on_a_version_that_main_has_left_starts_nothing(
    github: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git("commit", "--quiet", "--allow-empty", "--message", "Other code")

    keep(tmp_path)

    assert "main has moved on" in capsys.readouterr().out and not github.dispatches
    assert read_remote(tmp_path) == [RECORD]


@pytest.mark.usefixtures("github")
def test_version_waits_while_the_policy_lets_it_serve_beside_the_champion() -> None:
    waiting = find_waiting(challenge())

    assert waiting and waiting.name == "v1.1.0"
    # The policy is off by default.
    assert find_waiting(read_params()) is None and choose_challenger(read_params()) is None
    promote("model", "v1.1.0")
    assert find_waiting(challenge()) is None and choose_challenger(challenge()) is None


@pytest.mark.usefixtures("github")
def test_version_of_other_code_takes_over_by_a_canary(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("src/domain/more.py")
    path.parent.mkdir(parents=True)
    path.write_text("MORE = 1\n", encoding="utf-8")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Other features")
    register("model")

    assert choose_challenger(challenge()) is None

    # The patch has the model of v1.1.0, which the champion has not.
    assert "v1.1.1 and the champion v1.0.0 have other code of the task" in capsys.readouterr().out


@pytest.mark.usefixtures("github")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"decision": "continue"}, "is refused: decision is continue"),
        ({"gain": float("nan")}, "is refused: it is no JSON: it holds NaN"),
        ({"requests": "500"}, "is refused: requests is 500"),
        ({"more": 1}, "is refused: more is unknown"),
        ({"mode": "x" * 200_000}, "more than 100,000 bytes"),
        ({"name": "another"}, "is about another; expected model."),
        ({"challenger": {"version": "v9.9.9", "hash": "b"}}, "model@v9.9.9 is not registered"),
    ],
)
def test_record_that_is_no_decision_changes_nothing(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises((MisuseError, RefusedError), match=said):
        keep(tmp_path, **changes)

    assert not git("for-each-ref", NOTES)


@pytest.mark.usefixtures("github")
def test_decision_that_cannot_be_pushed_is_not_kept(tmp_path: Path) -> None:
    hook = tmp_path / "remote.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho no >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)

    with pytest.raises(RefusedError, match="no"):
        keep(tmp_path)

    assert not git("for-each-ref", NOTES)
    hook.unlink()
    keep(tmp_path, decision="keep")
    hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    with pytest.raises(RefusedError):
        keep(tmp_path, mode="split")
    commit = git("rev-parse", "model@v1.1.0^{commit}").strip()
    assert [record["mode"] for record in read_decisions("model", commit)] == ["shadow"]


def test_missing_file_is_misuse(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="expected what lifecycle.compare wrote"):
        main(["keep", str(tmp_path / "none.json")])
