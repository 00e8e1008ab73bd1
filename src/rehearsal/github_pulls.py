"""Pull requests and issues on the loopback GitHub: opened, labelled, changed, and merged by themselves.

Both are numbered in one row, and both take comments and labels. Importing this module makes the routes known.
"""

import re
import subprocess
from datetime import UTC, datetime
from typing import Any

from rehearsal.events import NO_COMMIT, open_pull_request
from rehearsal.github import Answer, Repository, Request, route
from rehearsal.github_settings import read_group


def count_threads(repository: Repository) -> int:
    """Find the highest number that a pull request or an issue has."""
    return max((one["number"] for one in (*repository.pulls, *repository.issues)), default=0)


def find_thread(repository: Repository, number: int) -> dict[str, Any] | None:
    """Find a pull request or an issue."""
    return next((one for one in (*repository.pulls, *repository.issues) if one["number"] == number), None)


def find_head(repository: Repository, branch: str) -> str | None:
    """Find a branch's newest commit in the remote, where the stand-in has one."""
    if repository.remote is None:
        return NO_COMMIT
    command = ["git", "-C", str(repository.remote), "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None


def tell_time() -> str:
    """Tell the time as GitHub writes it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


@route("POST", "/pulls")
def create_pull(repository: Repository, _match: "re.Match[str]", request: Request) -> Answer:
    """Open a pull request; a branch has one open at most."""
    branch, commit = request.body["head"], find_head(repository, request.body["head"])
    if commit is None:
        return 422, {"message": "Validation Failed", "errors": [{"field": "head", "code": "invalid"}]}
    with repository.lock:
        if any(pull["state"] == "open" and pull["head"]["ref"] == branch for pull in repository.pulls):
            told = f"A pull request already exists for {repository.full_name.partition('/')[0]}:{branch}."
            return 422, {"message": "Validation Failed", "errors": [{"message": told}]}
        number = count_threads(repository) + 1
        shown = {key: request.body[key] for key in ("title", "body", "draft")}
        own = {"created_at": tell_time(), "node_id": f"PR_{number}", "auto_merge": None}
        pull = open_pull_request(repository.full_name, branch, commit, number=number, **shown, **own)
        repository.pulls.append(pull)
    return 201, pull


@route("PATCH", "/pulls/(?P<number>[0-9]+)")
@route("PATCH", "/issues/(?P<number>[0-9]+)")
def update_thread(repository: Repository, match: "re.Match[str]", request: Request) -> Answer:
    """Change a pull request or an issue."""
    thread = find_thread(repository, int(match["number"]))
    if thread is None:
        return 404, {"message": "Not Found"}
    thread.update(request.body)
    return 200, thread


@route("POST", "/issues/(?P<number>[0-9]+)/labels")
def add_labels(repository: Repository, match: "re.Match[str]", request: Request) -> Answer:
    """Put labels on a pull request or an issue."""
    thread = find_thread(repository, int(match["number"]))
    if thread is None:
        return 404, {"message": "Not Found"}
    thread["labels"] += [{"name": name} for name in request.body["labels"]]
    return 200, thread["labels"]


@route("GET", "/issues")
def list_issues(repository: Repository, _match: "re.Match[str]", request: Request) -> Answer:
    """List issues with a label, newest first; for GitHub pull requests are issues too."""
    threads = [*repository.issues, *({**pull, "pull_request": {}} for pull in repository.pulls)]
    found = [
        one
        for one in threads
        if request.query.get("state", "open") in ("all", one["state"])
        and {"name": request.query["labels"]} in one["labels"]
    ]
    return 200, sorted(found, key=lambda one: -one["number"])


@route("POST", "/issues")
def create_issue(repository: Repository, _match: "re.Match[str]", request: Request) -> Answer:
    """Open an issue."""
    with repository.lock:
        labels = [{"name": name} for name in request.body.pop("labels", [])]
        number = count_threads(repository) + 1
        repository.issues.append({"number": number, "state": "open", "labels": labels, **request.body})
    return 201, repository.issues[-1]


@route("POST", "")
def merge_by_itself(repository: Repository, _match: "re.Match[str]", request: Request) -> Answer:
    """Let a pull request merge when its checks are done; no other question in GraphQL is known."""
    if "enablePullRequestAutoMerge" not in request.body["query"]:
        return 501, {"message": "the stand-in knows one mutation"}
    pull = next(one for one in repository.pulls if one.get("node_id") == request.body["variables"]["pull"])
    if not read_group(repository, "repository").get("allow_auto_merge"):
        return 200, {"errors": [{"message": "Auto merge is not allowed for this repository"}]}
    pull["auto_merge"] = {"merge_method": "squash"}
    return 200, {"data": {"enablePullRequestAutoMerge": {"clientMutationId": None}}}
