"""GitHub on loopback: an HTTPS server that answers what ``gh`` and CML ask, and keeps what they send.

It holds one repository, as plain JSON objects in GitHub's own shapes; tests and rehearsals read and fill them.
"""

import io
import json
import os
import re
import ssl
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

API, GRAPHQL = "/api/v3", "/api/graphql"
Answer = tuple[int, Any]


@dataclass(frozen=True)
class Request:
    """A request as it came: ``path`` without the prefix of the API, ``query`` and ``body`` parsed."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    token: str


Route = Callable[["Repository", "re.Match[str]", Request], Answer]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []


# A field for each kind of thing that a repository holds.
@dataclass
class Repository:  # pylint: disable=too-many-instance-attributes
    """A repository's state: each field is a list of GitHub's own objects, or a setting."""

    full_name: str = "team/model"
    pulls: list[dict[str, Any]] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    check_runs: list[dict[str, Any]] = field(default_factory=list)
    # By workflow run: name -> the bytes of the artifact's zip.
    artifacts: dict[int, dict[str, bytes]] = field(default_factory=dict)
    # In GitHub's own shape, with the workflow's file under ``path``.
    runs: list[dict[str, Any]] = field(default_factory=list)
    # Workflow runs whose artifacts are no longer kept.
    expired: set[int] = field(default_factory=set)
    # Files of workflows that were asked for; GitHub numbers them, and so does their place here.
    workflows: list[str] = field(default_factory=list)
    dispatches: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    # What this GitHub does not do: method and path under the repository -> the status and message of its answer.
    refusals: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    # The bare repository behind it, where branches have to be there.
    remote: Path | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    requests: list[Request] = field(default_factory=list)

    def list_writes(self) -> list[Request]:
        """List the requests that would have changed something."""
        return [request for request in self.requests if request.method != "GET"]


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    """Register what answers a method and path; ``pattern`` is a regular expression under ``repos/{owner}/{name}``."""

    def register(function: Route) -> Route:
        ROUTES.append((method, re.compile(rf"/repos/(?P<repo>[^/]+/[^/]+){pattern}"), function))
        return function

    return register


def zip_files(files: Mapping[str, bytes]) -> bytes:
    """Zip files as an artifact's archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return archive.getvalue()


@route("GET", "/actions/runs/(?P<run>[0-9]+)/artifacts")
def list_artifacts(repository: Repository, match: "re.Match[str]", request: Request) -> Answer:
    """List a run's artifacts; an artifact's id is its run's followed by its place."""
    run = int(match["run"])
    listed = [
        {"id": run * 100 + place, "name": name, "size_in_bytes": len(content), "expired": run in repository.expired}
        for place, (name, content) in enumerate(repository.artifacts.get(run, {}).items())
        if request.query.get("name") in (None, name)
    ]
    return 200, {"total_count": len(listed), "artifacts": listed}


@route("GET", "/actions/workflows/(?P<workflow>[^/]+)/runs")
def list_runs(repository: Repository, match: "re.Match[str]", request: Request) -> Answer:
    """List a workflow's runs, the newest first, by branch and status."""
    wanted = {"head_branch": request.query.get("branch"), "status": request.query.get("status")}
    listed = [
        run
        for run in repository.runs
        if run["path"] == f".github/workflows/{match['workflow']}"
        and all(value in (None, run[key]) for key, value in wanted.items())
    ]
    newest = sorted(listed, key=lambda run: -run["id"])[: int(request.query.get("per_page", 30))]
    return 200, {"total_count": len(listed), "workflow_runs": newest}


@route("GET", "/actions/artifacts/(?P<artifact>[0-9]+)/zip")
def download_artifact(repository: Repository, match: "re.Match[str]", _request: Request) -> Answer:
    """Give an artifact's archive."""
    run, place = divmod(int(match["artifact"]), 100)
    if run in repository.expired:
        return 410, {"message": "Artifact has expired"}
    return 200, list(repository.artifacts[run].values())[place]


@route("GET", "/pulls")
def list_pulls(repository: Repository, _match: "re.Match[str]", request: Request) -> Answer:
    """List pull requests, by state and by ``head`` (owner:branch); the newest first where that is asked."""

    def matches(pull: dict[str, Any]) -> bool:
        head = f"{pull['head']['repo']['owner']['login']}:{pull['head']['ref']}"
        return (
            request.query.get("state", "open") in ("all", pull["state"]) and request.query.get("head", head) == head
        )

    size, page = int(request.query.get("per_page", 30)), int(request.query.get("page", 1))
    sign = -1 if request.query.get("direction") == "desc" else 1
    found = sorted(filter(matches, repository.pulls), key=lambda pull: sign * pull["number"])
    return 200, found[(page - 1) * size : page * size]


@route("GET", "/issues/(?P<number>[0-9]+)/comments")
def list_comments(repository: Repository, match: "re.Match[str]", _request: Request) -> Answer:
    """List a pull request's comments."""
    return 200, repository.comments.get(int(match["number"]), [])


