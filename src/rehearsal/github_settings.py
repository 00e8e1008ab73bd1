"""A repository's settings on the loopback GitHub: rulesets, labels, environments, merging, Actions and variables.

They are kept in ``Repository.settings`` in GitHub's own shapes. Under ``refusals`` a test or rehearsal says what this
GitHub does not allow: the start of a path under the repository -> the status and message of its answer.
"""

import re
from typing import Any

from rehearsal.github import Answer, Repository, Request, Route, route

# What a new repository has.
MERGING = {
    "private": False,
    "allow_auto_merge": False,
    "allow_squash_merge": True,
    "delete_branch_on_merge": False,
    "squash_merge_commit_message": "COMMIT_MESSAGES",
    "squash_merge_commit_title": "COMMIT_OR_PR_TITLE",
}
ACTIONS = {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": False}
NOT_FOUND = {"message": "Not Found"}
# What GitHub adds to the parameters of a rule.
ADDED = {
    "pull_request": {"allowed_merge_methods": ["merge", "squash", "rebase"], "required_reviewers": []},
    "required_status_checks": {"do_not_enforce_on_create": False},
}


def setting(method: str, pattern: str) -> Any:
    """Register a route as `rehearsal.github.route` does, and refuse what ``refusals`` names."""

    def register(function: Route) -> Route:
        def answer(repository: Repository, match: "re.Match[str]", request: Request) -> Answer:
            path = request.path.removeprefix(f"/repos/{repository.full_name}")
            for start, (status, message) in repository.settings.get("refusals", {}).items():
                if path.startswith(start):
                    return status, {"message": message}
            return function(repository, match, request)

        return route(method, pattern)(answer)

    return register


def read_group(repository: Repository, name: str) -> dict[str, Any]:
    """Give a group of settings to read or change, empty in a new repository."""
    return repository.settings.setdefault(name, {})


@setting("GET", "")
def read_repository(repository: Repository, _match: "re.Match[str]", _request: Request) -> Answer:
    """Describe the repository."""
    named = {"full_name": repository.full_name, "default_branch": "main"}
    return 200, {**named, **MERGING, **read_group(repository, "repository")}


@setting("PATCH", "")
def update_repository(repository: Repository, match: "re.Match[str]", request: Request) -> Answer:
    """Change how the repository merges; what is under ``ignored`` stays without a word, as on a free plan."""
    body = {name: value for name, value in request.body.items() if name not in repository.settings.get("ignored", ())}
    if body.get("squash_merge_commit_message") == "PR_BODY" and body.get("squash_merge_commit_title") != "PR_TITLE":
        return 422, {"message": "Sorry, squash merge commit titles and messages cannot be combined so."}
    read_group(repository, "repository").update(body)
    return read_repository(repository, match, request)


@setting("GET", "/actions/permissions/workflow")
def read_actions(repository: Repository, _match: "re.Match[str]", _request: Request) -> Answer:
    """Say what a workflow's token may do."""
    return 200, {**ACTIONS, **read_group(repository, "actions")}


@setting("PUT", "/actions/permissions/workflow")
def update_actions(repository: Repository, _match: "re.Match[str]", request: Request) -> Answer:
    """Change what a workflow's token may do."""
    read_group(repository, "actions").update(request.body)
    return 204, None


@setting("GET", "/labels/(?P<label>[^/]+)")
def read_label(repository: Repository, match: "re.Match[str]", _request: Request) -> Answer:
    """Describe a label."""
    label = read_group(repository, "labels").get(match["label"])
    return (200, label) if label else (404, NOT_FOUND)


@setting("POST", "/labels")
def create_label(repository: Repository, _match: "re.Match[str]", request: Request) -> Answer:
    """Make a label; a name is taken once."""
    labels = read_group(repository, "labels")
    if request.body["name"] in labels:
        return 422, {"message": "Validation Failed"}
    labels[request.body["name"]] = {"id": len(labels) + 1, "default": False, **request.body}
    return 201, labels[request.body["name"]]


@setting("PATCH", "/labels/(?P<label>[^/]+)")
def update_label(repository: Repository, match: "re.Match[str]", request: Request) -> Answer:
    """Change a label."""
    labels = read_group(repository, "labels")
    if match["label"] not in labels:
        return 404, NOT_FOUND
    labels[match["label"]].update({key: value for key, value in request.body.items() if key != "new_name"})
    return 200, labels[match["label"]]


@setting("GET", "/rulesets")
def list_rulesets(repository: Repository, _match: "re.Match[str]", _request: Request) -> Answer:
    """List the rulesets, without their rules and conditions."""
    shown = ("id", "name", "target", "source_type", "enforcement")
    rulesets = read_group(repository, "rulesets").values()
    return 200, [{key: ruleset[key] for key in shown} for ruleset in rulesets]


@setting("GET", "/rulesets/(?P<ruleset>[0-9]+)")
def read_ruleset(repository: Repository, match: "re.Match[str]", _request: Request) -> Answer:
    """Describe a ruleset."""
    ruleset = read_group(repository, "rulesets").get(int(match["ruleset"]))
    return (200, ruleset) if ruleset else (404, NOT_FOUND)


@setting("POST", "/rulesets")
def create_ruleset(repository: Repository, _match: "re.Match[str]", request: Request) -> Answer:
    """Make a ruleset; a name is taken once."""
    rulesets = read_group(repository, "rulesets")
    if any(ruleset["name"] == request.body["name"] for ruleset in rulesets.values()):
        return 422, {"message": "Validation Failed"}
    return 201, _keep_ruleset(repository, 7000 + len(rulesets), request.body)


@setting("PUT", "/rulesets/(?P<ruleset>[0-9]+)")
def update_ruleset(repository: Repository, match: "re.Match[str]", request: Request) -> Answer:
    """Replace a ruleset."""
    if int(match["ruleset"]) not in read_group(repository, "rulesets"):
        return 404, NOT_FOUND
    return 200, _keep_ruleset(repository, int(match["ruleset"]), request.body)


def _keep_ruleset(repository: Repository, number: int, body: dict[str, Any]) -> dict[str, Any]:
    """Keep a ruleset as GitHub shows it: its own keys added, and the rules in an order of its own."""
    rules = [
        {**rule, "parameters": {**ADDED[rule["type"]], **rule["parameters"]}} if rule["type"] in ADDED else rule
        for rule in reversed(body["rules"])
    ]
    shown = {"id": number, "source_type": "Repository", "bypass_actors": [], **body, "rules": rules}
    read_group(repository, "rulesets")[number] = shown
    return shown


@setting("GET", "/environments/(?P<environment>[^/]+)")
def read_environment(repository: Repository, match: "re.Match[str]", _request: Request) -> Answer:
    """Describe an environment; what was asked of it comes back as rules."""
    body = read_group(repository, "environments").get(match["environment"])
    if body is None:
        return 404, NOT_FOUND
    rules: list[dict[str, Any]] = []
    if body.get("wait_timer"):
        rules.append({"id": 1, "type": "wait_timer", "wait_timer": body["wait_timer"]})
    if body.get("reviewers"):
        reviewers = [{"type": one["type"], "reviewer": {"id": one["id"]}} for one in body["reviewers"]]
        prevent = body.get("prevent_self_review", False)
        rules.append({"id": 2, "type": "required_reviewers", "prevent_self_review": prevent, "reviewers": reviewers})
    policy = body.get("deployment_branch_policy")
    rules += [{"id": 3, "type": "branch_policy"}] if policy else []
    return 200, {"name": match["environment"], "protection_rules": rules, "deployment_branch_policy": policy}


@setting("PUT", "/environments/(?P<environment>[^/]+)")
def update_environment(repository: Repository, match: "re.Match[str]", request: Request) -> Answer:
    """Make or replace an environment: what is not said is taken away."""
    policy = (request.body or {}).get("deployment_branch_policy")
    if policy and policy["protected_branches"] == policy["custom_branch_policies"]:
        return 422, {"message": "protected_branches and custom_branch_policies cannot have the same value"}
    read_group(repository, "environments")[match["environment"]] = request.body or {}
    return read_environment(repository, match, request)


@setting("GET", "/actions/variables/(?P<variable>[A-Z0-9_]+)")
def read_variable(repository: Repository, match: "re.Match[str]", _request: Request) -> Answer:
    """Describe a variable."""
    value = read_group(repository, "variables").get(match["variable"])
    return (200, {"name": match["variable"], "value": value}) if value is not None else (404, NOT_FOUND)
