"""Compare a repository's settings on GitHub with the files in .github, and with ``--apply`` bring them in line.

Without ``--apply`` nothing is written. An environment's reviewers and who may bypass a ruleset are kept as they are.
"""

import argparse
import configparser
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.github.client import call_github
from lifecycle.github.wanted import (
    FILES,
    REPOSITORY,
    RepositorySettings,
    Setting,
    list_differences,
    merge_setting,
    read_file,
    read_settings,
)

COMMAND = "python -m lifecycle.github.settings"
COLUMNS = 80
# What GitHub takes when a ruleset is replaced; it shows more.
RULESET_KEYS = ("name", "target", "enforcement", "bypass_actors", "conditions", "rules")
# By GitHub's status: what to do.
ADVICE = {
    403: "log in as an admin; if private, see its plan",
    404: "log in as an admin of this repository",
    409: "the organization decides this; ask there",
    422: "not in this plan, or no value that it takes",
}
FORBIDDEN, NOT_FOUND = 403, 404


@dataclass(frozen=True)
class Remote:
    """A repository on GitHub."""

    name: str

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask GitHub for a path under the repository."""
        return call_github(method, f"repos/{self.name}{path}", body)

    def look_up(self, path: str) -> Any:
        """Read what may not be there: None."""
        try:
            return self.call("GET", path)
        except RefusedError as error:
            if read_status(error) != NOT_FOUND:
                raise
            return None

    def find(self, setting: Setting) -> tuple[str, Any]:
        """Find where a setting is kept, and what it holds; None where there is none yet."""
        if setting.kind == "settings":
            return setting.path, self.call("GET", setting.path)
        if setting.kind != "ruleset":
            return setting.path, self.look_up(setting.path)
        for one in self.call("GET", "/rulesets?includes_parents=false&per_page=100"):
            if (one["name"], one["target"]) == (setting.name, setting.wanted["target"]):
                path = f"{setting.path}/{one['id']}"
                return path, self.call("GET", path)
        return setting.path, None

    def write(self, setting: Setting, path: str, found: Any) -> None:
        """Create or change a setting."""
        body: Any = setting.wanted
        if found is None and setting.create:
            self.call("POST", setting.create, {"name": setting.name, **body})
            return
        if setting.kind == "ruleset":
            body = {key: value for key, value in merge_setting(body, found).items() if key in RULESET_KEYS}
        elif setting.kind == "environment":
            body = {**keep_protection(found or {}), **body}
        self.call(setting.method, path, body)


def keep_protection(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Say an environment's protection as GitHub takes it: what is not said is lost."""
    kept: dict[str, Any] = {"deployment_branch_policy": environment.get("deployment_branch_policy")}
    for rule in environment.get("protection_rules", []):
        if rule["type"] == "wait_timer":
            kept["wait_timer"] = rule["wait_timer"]
        elif rule["type"] == "required_reviewers":
            kept["prevent_self_review"] = rule.get("prevent_self_review", False)
            kept["reviewers"] = [{"type": one["type"], "id": one["reviewer"]["id"]} for one in rule["reviewers"]]
    return kept


def read_status(error: RefusedError) -> int:
    """Read GitHub's status from an error, 0 where it has none: then GitHub was not reached."""
    status = re.search(r"HTTP (\d{3})", str(error))
    return int(status[1]) if status else 0


def open_repository() -> Remote:
    """Find the repository: $GITHUB_REPOSITORY, or else the one that ``gh`` takes this folder's Git remote for.

    Raises
    ------
    MisuseError
        If neither names one.
    RefusedError
        If GitHub shows none of that name to this login.
    """
    name = os.environ.get("GITHUB_REPOSITORY") or find_repository()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise MisuseError(f"GITHUB_REPOSITORY is {name!r}, expected owner/name.")
    found = Remote(name).look_up("")
    if found is None:
        raise RefusedError(f"GitHub shows no repository {name} to this login; correct the name, or run: gh auth login")
    # A repository that was renamed is found under its former name, and written to under the new one only.
    return Remote(found["full_name"])


@dataclass(frozen=True)
class Outcome:
    """What became of a setting: ``faults`` are what it still lacks, ``refusal`` what GitHub said."""

    state: str
    faults: Sequence[str] = ()
    refusal: str = ""


def settle(remote: Remote, setting: Setting, apply: bool) -> Outcome:
    """Compare a setting with what GitHub has, and write it where that is asked for and needed."""
    try:
        path, found = remote.find(setting)
        faults = list_faults(setting, found)
        if not faults or not apply:
            state = "set" if not faults else "missing" if found is None else "differs"
            return Outcome(state, faults)
        remote.write(setting, path, found)
        # GitHub takes some settings without a word, and leaves them as they were.
        left = list_faults(setting, remote.find(setting)[1])
        return Outcome("ignored", left) if left else Outcome("created" if found is None else "changed")
    except RefusedError as error:
        status = read_status(error)
        if not status:
            raise
        return Outcome("refused", [f"{status}: {ADVICE.get(status, 'try again later')}"], str(error))


def list_faults(setting: Setting, found: Any) -> list[str]:
    """List what a setting lacks."""
    return [f"see {FILES}"] if found is None else list(list_differences(setting.wanted, found))


def list_optional(remote: Remote, variables: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """List what only some workflows need: state, name and what it is for."""
    for name, meaning in variables.items():
        try:
            state = "set" if remote.look_up(f"/actions/variables/{name}") else "not set"
        except RefusedError as error:
            if read_status(error) != FORBIDDEN:
                raise
            state = "hidden"
        yield state, name, meaning
    url = read_dvc_remote()
    yield "set" if "://" in url else "not set", "DVC remote", url or "no remote; see README"