@route("POST", "/issues/(?P<number>[0-9]+)/comments")
def create_comment(repository: Repository, match: "re.Match[str]", request: Request) -> Answer:
    """Write a comment; GitHub takes at most 65,536 characters."""
    if len(request.body["body"]) > 65_536:
        return 422, {"message": "Body is too long (maximum is 65536 characters)"}
    comments = repository.comments.setdefault(int(match["number"]), [])
    comments.append({"id": int(match["number"]) * 1000 + len(comments), "body": request.body["body"]})
    return 201, comments[-1]


@route("PATCH", "/issues/comments/(?P<comment>[0-9]+)")
def update_comment(repository: Repository, match: "re.Match[str]", request: Request) -> Answer:
    """Change a comment."""
    number, place = divmod(int(match["comment"]), 1000)
    repository.comments[number][place]["body"] = request.body["body"]
    return 200, repository.comments[number][place]


@route("POST", "/check-runs")
def create_check_run(repository: Repository, _match: "re.Match[str]", request: Request) -> Answer:
    """Set a check on a commit."""
    repository.check_runs.append(request.body)
    return 201, {"id": len(repository.check_runs), **request.body}


@route("GET", "/actions/workflows/(?P<workflow>[^/]+)")
def read_workflow(repository: Repository, match: "re.Match[str]", _request: Request) -> Answer:
    """Describe a workflow."""
    name = match["workflow"]
    if name not in repository.workflows:
        repository.workflows.append(name)
    return 200, {"id": repository.workflows.index(name), "name": name, "path": name, "state": "active"}


@route("POST", "/actions/workflows/(?P<workflow>[^/]+)/dispatches")
def dispatch_workflow(repository: Repository, match: "re.Match[str]", request: Request) -> Answer:
    """Start a workflow, by its number or its file's name."""
    name = match["workflow"]
    asked = repository.workflows[int(name)] if name.isdigit() else name
    repository.dispatches.append({"workflow": asked, **request.body})
    return 204, None


@route("POST", "/dispatches")
def dispatch_event(repository: Repository, _match: "re.Match[str]", request: Request) -> Answer:
    """Tell workflows that listen for it of an event in the world outside; nobody does so without a token."""
    if not request.token:
        return 401, {"message": "Requires authentication"}
    if not (isinstance(request.body, dict) and request.body.get("event_type")):
        return 422, {"message": 'Invalid request. "event_type" wasn\'t supplied.'}
    repository.dispatches.append(request.body)
    return 204, None


def answer(repository: Repository, request: Request) -> Answer:
    """Find the route of a request and let it answer; what is not known here is told apart from what is not there."""
    repository.requests.append(request)
    for method, pattern, function in ROUTES:
        match = pattern.fullmatch(request.path)
        if method == request.method and match:
            if match["repo"] != repository.full_name:
                return 404, {"message": "Not Found"}
            path = request.path.removeprefix(f"/repos/{repository.full_name}")
            if refused := repository.refusals.get((method, path)):
                return refused[0], {"message": refused[1]}
            return function(repository, match, request)
    return 501, {"message": f"the stand-in knows no {request.method} {request.path}"}


class _Handler(BaseHTTPRequestHandler):
    """Parse a request, and send what the routes answer: bytes as they are, everything else as JSON."""

    repository: Repository

    def _handle(self) -> None:
        url = urlsplit(self.path)
        content = b"".join(self._read_content())
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        # GraphQL names the repository in its body, if at all.
        own = f"/repos/{self.repository.full_name}"
        path = own if url.path == GRAPHQL else url.path.removeprefix(API)
        token = (self.headers.get("Authorization") or "").removeprefix("token ").removeprefix("Bearer ")
        request = Request(self.command, path, query, json.loads(content) if content else None, token)
        status, body = answer(self.repository, request)
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/zip" if isinstance(body, bytes) else "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def _read_content(self) -> Iterator[bytes]:
        """Read a request's body, in chunks where its sender does not know its length."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            yield self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _handle

    def log_message(self, format: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
        """Keep the terminal quiet; requests are kept in the repository."""


@contextmanager
def serve_github(repository: Repository, folder: Path) -> Iterator[dict[str, str]]:
    """Serve a repository over HTTPS on loopback.

    Parameters
    ----------
    repository : Repository
    folder : Path
        Where the certificate's authority is written.

    Yields
    ------
    dict of str to str
        The environment in which ``gh`` and CML speak to this server, token included.
    """
    authority = trustme.CA()
    trusted = folder / "authority.pem"
    # Beside what the machine trusts already, since downloads go on.
    known = Path(os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or os.devnull)
    trusted.write_bytes(known.read_bytes() + authority.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"repository": repository}))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    # How long it takes to end is how often it looks whether it should.
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    host = f"localhost:{server.server_address[1]}"
    try:
        yield {
            "GH_HOST": host,
            "GH_ENTERPRISE_TOKEN": "a-token-that-opens-nothing",
            "GITHUB_API_URL": f"https://{host}{API}",
            "GITHUB_REPOSITORY": repository.full_name,
            "SSL_CERT_FILE": str(trusted),
        }
    finally:
        server.shutdown()
        server.server_close()
