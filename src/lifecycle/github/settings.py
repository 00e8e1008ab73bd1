"""Compare a repository's settings on GitHub with the files in .github, and with ``--apply`` bring them in line.

Without ``--apply`` nothing is written. What the owner adds (reviewers, rules, who may bypass them) stays in any case.
"""

import argparse
import configparser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

from lifecycle.errors import RefusedError, run
from lifecycle.github.remote import AnswerError, Remote, open_repository
from lifecycle.github.wanted import FILES, Setting, list_differences, read_optional, read_settings

COMMAND = "python -m lifecycle.github.settings"
DVC_CONFIG = Path(".dvc/config")
COLUMNS, STATE_COLUMNS, NAME_COLUMNS = 80, 9, 24
# By GitHub's status: what to do.
ADVICE = {
    403: "be an admin; if private, see its plan",
    404: "log in as an admin of this repository",
    409: "the organization decides; ask there",
    422: "not in this plan, or a wrong value",
}


@dataclass(frozen=True)
class Outcome:
    """What became of a setting: ``faults`` are what it lacks, ``refusal`` is what GitHub said."""

    state: str
    faults: Sequence[str] = ("",)
    refusal: str = ""


def settle(remote: Remote, setting: Setting, apply: bool) -> Outcome:
    """Compare a setting with what GitHub has; write it where that is asked for, and needed.

    Parameters
    ----------
    remote : Remote
    setting : Setting
    apply : bool
        Whether to write.

    Returns
    -------
    Outcome
        Its state is one of set, missing, differs, created, changed, ignored (written, and GitHub left it as it was)
        and refused.

    Raises
    ------
    MisuseError, RefusedError
        If GitHub cannot be asked at all.
    """
    try:
        path, found = remote.find(setting)
        faults = list_faults(setting, found)
        if not faults:
            return Outcome("set")
        if not apply:
            return Outcome("missing" if found is None else "differs", faults)
        remote.write(setting, path, found)
        left = list_faults(setting, remote.find(setting)[1])
        return Outcome("ignored", left) if left else Outcome("created" if found is None else "changed")
    except AnswerError as error:
        advice = ADVICE.get(error.status, "try again later")
        return Outcome("refused", [f"{error.status}: {advice}"], error.message)


def list_faults(setting: Setting, found: Any) -> list[str]:
    """List what a setting lacks; of one that is not there, that is where it is described."""
    return [f"as in {setting.file}"] if found is None else list(list_differences(setting.wanted, found))


def list_optional(remote: Remote, variables: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """List what only some workflows need, and where bytes are kept: state, name and meaning."""
    for name, meaning in variables.items():
        try:
            state = "not set" if remote.look_up(f"/actions/variables/{name}") is None else "set"
        except AnswerError:
            # To read variables takes more rights than a run needs.
            state = "hidden"
        yield state, f"variable {name}", meaning
    url = read_dvc_remote()
    yield ("set", "DVC remote", url) if "://" in url else ("not set", "DVC remote", "a store outside this repository")


def read_dvc_remote(path: Path = DVC_CONFIG) -> str:
    """Read the address of DVC's default remote; empty where there is none."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(path, encoding="utf-8")
    name = config.get("core", "remote", fallback="")
    return config.get(f"'remote \"{name}\"'", "url", fallback="")


def format_line(state: str, name: str, remark: str = "") -> str:
    """Write a line of the table, of 80 characters at most."""
    line = f"{state:<{STATE_COLUMNS}}{_cut(name, NAME_COLUMNS):<{NAME_COLUMNS}} "
    return f"{line}{_cut(remark, COLUMNS - len(line))}".rstrip()


def _cut(text: str, longest: int) -> str:
    """Cut a text."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def conclude(outcomes: Mapping[str, Outcome], apply: bool) -> str:
    """Sum up.

    Parameters
    ----------
    outcomes : Mapping of str to Outcome
        By the setting's name.
    apply : bool
        Whether what was missing has been written.

    Returns
    -------
    str
        One line.

    Raises
    ------
    RefusedError
        If something is not as the files say, with what to do.
    """
    states = [outcome.state for outcome in outcomes.values()]
    refused = {name: outcome.refusal for name, outcome in outcomes.items() if outcome.state == "refused"}
    said = "".join(
        f"; GitHub refused {', '.join(name for name in refused if refused[name] == refusal)}: {refusal}"
        for refusal in dict.fromkeys(refused.values())
    )
    ignored = [name for name, outcome in outcomes.items() if outcome.state == "ignored"]
    said += f"; GitHub left {', '.join(ignored)} as before, as it does where the plan has no such thing" * bool(
        ignored
    )
    open_states = [state for state in states if state in ("missing", "differs", "ignored", "refused")]
    if open_states:
        todo = "Do what the lines above say, and run it again" if apply else f"Run: {COMMAND} --apply"
        raise RefusedError(f"{len(open_states)} of {len(states)} are not as {FILES} says{said}. {todo}")
    written = sum(state in ("created", "changed") for state in states)
    return f"all {len(states)} are as {FILES} says; {written or 'nothing'} {'were' if written > 1 else 'was'} changed"


def main(argv: Sequence[str] | None = None) -> None:
    """Print what is there and what is missing, one line each.

    Raises
    ------
    MisuseError
        If ``gh`` is not logged in, or a file in .github is not what it should be.
    RefusedError
        If something that the files ask for is missing at the end.
    """
    parser = argparse.ArgumentParser(prog=COMMAND, description="Compare GitHub's settings with the files in .github.")
    parser.add_argument("--apply", action="store_true", help="create and change what is missing")
    given = parser.parse_args(argv)
    settings, variables = read_settings(), read_optional()
    remote = open_repository()
    print(f"repository {remote.name}")
    outcomes: dict[str, Outcome] = {}
    for setting in settings:
        outcomes[str(setting)] = outcome = settle(remote, setting, given.apply)
        for fault in outcome.faults:
            print(format_line(outcome.state, str(setting), fault), flush=True)
    optional = list(list_optional(remote, variables))
    for state, name, meaning in optional:
        print(format_line(state, name, meaning))
    absent = [name.removeprefix("variable ") for state, name, _ in optional if state == "not set"]
    if absent:
        print(fill(f"not set: {', '.join(absent)}; workflows that need it skip themselves", COLUMNS))
    print(conclude(outcomes, given.apply))


if __name__ == "__main__":
    run(main)
