"""Check a workflow against what its actions declare, and find the stand-in of each."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lifecycle.errors import MisuseError

ACTIONS = Path(__file__).parent / "actions"
STEP = re.compile(r"\bsteps\.([\w-]+)\.(?:outputs\.([\w-]+)|outcome\b|conclusion\b)")
NEED = re.compile(r"\bneeds\.([\w-]+)\.(?:outputs\.([\w-]+)|result\b)")
ECHO = re.compile(r"""(?:echo|printf)\s+["']?([\w-]+)=.*>>\s*["']?\$\{?GITHUB_OUTPUT""")


@dataclass(frozen=True)
class Declared:
    """What may be given to something, what must be, and what it gives; ``outputs`` is None where nobody knows."""

    name: str
    inputs: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    outputs: frozenset[str] | None = None


@cache
def read_yaml(path: Path) -> dict[str, Any]:
    """Read a workflow or an action; the key ``on``, which YAML takes for true, is given back its name."""
    if not path.is_file():
        raise MisuseError(f"{path} is not there")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise MisuseError(f"{path} holds no workflow and no action")
    return {"on" if key is True else key: value for key, value in content.items()}


def list_known() -> list[str]:
    """List the actions that have a stand-in."""
    return sorted(str(path.parent.relative_to(ACTIONS)) for path in ACTIONS.rglob("action.yml"))


def find_action(uses: str, folder: Path) -> Path:
    """Find the file of an action, which may be the repository's own or another's, in its stand-in."""
    path = folder / uses if uses.startswith("./") else ACTIONS / uses.partition("@")[0]
    if not uses.startswith("./") and ("@" not in uses or not (path / "action.yml").is_file()):
        raise MisuseError(f"{uses} has no stand-in; there are {', '.join(list_known())}")
    return path / ("action.yml" if (path / "action.yml").is_file() else "action.yaml")


def read_action(uses: str, folder: Path) -> Declared:
    """Read what an action declares."""
    action = read_yaml(find_action(uses, folder))
    inputs = {name: value or {} for name, value in (action.get("inputs") or {}).items()}
    required = {name for name, value in inputs.items() if value.get("required") is True and "default" not in value}
    name = uses.partition("@")[0]
    return Declared(name, frozenset(inputs), frozenset(required), frozenset(action.get("outputs") or {}))


def read_step(step: Mapping[str, Any], folder: Path) -> Declared:
    """Read what a step declares; a command does so where each line for GITHUB_OUTPUT is an echo of its own."""
    if "uses" in step:
        return read_action(step["uses"], folder)
    lines = [line for line in step.get("run", "").splitlines() if "GITHUB_OUTPUT" in line]
    echoes = [ECHO.search(line) for line in lines]
    known = frozenset(echo[1] for echo in echoes if echo)
    return Declared("its command", outputs=known if lines and all(echoes) else None)


def list_texts(value: Any) -> Iterator[str]:
    """List all texts in a part of a workflow."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from list_texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from list_texts(part)


def check_references(
    part: Any, pattern: re.Pattern[str], word: str, known: Mapping[str, Declared], place: str
) -> None:
    """Refuse a reference to a step, a job or an output that nobody has declared."""
    for text in list_texts(part):
        for match in pattern.finditer(text):
            if match[1] not in known:
                raise MisuseError(f"{place} names the {word} {match[1]}; known are {join(known)}")
            outputs = known[match[1]].outputs
            if match[2] and outputs is not None and match[2] not in outputs:
                raise MisuseError(f"{place} reads {match[0]}; {known[match[1]].name} gives {join(outputs)}")


def check_inputs(given: Mapping[str, Any], declared: Declared, place: str) -> None:
    """Refuse an input that was not declared, and the lack of one that must be given."""
    for name in given:
        if name not in declared.inputs:
            raise MisuseError(f"{place} gives {name} to {declared.name}, which knows {join(declared.inputs)}")
    for name in sorted(declared.required - {*given}):
        raise MisuseError(f"{place} gives no {name} to {declared.name}, which needs {join(declared.required)}")


def join(names: Any) -> str:
    """Join names for a message."""
    return ", ".join(sorted(names)) or "none"


def check_steps(steps: list[dict[str, Any]], folder: Path, place: str) -> dict[str, Declared]:
    """Check a list of steps, each against those before it, and give those that have an id."""
    known: dict[str, Declared] = {}
    for number, step in enumerate(steps, start=1):
        here = f"{place}, step {number} ({step.get('name') or step.get('id') or step.get('uses') or 'run'})"
        check_references(step, STEP, "step", known, here)
        if "uses" in step and step["uses"].startswith("./"):
            check_own_action(step["uses"], folder)
        try:
            declared = read_step(step, folder)
        except MisuseError as error:
            raise MisuseError(f"{here}: {error}") from error
        if "uses" in step:
            check_inputs(step.get("with") or {}, declared, here)
        if "id" in step:
            known[step["id"]] = declared
    return known


def check_own_action(uses: str, folder: Path) -> None:
    """Check an action of the repository's own."""
    action = read_yaml(find_action(uses, folder))
    known = check_steps(action["runs"].get("steps") or [], folder, uses)
    check_references(action.get("outputs"), STEP, "step", known, f"{uses}, outputs")


def list_needs(job: Mapping[str, Any]) -> list[str]:
    """List the jobs that a job waits for."""
    needs = job.get("needs") or []
    return [needs] if isinstance(needs, str) else needs


def check_workflow(path: Path, folder: Path) -> None:
    """Check each step's inputs, and each output that is read, against what is declared.

    Parameters
    ----------
    path : Path
        The workflow's file.
    folder : Path
        The repository, for the actions of its own.

    Raises
    ------
    MisuseError
        On an action without a stand-in, and on an unknown input, step, job or output.
    """
    jobs = read_yaml(path)["jobs"]
    declared = {
        name: Declared(f"job {name}", outputs=frozenset(job.get("outputs") or {})) for name, job in jobs.items()
    }
    for name, job in jobs.items():
        place = f"{path.name}, job {name}"
        if "uses" in job:
            raise MisuseError(f"{place} uses {job['uses']}; a rehearsal runs no workflow that is called by another")
        needed = {need: declared[need] for need in list_needs(job) if need in declared}
        check_references(job, NEED, "job", needed, place)
        known = check_steps(job.get("steps") or [], folder, place)
        check_references(job.get("outputs"), STEP, "step", known, f"{place}, outputs")


def map_actions(path: Path, folder: Path) -> dict[str, Path]:
    """Map what a workflow and the repository's own actions use of others, as ``owner/name@ref``, to the stand-ins."""
    mapped: dict[str, Path] = {}
    pending = [step for job in read_yaml(path)["jobs"].values() for step in job.get("steps") or []]
    while pending:
        uses = pending.pop().get("uses")
        if uses and uses.startswith("./"):
            pending += read_yaml(find_action(uses, folder))["runs"].get("steps") or []
        elif uses:
            name, _, ref = uses.partition("@")
            owner_and_name = "/".join(name.split("/")[:2])
            mapped[f"{owner_and_name}@{ref}"] = ACTIONS / owner_and_name
    return mapped
