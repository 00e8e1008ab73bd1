"""A repository's settings on GitHub, asked for and changed with a person's own login.

A workflow's token may not change them.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.github.client import call_github
from lifecycle.github.wanted import Setting, merge_setting

UNAUTHORIZED, NOT_FOUND = 401, 404
# What GitHub takes when a ruleset is replaced; it shows more.
RULESET_KEYS = ("name", "target", "enforcement", "bypass_actors", "conditions", "rules")


class AnswerError(RefusedError):
    """GitHub answered, with an error's status; ``message`` is its own sentence."""

    def __init__(self, asked: str, status: int, message: str) -> None:
        super().__init__(f"GitHub refused {asked} with {status}: {message}")
        self.status = status
        self.message = message


def ask(method: str, endpoint: str, content: Mapping[str, Any] | None = None) -> Any:
    """Ask GitHub as `lifecycle.github.client.call_github` does, and tell an answer's status and a lost login apart.

    Raises
    ------
    MisuseError
        If ``gh`` is not installed or not logged in, or no repository is known here.
    AnswerError
        If GitHub answers with an error.
    RefusedError
        If GitHub cannot be reached.
    """
    try:
        return call_github(method, endpoint, content)
    except RefusedError as error:
        said = str(error)
        if answer := re.search(r": (?:gh[:?] )?(?P<message>.*?)\.? \(HTTP (?P<status>\d{3})\)", said):
            if int(answer["status"]) == UNAUTHORIZED:
                raise MisuseError(f"gh's login has ended ({answer['message']}). Run: gh auth login") from error
            asked = f"{method} {endpoint.partition('?')[0]}"
            raise AnswerError(asked, int(answer["status"]), answer["message"]) from error
        if "git remote" in said or "git repository" in said:
            raise MisuseError(
                "this folder's Git remote is unknown; run gh auth login, or set GITHUB_REPOSITORY"
            ) from error
        raise


@dataclass(frozen=True)
class Remote:
    """A repository on GitHub; ``name`` is ``owner/name``."""

    name: str

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask for a path under the repository, as `ask` does."""
        return ask(method, f"repos/{self.name}{path}", body)

    def look_up(self, path: str) -> Any:
        """Read what may not be there; then it is None."""
        try:
            return self.call("GET", path)
        except AnswerError as error:
            if error.status != NOT_FOUND:
                raise
            return None

    def find(self, setting: Setting) -> tuple[str, Any]:
        """Find where a setting is kept, and what it holds: None where there is none yet."""
        if setting.kind == "settings":
            return setting.path, self.call("GET", setting.path)
        if setting.kind != "ruleset":
            return setting.path, self.look_up(setting.path)
        for one in self.call("GET", f"{setting.path}?includes_parents=false&per_page=100"):
            if (one["name"], one["target"]) == (setting.name, setting.wanted["target"]):
                path = f"{setting.path}/{one['id']}"
                return path, self.call("GET", path)
        return setting.path, None

    def write(self, setting: Setting, path: str, found: Any) -> None:
        """Create a setting, or change the one that was found."""
        body = {**setting.wanted}
        if found is None and setting.create:
            self.call("POST", setting.create, {"name": setting.name, **body})
            return
        if setting.kind == "ruleset":
            body = {key: value for key, value in merge_setting(body, found).items() if key in RULESET_KEYS}
        elif setting.kind == "environment":
            body = {**keep_protection(found or {}), **body}
        self.call(setting.method, path, body)


def keep_protection(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Say an environment's protection as GitHub takes it: when one is written, what is not said is lost.

    Parameters
    ----------
    environment : Mapping
        As GitHub shows it; empty for a new one.

    Returns
    -------
    dict
        The body of a request.
    """
    kept: dict[str, Any] = {"deployment_branch_policy": environment.get("deployment_branch_policy")}
    for rule in environment.get("protection_rules", []):
        if rule["type"] == "wait_timer":
            kept["wait_timer"] = rule["wait_timer"]
        elif rule["type"] == "required_reviewers":
            kept["prevent_self_review"] = rule.get("prevent_self_review", False)
            kept["reviewers"] = [{"type": one["type"], "id": one["reviewer"]["id"]} for one in rule["reviewers"]]
    return kept


def open_repository() -> Remote:
    """Find the repository: $GITHUB_REPOSITORY, or else the one that ``gh`` sees in this folder's Git remote.

    Raises
    ------
    MisuseError
        If there is none.
    RefusedError
        If GitHub shows none of that name to this login.
    """
    name = os.environ.get("GITHUB_REPOSITORY") or "{owner}/{repo}"
    if not re.fullmatch(r"[\w.-]+/[\w.-]+|\{owner}/\{repo}", name):
        raise MisuseError(f"GITHUB_REPOSITORY is {name!r}, expected owner/name")
    found = Remote(name).look_up("")
    if found is None:
        where = "the Git remote's repository" if "{" in name else name
        raise RefusedError(f"GitHub does not show {where} to this login; correct the name, or run: gh auth login")
    # A repository that was renamed is found under its former name too, but written to under the new one only.
    return Remote(found["full_name"])
