"""A setting is written on GitHub so that what its owner added to it stays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hosting import use_github

import rehearsal.github_settings  # noqa: F401  pylint: disable=unused-import
from lifecycle.errors import RefusedError
from lifecycle.github.remote import Remote, keep_protection
from lifecycle.github.wanted import Setting
from rehearsal.github import Repository

CHECKS = {"type": "required_status_checks", "parameters": {"required_status_checks": [{"context": "Gate"}]}}
WANTED = {"name": "main", "target": "branch", "enforcement": "active", "rules": [CHECKS]}
RULESET = Setting("ruleset", "main", Path("main.json"), "/rulesets", WANTED, "PUT", "/rulesets")
POLICY = {"protected_branches": True, "custom_branch_policies": False}
PRODUCTION = {"deployment_branch_policy": POLICY}
ENVIRONMENT = Setting("environment", "production", Path("e.json"), "/environments/production", PRODUCTION, "PUT")


@pytest.fixture(name="github")
def fixture_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A new repository on GitHub."""
    with use_github(monkeypatch, tmp_path) as repository:
        yield repository


def apply(setting: Setting, repository: Repository) -> None:
    """Set what a file asks for."""
    remote = Remote(repository.full_name)
    remote.write(setting, *remote.find(setting))


def test_ruleset_is_made_once_and_keeps_its_owners_rules(github: Repository) -> None:
    apply(RULESET, github)
    (ruleset,) = github.settings["rulesets"].values()
    ruleset["rules"] = [{"type": "required_signatures"}]
    ruleset["bypass_actors"] = [{"actor_id": 5, "actor_type": "RepositoryRole", "bypass_mode": "always"}]

    apply(RULESET, github)

    (again,) = github.settings["rulesets"].values()
    assert sorted(rule["type"] for rule in again["rules"]) == ["required_signatures", "required_status_checks"]
    assert again["bypass_actors"] == ruleset["bypass_actors"]
    # What GitHub shows beside it is nothing that it takes.
    assert [(write.method, sorted(write.body)) for write in github.list_writes()] == [
        ("POST", sorted(WANTED)),
        ("PUT", sorted([*WANTED, "bypass_actors"])),
    ]


def test_environment_keeps_its_owners_protection(github: Repository) -> None:
    reviewed = {"reviewers": [{"type": "User", "id": 7}], "wait_timer": 30, "prevent_self_review": True}
    github.settings["environments"] = {"production": reviewed}

    apply(ENVIRONMENT, github)

    assert github.settings["environments"]["production"] == {**reviewed, **PRODUCTION}


def test_environment_that_is_new_asks_for_nothing_more(github: Repository) -> None:
    apply(ENVIRONMENT, github)

    assert github.settings["environments"]["production"] == PRODUCTION


def test_setting_that_may_not_be_seen_is_not_taken_for_one_that_is_absent(github: Repository) -> None:
    github.settings["refusals"] = {"/environments": (403, "Resource not accessible")}

    with pytest.raises(RefusedError, match="environments/production with 403: Resource not accessible$"):
        apply(ENVIRONMENT, github)

    assert not github.list_writes()


def test_protection_of_a_kind_that_cannot_be_written_is_left_out() -> None:
    policy = {"type": "branch_policy", "id": 3}
    timer: dict[str, Any] = {"type": "wait_timer", "wait_timer": 5}

    kept = keep_protection({"deployment_branch_policy": POLICY, "protection_rules": [policy, timer]})

    assert kept == {"deployment_branch_policy": POLICY, "wait_timer": 5}
