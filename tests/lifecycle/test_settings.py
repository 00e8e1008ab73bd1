"""What the preflight of a repository's settings says and sets, with the real gh against GitHub on loopback."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, run_python
from tools import require_tool

import rehearsal.github_settings  # noqa: F401  pylint: disable=unused-import
from lifecycle.errors import MisuseError, RefusedError
from lifecycle.github.settings import format_line, main, read_dvc_remote
from lifecycle.github.wanted import read_optional, read_settings
from rehearsal.github import Repository, serve_github

# A fork may ask for more than the template does.
SETTINGS = [str(setting) for setting in read_settings(ROOT / ".github")]
RULESETS = ["ruleset main", "ruleset versions"]
LABELS = ["label reproduce", "label retrain", "label dependencies"]
NEEDED = [
    "repository settings",
    "Actions settings",
    *LABELS,
    *RULESETS,
    "environment staging",
    "environment production",
]
ALL = len(SETTINGS)
UPGRADE = "Upgrade to GitHub Pro or make this repository public to enable this feature."


@contextmanager
def log_in(repository: Repository, folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """Log gh in to a GitHub on loopback, in this repository's folder."""
    require_tool("gh")
    with pytest.MonkeyPatch.context() as patch, serve_github(repository, folder) as environment:
        for name in ("GH_TOKEN", "GITHUB_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_REPO"):
            patch.delenv(name, raising=False)
        # The login of the person who runs the tests stays out of them.
        patch.setenv("GH_CONFIG_DIR", str(folder / "gh"))
        patch.chdir(ROOT)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield patch


@pytest.fixture(name="github")
def fixture_github(tmp_path: Path) -> Iterator[Repository]:
    """A new repository, to which gh is logged in; the files are this repository's."""
    repository = Repository()
    with log_in(repository, tmp_path):
        yield repository


@pytest.fixture(name="settings", scope="module")
def fixture_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What GitHub has after the files have been applied. Read it, and never write to it."""
    repository = Repository()
    with log_in(repository, tmp_path_factory.mktemp("github")):
        main(["--apply"])
    return repository.settings


@pytest.fixture(name="applied")
def fixture_applied(github: Repository, settings: dict[str, Any]) -> Repository:
    """A repository to which the files have been applied."""
    github.settings.update(deepcopy(settings))
    return github


def read_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Read the lines that were printed, each of which must fit a terminal."""
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    return lines


def find_ruleset(repository: Repository, name: str) -> dict[str, Any]:
    """Find a ruleset as GitHub keeps it."""
    return next(one for one in repository.settings["rulesets"].values() if one["name"] == name)


def find_rule(repository: Repository, kind: str) -> dict[str, Any]:
    """Find the parameters of a rule for the main branch."""
    rules = find_ruleset(repository, "main")["rules"]
    return next(rule["parameters"] for rule in rules if rule["type"] == kind)


def test_preflight_names_everything_that_a_new_repository_lacks(github: Repository, capsys: Any) -> None:
    with pytest.raises(RefusedError, match=rf"^{ALL} of {ALL} are not as \.github says\. Run: .* --apply$"):
        main([])

    lines = read_lines(capsys)
    assert lines[0] == "repository team/model"
    assert {line[9:33].rstrip() for line in lines if line.startswith(("missing", "differs"))} == set(SETTINGS)
    assert format_line("differs", "repository settings", "allow_auto_merge is false") in lines
    assert format_line("differs", "Actions settings", "can_approve_pull_request_reviews is false") in lines
    assert format_line("missing", "label reproduce", "as in .github/labels.json") in lines
    assert github.requests
    assert not github.list_writes()


@pytest.mark.acceptance
def test_preflight_ends_with_1_and_one_line(github: Repository) -> None:
    done = run_python(ROOT, "lifecycle.github.settings", check=False)

    assert done.returncode == 1
    assert done.stderr.startswith(f"RefusedError: {ALL} of {ALL} are not as .github says.")
    assert done.stderr.count("\n") == 1
    assert not github.list_writes()


def test_preflight_ends_with_0_when_everything_is_set(applied: Repository) -> None:
    done = run_python(ROOT, "lifecycle.github.settings")

    assert done.stdout.splitlines()[-1] == f"all {ALL} are as .github says; nothing was changed"
    assert not applied.list_writes()


def test_apply_sets_everything(github: Repository, capsys: Any) -> None:
    main(["--apply"])

    lines = read_lines(capsys)
    for name in NEEDED[2:]:
        assert format_line("created", name) in lines
    assert format_line("changed", "Actions settings") in lines
    assert lines[-1] == f"all {ALL} are as .github says; {ALL} were changed"
    checks = find_rule(github, "required_status_checks")["required_status_checks"]
    assert {"context": "Gate", "integration_id": 15368} in checks
    assert {rule["type"] for rule in find_ruleset(github, "versions")["rules"]} == {"update", "deletion"}
    assert github.settings["labels"]["reproduce"]["color"] == "0e8a16"
    assert github.settings["environments"]["production"]["deployment_branch_policy"]["protected_branches"]
    assert github.settings["repository"]["allow_auto_merge"]
    assert github.settings["actions"]["can_approve_pull_request_reviews"]


