"""Ask GitHub through ``gh``, its command line, which finds the host and the token in the environment."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any
from urllib.parse import quote, urlencode

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.views.markdown import clean_text

# As gh reads them: the second one for a host of one's own.
TOKENS = ("GH_TOKEN", "GH_ENTERPRISE_TOKEN")
MOST_BYTES = 10_000_000
# What gh exits with where it has no login.
NEEDS_LOGIN = 4
MOST_COMPLAINT = 10_000


@dataclass(frozen=True)
class Client:
    """What may be asked of one repository, ``owner/name``."""

    repository: str

    def read(self, *parts: object, **query: object) -> Any:
        """Read what GitHub has under an endpoint of the repository.

        Parameters
        ----------
        *parts : object
            The endpoint's, as ``"pulls", 7``.
        **query : object
            May hold any characters.

        Returns
        -------
        object
            As parsed from JSON.

        Raises
        ------
        MisuseError, RefusedError
            As `call_github`.
        """
        return call_github("GET", self._build_endpoint(parts, query))

    def download(self, *parts: object, most_bytes: int) -> bytes:
        """Download a file; one of more bytes than expected is refused before it has arrived.

        Raises
        ------
        MisuseError, RefusedError
            As `call_github`.
        """
        return _ask("GET", self._build_endpoint(parts, {}), most_bytes=most_bytes)

    def create(self, *parts: object, content: Mapping[str, Any]) -> Any:
        """Create something under an endpoint of the repository, and return what GitHub made of it.

        Raises
        ------
        MisuseError, RefusedError
            As `call_github`.
        """
        return call_github("POST", self._build_endpoint(parts, {}), content)

    def update(self, *parts: object, content: Mapping[str, Any]) -> Any:
        """Change what GitHub has under an endpoint of the repository, and return what it made of it.

        Raises
        ------
        MisuseError, RefusedError
            As `call_github`.
        """
        return call_github("PATCH", self._build_endpoint(parts, {}), content)

    def _build_endpoint(self, parts: tuple[object, ...], query: Mapping[str, object]) -> str:
        """Build an endpoint in which no part can become another one."""
        path = "/".join(quote(str(part), safe="") for part in ("repos", *self.repository.split("/"), *parts))
        return f"{path}?{urlencode(query, quote_via=quote, safe='')}" if query else path


def open_client() -> Client:
    """Open the repository that a workflow runs in; GITHUB_REPOSITORY names it.

    Raises
    ------
    MisuseError
        If it, or the token, is not set.
    """
    repository = os.environ.get("GITHUB_REPOSITORY", "")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise MisuseError(
            f"GITHUB_REPOSITORY is {show_text(repository)}, expected owner/name; a workflow has it set."
        )
    find_token()
    return Client(repository)


def find_token() -> str:
    """Find the token in the environment.

    Raises
    ------
    MisuseError
        If there is none.
    """
    token = next((os.environ[name] for name in TOKENS if os.environ.get(name)), None)
    if token is None:
        raise MisuseError(f"there is no token for GitHub; set {TOKENS[0]}, or {TOKENS[1]} for a host of your own.")
    return token


def show_text(text: object, longest: int = 60) -> str:
    """Write what a stranger may have written for one line of a log: short, and nothing that a log could obey."""
    return re.sub(r"[^\w .,;()'/+–…-]", "?", clean_text(text, longest))


def show_fault(text: bytes) -> str:
    """Write what a command complained about in one line, without a token and the full stop."""
    said = text.decode(errors="replace")
    for token in filter(None, map(os.environ.get, TOKENS)):
        said = said.replace(token, "***")
    return show_text(said, 300).rstrip(".")


def call_github(method: str, endpoint: str, content: Any = None) -> Any:
    """Ask GitHub for an endpoint.

    Parameters
    ----------
    method : str
    endpoint : str
        As ``repos/owner/name/pulls?state=open``, with every part quoted.
    content : object, optional
        Sent as JSON.

    Returns
    -------
    object
        As parsed from JSON; None for an empty answer.

    Raises
    ------
    MisuseError
        If ``gh`` or a login is missing.
    RefusedError
        If GitHub does not do it, with what it says and its status.
    """
    answer = _ask(method, endpoint, content)
    try:
        return json.loads(answer or b"null")
    except ValueError as error:
        raise RefusedError(f"GitHub answered no JSON: {show_text(answer[:200].decode(errors='replace'))}") from error


def _ask(method: str, endpoint: str, content: Any = None, most_bytes: int = MOST_BYTES) -> bytes:
    """Ask GitHub; read no more bytes than allowed."""
    command = ["gh", "api", "--method", method, *([] if content is None else ["--input", "-"]), endpoint]
    asked = f"{method} {endpoint.partition('?')[0]}"
    with TemporaryFile() as given, TemporaryFile() as complaint:
        given.write(json.dumps(content).encode())
        given.seek(0)
        try:
            process = subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, stderr=complaint)
        except FileNotFoundError as error:
            raise MisuseError("gh, GitHub's command line, is not installed; see https://cli.github.com") from error
        with process:
            answer = process.stdout.read(most_bytes + 1) if process.stdout else b""
            if len(answer) > most_bytes:
                process.kill()
        complaint.seek(0)
        fault = show_fault(complaint.read(MOST_COMPLAINT))
    if len(answer) > most_bytes:
        raise RefusedError(f"the answer to {asked} has more than {most_bytes:,d} bytes; expected no more.")
    if process.returncode == NEEDS_LOGIN:
        raise MisuseError(f"gh has no login for this host ({fault}). Run gh auth login, or set {TOKENS[0]}.")
    if process.returncode:
        raise RefusedError(f"GitHub did not do {asked}: {fault}. Correct what it names, and run this again.")
    return answer
