"""The command that compares: what it reads of a log, and the decision that it keeps next to the version."""

import json
from pathlib import Path

import pytest
from conftest import run_git, run_here
from logs import make_label, make_line, write_log
from rivals import NAMES

from lifecycle.compare import main
from lifecycle.errors import MisuseError, RefusedError
from lifecycle.paths import DECISION
from rehearsal.remote import call_git, change_params, introduce_author

LOGS = ("--predictions", "predictions", "--labels", "labels")


@pytest.mark.usefixtures("readings_folder")
@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ([], MisuseError, "name --predictions and --labels, or --target"),
        (["--predictions", "none", "--labels", "none"], RefusedError, "none cannot be read"),
        (["--predictions", "log", "--labels", "log"], RefusedError, "no prediction in the log is a challenger's"),
    ],
)
def test_log_that_is_none_is_refused_and_nothing_is_written(options: list[str], error: type, said: str) -> None:
    write_log(Path("log"), [make_line(0)])

    with pytest.raises(error, match=said):
        main(options)

    assert not DECISION.exists()


def write_logs(labelled: int = 150) -> None:
    """Write 150 requests that both models predicted: half the probe's size is true, and the challenger says so."""
    beside = {"variant": "shadow", "model_version": NAMES[1], "model_hash": "1" * 64}
    rows = [make_line(place, prediction=25.0 + sign) for place, sign in enumerate([1, -1, 2] * 50)]
    write_log(Path("predictions"), rows + [make_line(place, **beside) for place in range(150)])
    write_log(Path("labels"), [make_label(place) for place in range(labelled)])


@pytest.fixture(name="folder")
def fixture_folder(readings_folder: None, tmp_path: Path) -> Path:  # pylint: disable=unused-argument
    """A registry with the champion v1.0.0 and its challenger v1.1.0, and what both predicted in a log."""
    call_git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    introduce_author(tmp_path)
    for version in NAMES:
        call_git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", version)
        call_git(tmp_path, "tag", "--annotate", "--message", "Register", f"readings@{version}")
    call_git(tmp_path, "tag", "--annotate", "--message", "Promote", "readings#production#1", "main~1")
    write_logs()
    return tmp_path


def test_decision_is_kept_next_to_the_version_and_stands(folder: Path) -> None:
    tags = run_git(folder, "for-each-ref", "refs/tags")

    first = run_here(folder, "lifecycle.compare", *LOGS).stdout
    record = (folder / DECISION).read_bytes()
    (folder / DECISION).unlink()
    again = run_here(folder, "lifecycle.compare", *LOGS).stdout

    assert first.startswith("compare: v1.1.0: promote after 20 requests against v1.0.0 (shadow), ")
    assert first.endswith("To share it: git push origin refs/notes/decisions\n")
    assert again.endswith("This decision stands already; nothing changed.\n")
    assert (folder / DECISION).read_bytes() == record
    assert [json.loads(record)[key]["version"] for key in ("champion", "challenger")] == list(NAMES)
    # Of the 20 requests that decide, 14 gain 1 and 6 gain 4.
    assert (json.loads(record)["gain"], json.loads(record)["loss"]) == (1.9, "squared_error")
    shown = run_here(folder, "lifecycle.registry", "show").stdout.splitlines()
    assert shown[-1].startswith("v1.1.0: promote after 20 requests against v1.0.0 (shadow), 20")
    assert max(len(line) for line in shown) <= 80
    lineage = run_here(folder, "lifecycle.lineage", "v1.1.0").stdout
    assert "decisions: promote after 20 requests against v1.0.0 (shadow), 20" in lineage.replace("\n  - ", " ")
    # A note is no tag: which versions there are, and which is champion, stays as it was.
    assert run_git(folder, "for-each-ref", "refs/tags") == tags


