"""Events as GitHub sends them: payloads in its own shapes, with the fields that workflows read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

BOT = "dependabot[bot]"
NO_COMMIT = "0" * 40


@dataclass(frozen=True)
class Event:
    """What starts a workflow; without ``sha`` its commit is the one that the folder is at."""

    name: str
    payload: Mapping[str, Any]
    actor: str
    ref: str
    sha: str = ""


def describe_user(login: str) -> dict[str, Any]:
    """Describe a person, an organisation or a bot."""
    return {"login": login, "type": "Bot" if login.endswith("[bot]") else "User"}


def describe_repository(full_name: str, fork: bool = False) -> dict[str, Any]:
    """Describe a repository."""
    owner, _, name = full_name.partition("/")
    return {
        "id": 1 + fork,
        "name": name,
        "full_name": full_name,
        "owner": describe_user(owner),
        "private": False,
        "has_pages": False,
        "fork": fork,
        "default_branch": "main",
        "html_url": f"https://github.com/{full_name}",
        "clone_url": f"https://github.com/{full_name}.git",
    }


def describe(event: Event, **settings: bool) -> Event:
    """Give an event with settings of the repository, such as ``private`` or ``has_pages``."""
    return replace(event, payload={**event.payload, "repository": {**event.payload["repository"], **settings}})


def describe_side(repository: Mapping[str, Any], ref: str, sha: str) -> dict[str, Any]:
    """Describe a pull request's head or base."""
    owner = repository["owner"]["login"]
    return {"label": f"{owner}:{ref}", "ref": ref, "sha": sha, "user": describe_user(owner), "repo": dict(repository)}


def open_pull_request(
    repository: str,
    head: str,
    sha: str,
    *,
    base_sha: str = NO_COMMIT,
    number: int = 1,
    fork: str = "",
    **changes: Any,
) -> dict[str, Any]:
    """Describe an open pull request to main.

    Parameters
    ----------
    repository : str
        Owner and name, as ``team/model``.
    head : str
        The branch.
    sha : str
        The branch's last commit.
    base_sha : str
        The last commit of main.
    number : int
    fork : str
        Owner and name of the fork that the branch is in; empty for the repository itself.
    **changes : Any
        Fields to set otherwise, such as ``draft``, ``title`` or ``labels``.

    Returns
    -------
    dict of str to Any
        The object that events and the API give.
    """
    base = describe_repository(repository)
    source = describe_repository(fork, fork=True) if fork else base
    return {
        "number": number,
        "state": "open",
        "created_at": "2024-01-01T00:00:00Z",
        "title": f"Change {head}",
        "body": "",
        "draft": False,
        "merged": False,
        "user": source["owner"],
        "labels": [],
        "author_association": "NONE" if fork else "MEMBER",
        "head": describe_side(source, head, sha),
        "base": describe_side(base, "main", base_sha),
        "merge_commit_sha": None,
        "html_url": f"{base['html_url']}/pull/{number}",
        **changes,
    }


def send(name: str, repository: str, actor: str, ref: str, fields: Mapping[str, Any], sha: str = "") -> Event:
    """Make an event, with the fields that all of them have."""
    payload = {**fields, "repository": describe_repository(repository), "sender": describe_user(actor)}
    return Event(name, payload, actor, ref, sha)


def pull_request(pull: Mapping[str, Any], action: str = "synchronize", actor: str = "ada", label: str = "") -> Event:
    """Make the event of a pull request, as ``open_pull_request`` describes it.

    Parameters
    ----------
    pull : Mapping of str to Any
    action : str
        What happened, such as ``opened``, ``synchronize`` or ``closed``.
    actor : str
        Who did it; ``BOT`` is Dependabot, whose runs have no secrets.
    label : str
        A label that was just set; the action is then ``labeled``.

    Returns
    -------
    Event
    """
    number = pull["number"]
    fields: dict[str, Any] = {"action": action, "number": number, "pull_request": dict(pull)}
    if label:
        described = {"name": label}
        others = [other for other in pull["labels"] if other != described]
        fields |= {"action": "labeled", "label": described}
        fields["pull_request"] = {**pull, "labels": [*others, described]}
    return send("pull_request", pull["base"]["repo"]["full_name"], actor, f"refs/pull/{number}/merge", fields)