@pytest.mark.acceptance
def test_second_apply_writes_nothing_and_says_so(applied: Repository, capsys: Any) -> None:
    main(["--apply"])

    assert read_lines(capsys)[-1] == f"all {ALL} are as .github says; nothing was changed"
    assert applied.requests
    assert not applied.list_writes()


@pytest.mark.acceptance
def test_settings_changed_by_hand_are_named_and_set_again(applied: Repository, capsys: Any) -> None:
    applied.settings["repository"]["delete_branch_on_merge"] = False
    applied.settings["actions"]["default_workflow_permissions"] = "write"
    applied.settings["environments"]["production"] = {}
    applied.settings["labels"]["retrain"]["color"] = "ffffff"
    del applied.settings["labels"]["reproduce"]
    named = {
        "repository settings": "delete_branch_on_merge is false",
        "Actions settings": "default_workflow_permissions is write",
        "environment production": "deployment_branch_policy is not set",
        "label retrain": "color is ffffff",
        "label reproduce": "as in .github/labels.json",
    }

    with pytest.raises(RefusedError, match=f"^5 of {ALL} "):
        main([])
    lines = [line for line in read_lines(capsys) if line.startswith(("differs", "missing"))]
    assert sorted(line[9:] for line in lines) == sorted(format_line("", *pair)[9:] for pair in named.items())
    main(["--apply"])
    lines = [line for line in read_lines(capsys) if line.startswith(("changed", "created"))]
    assert {line[9:] for line in lines} == {*named}
    assert len(applied.list_writes()) == len(named)


@pytest.mark.acceptance
def test_one_setting_changed_by_hand_is_one_line_and_one_request(applied: Repository, capsys: Any) -> None:
    applied.settings["repository"]["squash_merge_commit_title"] = "COMMIT_OR_PR_TITLE"

    main(["--apply"])

    lines = read_lines(capsys)
    assert [line for line in lines if line.startswith("changed")] == [format_line("changed", "repository settings")]
    assert lines[-1] == f"all {ALL} are as .github says; 1 was changed"
    assert [(request.method, request.path) for request in applied.list_writes()] == [("PATCH", "/repos/team/model")]


@pytest.mark.acceptance
def test_check_no_longer_required_is_named_and_required_again(applied: Repository, capsys: Any) -> None:
    checks = find_rule(applied, "required_status_checks")
    checks["required_status_checks"] = [
        {"context": "Own", "integration_id": 1},
        *checks["required_status_checks"][:2],
    ]

    with pytest.raises(RefusedError, match=f"^1 of {ALL} "):
        main([])
    assert format_line("differs", "ruleset main", "Lock is missing") in read_lines(capsys)
    main(["--apply"])

    checks = find_rule(applied, "required_status_checks")["required_status_checks"]
    assert {check["context"] for check in checks} == {"Own", "All checks passed", "Gate", "Lock"}


@pytest.mark.acceptance
def test_what_the_owner_added_stays(applied: Repository) -> None:
    main_ruleset = find_ruleset(applied, "main")
    main_ruleset["rules"].append({"type": "required_signatures"})
    main_ruleset["bypass_actors"] = [{"actor_id": 5, "actor_type": "RepositoryRole", "bypass_mode": "always"}]
    main([])
    find_rule(applied, "pull_request")["dismiss_stale_reviews_on_push"] = False
    reviewed = {"reviewers": [{"type": "User", "id": 7}], "wait_timer": 30, "prevent_self_review": True}
    applied.settings["environments"]["production"] = reviewed

    main(["--apply"])

    assert find_rule(applied, "pull_request")["dismiss_stale_reviews_on_push"]
    assert {"type": "required_signatures"} in find_ruleset(applied, "main")["rules"]
    assert find_ruleset(applied, "main")["bypass_actors"][0]["actor_id"] == 5
    production = applied.settings["environments"]["production"]
    assert production["deployment_branch_policy"]["protected_branches"]
    assert {key: production[key] for key in reviewed} == reviewed


@pytest.mark.acceptance
def test_what_the_plan_does_not_allow_is_told_and_the_rest_is_applied(github: Repository, capsys: Any) -> None:
    github.settings["refusals"] = {"/rulesets": (403, UPGRADE)}

    said = f"2 of {ALL} .*; GitHub refused {', '.join(RULESETS)}: {UPGRADE}".rstrip(".")
    with pytest.raises(RefusedError, match=said):
        main(["--apply"])

    lines = read_lines(capsys)
    for name in RULESETS:
        assert [line for line in lines if name in line] == [
            format_line("refused", name, "403: be an admin; if private, see its plan")
        ]
    assert {line[9:33].rstrip() for line in lines if line.startswith(("created", "changed"))} == {*SETTINGS} - {
        *RULESETS
    }