def test_decision_of_another_mode_or_model_of_the_repository_is_another_one(folder: Path) -> None:
    commit = run_git(folder, "rev-parse", "readings@v1.1.0^{commit}").strip()
    run_git(folder, "notes", "--ref=decisions", "add", "-m", "Looked at by hand.", commit)
    other = {"name": "another", "decision": "keep", "mode": "shadow"}
    run_git(folder, "notes", "--ref=decisions", "append", "-m", json.dumps(other), commit)

    run_here(folder, "lifecycle.compare", *LOGS)

    note = run_git(folder, "notes", "--ref=decisions", "show", commit)
    assert "Looked at by hand." in note and json.dumps(other) in note
    assert len(run_here(folder, "lifecycle.registry", "show").stdout.splitlines()) == 4


def test_too_few_labels_decide_nothing_and_leave_no_note(folder: Path) -> None:
    write_logs(labelled=10)

    said = run_here(folder, "lifecycle.compare", *LOGS).stdout

    record = json.loads((folder / DECISION).read_text(encoding="utf-8"))
    assert (record["decision"], record["requests"], record["gain"]) == ("continue", 10, None)
    assert said.endswith("Nothing is decided yet; look again when more labels have come.\n")
    assert not run_git(folder, "for-each-ref", "refs/notes")


def test_requests_of_a_deploy_are_no_callers_and_counted_apart(folder: Path) -> None:
    write_log(Path("predictions"), [make_line(place, request_id=f"probe-{place}") for place in range(7)], name="b.gz")

    run_here(folder, "lifecycle.compare", *LOGS)

    record = json.loads((folder / DECISION).read_text(encoding="utf-8"))
    assert record["left_out"]["request of a deploy"] == 7
    assert record["requests"] == 20


def test_note_that_git_cannot_write_is_told_and_leaves_no_file(folder: Path) -> None:
    (folder / ".git/refs/notes").write_text("in the way", encoding="utf-8")

    done = run_here(folder, "lifecycle.compare", *LOGS)

    assert done.returncode == 1 and done.stderr.startswith(
        "RefusedError: the note in refs/notes/decisions was not written: "
    )
    assert len(done.stderr.splitlines()) == 1 and not (folder / DECISION).exists()


def test_version_that_is_not_registered_is_decided_on_without_a_note(folder: Path) -> None:
    run_git(folder, "tag", "--delete", "readings@v1.1.0")

    said = run_here(folder, "lifecycle.compare", *LOGS).stdout

    assert said.endswith("v1.1.0 is no registered version: kept in out/decision.json alone.\n")
    assert json.loads((folder / DECISION).read_text(encoding="utf-8"))["decision"] == "promote"


def let_wait(folder: Path, monkeypatch: pytest.MonkeyPatch, since: str) -> None:
    """Let new versions serve beside the champion first, and v1.1.0 do so since a day."""
    change_params(folder, {"deploy": {"challenge": True}})
    monkeypatch.setenv("GIT_COMMITTER_DATE", f"{since}T00:00:00Z")
    run_git(folder, "tag", "--force", "-a", "-m", "Register", "readings@v1.1.0", "readings@v1.1.0^{commit}")


def test_decision_on_the_version_that_waits_is_told_to_the_runner(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_wait(folder, monkeypatch, "2026-10-31")
    monkeypatch.setenv("GITHUB_OUTPUT", str(folder / "output"))

    done = run_here(folder, "lifecycle.compare", "--waiting", *LOGS)

    assert done.stdout.startswith("compare: v1.1.0: promote after 20 requests against v1.0.0 (shadow), ")
    assert (folder / "output").read_text(encoding="utf-8") == "decision=promote\n"


def test_nothing_is_decided_while_the_log_holds_nothing_of_the_version_that_waits(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_wait(folder, monkeypatch, "2026-11-03")
    monkeypatch.setenv("GITHUB_OUTPUT", str(folder / "output"))

    done = run_here(folder, "lifecycle.compare", "--waiting", *LOGS)

    assert done.stdout == "compare: v1.1.0 waits; the log holds no prediction of it yet.\n" and not done.returncode
    assert not (folder / "output").exists() and not (folder / DECISION).exists()
    assert not run_git(folder, "for-each-ref", "refs/notes")


def test_where_no_version_waits_no_log_is_read(folder: Path) -> None:
    done = run_here(folder, "lifecycle.compare", "--waiting", "--predictions", "nowhere", "--labels", "nowhere")

    assert (done.returncode, done.stdout) == (0, "compare: no version waits for a decision.\n")
