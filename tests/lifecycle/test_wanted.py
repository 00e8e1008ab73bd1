"""What the files in .github ask of the repository: they are valid, and name what the workflows name."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from lifecycle.errors import MisuseError
from lifecycle.github.wanted import list_differences, merge_setting, read_optional, read_settings

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
NEEDS_WORKFLOWS = pytest.mark.skipif(not WORKFLOWS, reason=".github/workflows holds no workflow")


def list_jobs() -> list[dict[str, Any]]:
    """List the jobs of all workflows."""
    return [job for path in WORKFLOWS for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("labels.json", "[", r"labels\.json: Invalid JSON"),
        ("labels.json", '[{"name": "a", "color": "red", "description": ""}]', r"labels\.json: 0\.color: "),
        ("repository.json", '{"repositry": {}}', r"repository\.json: repository: Field required"),
        ("environments.json", None, r"environments\.json is missing"),
        ("rulesets", None, "rulesets holds no ruleset"),
    ],
)
def test_broken_file_is_told(tmp_path: Path, file: str, content: str | None, said: str) -> None:
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    path = tmp_path / ".github" / file
    if content is None:
        path.rename(tmp_path / "away")
    else:
        path.write_text(content, encoding="utf-8")

    with pytest.raises(MisuseError, match=said):
        read_settings(tmp_path / ".github")


def test_files_are_valid() -> None:
    settings = {str(setting): setting.wanted for setting in read_settings(ROOT / ".github")}

    assert {"repository settings", "Actions settings", "label reproduce", "label retrain", "label dependencies"} <= {
        *settings
    }
    assert {"ruleset main", "ruleset versions", "environment staging", "environment production"} <= {*settings}
    production = settings["environment production"]
    assert production["deployment_branch_policy"] == {"protected_branches": True, "custom_branch_policies": False}


def test_dependabot_names_folders_and_labels_that_there_are() -> None:
    config = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))
    labels = {setting.name for setting in read_settings(ROOT / ".github") if setting.kind == "label"}

    assert config["version"] == 2
    ecosystems = {update["package-ecosystem"] for update in config["updates"]}
    assert ecosystems == {"devcontainers", "github-actions", "pip", "terraform"}
    for update in config["updates"]:
        assert (ROOT / update["directory"].strip("/")).is_dir()
        assert update["cooldown"] == {"default-days": 7}
        assert {*update["labels"]} <= labels


@NEEDS_WORKFLOWS
def test_required_checks_are_jobs_of_the_workflows() -> None:
    ruleset = json.loads((ROOT / ".github/rulesets/main.json").read_text(encoding="utf-8"))
    rule = next(rule for rule in ruleset["rules"] if rule["type"] == "required_status_checks")

    required = {check["context"] for check in rule["parameters"]["required_status_checks"]}

    assert {"All checks passed", "Gate", "Lock"} <= required
    assert required <= {job.get("name") for job in list_jobs()}


@NEEDS_WORKFLOWS
def test_what_workflows_name_is_in_the_files() -> None:
    settings = read_settings(ROOT / ".github")
    text = "\n".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    environments = [job["environment"] for job in list_jobs() if "environment" in job]
    environments = [one["name"] if isinstance(one, dict) else one for one in environments]

    assert {*re.findall(r"\bvars\.(\w+)", text)} <= {*read_optional(ROOT / ".github")}
    assert {*re.findall(r"label\.name == '([^']+)'", text)} <= {one.name for one in settings if one.kind == "label"}
    named = {one for one in environments if "${{" not in one}
    assert named <= {one.name for one in settings if one.kind == "environment"}


def test_difference_is_named_by_its_key() -> None:
    wanted = {"a": 1, "rules": [{"type": "x", "parameters": {"b": True}}, {"type": "y"}], "c": []}

    assert not list(list_differences(wanted, {**wanted, "d": 2}))
    found = {"a": 2, "rules": [{"type": "z"}, {"type": "x", "parameters": {"b": False}}], "c": ["more"]}
    assert list(list_differences(wanted, found)) == ["a is 2", "b is false", "y is missing", "c is ['more']"]


def test_merging_keeps_the_rest() -> None:
    found = {"a": 2, "own": 3, "rules": [{"type": "z"}, {"type": "x", "parameters": {"b": False, "e": 4}}]}
    wanted = {"a": 1, "rules": [{"type": "x", "parameters": {"b": True}}]}

    merged = merge_setting(wanted, found)

    assert merged == {"a": 1, "own": 3, "rules": [{"type": "z"}, {"type": "x", "parameters": {"b": True, "e": 4}}]}