def test_every_refusal_is_one_line(github: Repository, capsys: Any) -> None:
    # Each by its status, whatever it means to GitHub.
    refusals = {"/environments/staging": 422, "/actions/permissions": 409, "/labels/retrain": 500, "/rulesets": 404}
    github.settings["refusals"] = {path: (status, f"Not {status}.") for path, status in refusals.items()}

    with pytest.raises(RefusedError) as refused:
        main(["--apply"])

    lines = [line.rpartition(":")[0] for line in read_lines(capsys) if line.startswith("refused")]
    names = {"Actions settings": 409, "label retrain": 500, "environment staging": 422}
    names |= dict.fromkeys(RULESETS, 404)
    assert sorted(lines) == sorted(format_line("refused", name, str(status)) for name, status in names.items())
    assert "; GitHub refused Actions settings: Not 409; GitHub refused label retrain: Not 500;" in str(refused.value)


@pytest.mark.acceptance
def test_setting_that_github_ignores_is_told(github: Repository, capsys: Any) -> None:
    github.settings["ignored"] = ["allow_auto_merge"]

    with pytest.raises(RefusedError, match=f"^1 of {ALL} .*; GitHub left repository settings as before"):
        main(["--apply"])

    assert format_line("ignored", "repository settings", "allow_auto_merge is false") in read_lines(capsys)


@pytest.mark.acceptance
def test_optional_variables_are_listed_and_not_required(
    applied: Repository, capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A folder without a DVC remote.
    shutil.copytree(ROOT / ".github", tmp_path / "here/.github")
    monkeypatch.chdir(tmp_path / "here")

    main([])

    lines = " ".join(read_lines(capsys))
    absent = ", ".join([*read_optional(ROOT / ".github"), "DVC remote"])
    assert f"not set: {absent}; workflows that need it skip themselves" in lines
    applied.settings["variables"] = dict.fromkeys(read_optional(), "known")
    main([])
    lines = read_lines(capsys)
    assert format_line("set", "variable AWS_REGION", read_optional()["AWS_REGION"]) in lines
    assert "not set: DVC remote; workflows that need it skip themselves" in lines


@pytest.mark.acceptance
def test_variables_that_a_login_may_not_see_are_hidden(applied: Repository, capsys: Any) -> None:
    applied.settings["refusals"] = {"/actions/variables": (403, "Resource not accessible by integration")}

    main([])

    assert [line for line in read_lines(capsys) if line.startswith("hidden   variable AWS_REGION")]


def test_without_a_login_one_line_says_how_to_log_in(github: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GH_HOST", "GH_ENTERPRISE_TOKEN"):
        monkeypatch.delenv(name)

    done = run_python(ROOT, "lifecycle.github.settings", check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("MisuseError: ")
    assert "gh auth login" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not github.requests


def test_login_that_has_ended_is_told_as_well(github: Repository) -> None:
    github.settings["refusals"] = {"": (401, "Bad credentials")}

    with pytest.raises(MisuseError, match=r"^gh's login has ended \(Bad credentials\)\. Run: gh auth login$"):
        main([])


def test_missing_gh_is_told(github: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MisuseError, match="^gh, GitHub's command line, is not installed"):
        main([])
    assert not github.requests


def test_github_out_of_reach_is_told(github: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GH_HOST", "localhost:9")

    with pytest.raises(RefusedError, match="localhost"):
        main([])
    assert not github.requests


@pytest.mark.acceptance
def test_repository_is_found_without_the_variable(
    applied: Repository, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_REPOSITORY")
    monkeypatch.setenv("GH_REPO", "team/model")

    main([])

    assert read_lines(capsys)[0] == "repository team/model"
    assert applied.requests


def test_folder_without_a_remote_is_told(github: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GITHUB_REPOSITORY")
    shutil.copytree(ROOT / ".github", tmp_path / "here/.github")
    monkeypatch.chdir(tmp_path / "here")

    with pytest.raises(MisuseError, match="^this folder's Git remote is unknown; .* set GITHUB_REPOSITORY$"):
        main([])
    assert not github.requests


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("team/other", RefusedError, "^GitHub does not show team/other to this login"),
        ("../../user", MisuseError, "^GITHUB_REPOSITORY is '../../user', expected owner/name"),
    ],
)
def test_wrong_repository_is_told(
    github: Repository, monkeypatch: pytest.MonkeyPatch, name: str, error: type[Exception], said: str
) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", name)

    with pytest.raises(error, match=said):
        main(["--apply"])
    assert not github.list_writes()


@pytest.mark.parametrize(
    ("config", "url"),
    [
        ("[core]\n    remote = own\n['remote \"own\"']\n    url = s3://bucket/%path\n", "s3://bucket/%path"),
        ("[core]\n    analytics = false\n", ""),
        (None, ""),
    ],
)
def test_dvc_remote_is_read(tmp_path: Path, config: str | None, url: str) -> None:
    path = tmp_path / "config"
    if config is not None:
        path.write_text(config, encoding="utf-8")

    assert read_dvc_remote(path) == url