def push(
    repository: str, sha: str, before: str = NO_COMMIT, ref: str = "refs/heads/main", actor: str = "ada"
) -> Event:
    """Make the event of a push; ``ref`` may also be a tag's."""
    commit = {"id": sha, "message": "Change", "author": {"name": actor, "email": f"{actor}@example.com"}}
    state = {"created": before == NO_COMMIT, "deleted": False, "forced": False}
    fields = {"ref": ref, "before": before, "after": sha, "head_commit": commit, "commits": [commit], **state}
    return send("push", repository, actor, ref, fields, sha)


def merge_group(repository: str, sha: str, base_sha: str, number: int = 1) -> Event:
    """Make the event of a merge queue that wants its checks."""
    ref = f"refs/heads/gh-readonly-queue/main/pr-{number}-{base_sha}"
    group = {"head_sha": sha, "head_ref": ref, "base_sha": base_sha, "base_ref": "refs/heads/main"}
    group["head_commit"] = {"id": sha, "message": f"Merge pull request #{number}"}
    return send("merge_group", repository, "ada", ref, {"action": "checks_requested", "merge_group": group}, sha)


def workflow_dispatch(
    repository: str, workflow: str, inputs: Mapping[str, str], ref: str = "refs/heads/main", actor: str = "ada"
) -> Event:
    """Make the event of a workflow that was started by hand or by ``gh workflow run``; all inputs are text."""
    written = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in inputs.items()}
    fields = {"inputs": written, "ref": ref, "workflow": workflow}
    return send("workflow_dispatch", repository, actor, ref, fields)


def repository_dispatch(repository: str, kind: str, payload: Mapping[str, Any], actor: str = "ada") -> Event:
    """Make the event that something outside of GitHub sends; it is run on main."""
    fields = {"action": kind, "branch": "main", "client_payload": dict(payload)}
    return send("repository_dispatch", repository, actor, "refs/heads/main", fields)


def workflow_run(
    pull: Mapping[str, Any], workflow: str, conclusion: str = "success", run_id: int = 1, event: str = "pull_request"
) -> Event:
    """Make the event of a workflow's end, for a run that a pull request of a branch or of a fork had started.

    Parameters
    ----------
    pull : Mapping of str to Any
        The pull request, as ``open_pull_request`` describes it.
    workflow : str
        The name of the workflow that ended.
    conclusion : str
        ``success``, ``failure`` or ``cancelled``.
    run_id : int
        The run's number, under which its artifacts lie.
    event : str
        What had started the run.

    Returns
    -------
    Event
        It is run on main, with main's code, whatever the branch holds.
    """
    head, base = pull["head"], pull["base"]
    own = head["repo"]["full_name"] == base["repo"]["full_name"]
    sides = {"head": {"ref": head["ref"], "sha": head["sha"]}, "base": {"ref": base["ref"], "sha": base["sha"]}}
    actor = pull["user"]["login"]
    run = {
        "id": run_id,
        "name": workflow,
        "event": event,
        "status": "completed",
        "conclusion": conclusion,
        "run_number": run_id,
        "run_attempt": 1,
        "head_branch": head["ref"],
        "head_sha": head["sha"],
        "head_repository": head["repo"],
        "repository": base["repo"],
        # GitHub leaves this empty for a fork's pull request.
        "pull_requests": [{"number": pull["number"], **sides}] if own else [],
        "actor": describe_user(actor),
        "triggering_actor": describe_user(actor),
        "html_url": f"{base['repo']['html_url']}/actions/runs/{run_id}",
    }
    fields = {"action": "completed", "workflow_run": run, "workflow": {"name": workflow}}
    return send("workflow_run", base["repo"]["full_name"], actor, "refs/heads/main", fields)


def schedule(repository: str, cron: str) -> Event:
    """Make the event of a schedule, which has no payload of its own but its line."""
    return send("schedule", repository, "github-actions[bot]", "refs/heads/main", {"schedule": cron})
