"""The container to develop in: what its file names exists, and its first command makes a bare clone ready."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import run_command, run_git

from lifecycle.serve import PORT

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".devcontainer"
# What the specification knows, as far as it is used, and the type of each.
KNOWN = {
    "name": str,
    "build": dict,
    "features": dict,
    "remoteUser": str,
    "postCreateCommand": str,
    "forwardPorts": list,
    "portsAttributes": dict,
    "customizations": dict,
}
BUILD = {"dockerfile", "context", "target", "args"}
ATTRIBUTES = {"label", "onAutoForward", "protocol", "requireLocalPort", "elevateIfNeeded"}


@pytest.fixture(name="settings", scope="module")
def fixture_settings() -> dict[str, Any]:
    """What the file says; plain JSON, though comments would be allowed."""
    found: dict[str, Any] = json.loads((FOLDER / "devcontainer.json").read_text(encoding="utf-8"))
    return found


def test_file_holds_known_keys_of_the_right_types(settings: dict[str, Any]) -> None:
    assert {key: type(value) for key, value in settings.items()} == KNOWN
    assert set(settings["build"]) == BUILD
    assert all(isinstance(value, str) for value in settings["build"]["args"].values())
    assert all(isinstance(options, dict) for options in settings["features"].values())
    assert all(set(one) <= ATTRIBUTES for one in settings["portsAttributes"].values())


def test_container_is_a_stage_of_the_image_that_serves_and_ships_nothing_of_it(settings: dict[str, Any]) -> None:
    build = settings["build"]
    text = (FOLDER / build["dockerfile"]).read_text(encoding="utf-8")

    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", text, re.M)

    assert (FOLDER / build["context"]).is_dir()
    assert ("${BASE}", build["target"]) in stages
    # The last stage is what `make image` builds, on the same base and without a file of this one.
    assert stages[-1] == ("${BASE}", "")
    assert f"--from={build['target']}" not in text
    assert f" {settings['remoteUser']}\n" in text


def test_python_is_the_one_that_the_model_was_trained_with(settings: dict[str, Any]) -> None:
    trained = json.loads((ROOT / "out/environment.json").read_text(encoding="utf-8"))["python"]

    assert settings["build"]["args"]["PYTHON_VERSION"] == trained


def test_terraform_and_gh_are_there_in_exact_versions(settings: dict[str, Any]) -> None:
    features = {re.sub(r"^.*/", "", name): options for name, options in settings["features"].items()}
    pinned = dict(re.fullmatch(r"([a-z-]+):(\d+\.\d+\.\d+)", name).groups() for name in features)  # type: ignore[union-attr]
    check = yaml.safe_load((ROOT / ".github/workflows/check.yml").read_text(encoding="utf-8"))
    used = {
        step["with"]["terraform_version"]
        for job in check["jobs"].values()
        for step in job["steps"]
        if step.get("uses", "").startswith("hashicorp/setup-terraform@")
    }

    assert set(pinned) == {"github-cli", "terraform"}
    assert {options["version"] for options in features.values() if "version" in options} == used


def test_ports_of_serving_and_tracking_have_names(settings: dict[str, Any]) -> None:
    labels = {int(port): one["label"] for port, one in settings["portsAttributes"].items()}

    assert labels == {PORT: "make serve", 5000: "Experiment tracking"}
    assert sorted(settings["forwardPorts"]) == sorted(labels)


@pytest.mark.acceptance
def test_first_command_makes_a_bare_clone_ready(settings: dict[str, Any], tmp_path: Path) -> None:
    run_git(tmp_path, "clone", "--quiet", "--depth", "1", ROOT.as_uri(), "clone")
    python = settings["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    interpreter = tmp_path / "clone" / python.removeprefix("${containerWorkspaceFolder}/")

    run_command(tmp_path / "clone", *shlex.split(settings["postCreateCommand"]))

    said = subprocess.run([interpreter, "-m", "lifecycle.params"], cwd=tmp_path / "clone", check=False)
    assert said.returncode == 0
