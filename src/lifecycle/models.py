"""The models of a repository: make another one, say which of them a change touches, and work on them."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import NoReturn

from lifecycle.comparison.verdict import PASS, UNCHANGED
from lifecycle.errors import MisuseError, run
from lifecycle.experiments.settings import edit_params
from lifecycle.folders import derive_pipeline, find_folder, list_models
from lifecycle.github.runner import append_to
from lifecycle.paths import MODELS, PARAMS, PIPELINE, find_top
from lifecycle.repository import LOCK, choose_base, read_git, read_yaml_at, resolve_revision

# Also what the names of all that it has in the cloud start with.
NAME = re.compile(r"[a-z][a-z0-9-]{1,18}[a-z0-9]")
# What all models share, and is looked for in the working folder.
LINKS = ("infra", "requirements.lock")
# The first model's own files; those of the others lie in their folders.
OWN = {PARAMS.name, LOCK, "data.dvc"}
# What no model is made of.
APART = re.compile(
    r"LICENSE|.*\.md|(infra|src/rehearsal|tests|\.dvc/sample-store)/.*|\.git(attributes|ignore)|"
    r"\.github/((ISSUE_TEMPLATE|rulesets)/.*|CODEOWNERS|[^/]+\.(json|yml))"
)
NOT_COPIED = ("__pycache__", "*.pyc")
ALLOWED = (PASS, UNCHANGED)
COMMANDS = {
    "list": "list the models, and their folders",
    "add": "make a folder for another model, in the first one's image",
    "touched": "list the models that may come out otherwise than at a base",
    "run": "run a module in a model's folder",
    "each": "run a module in the folder of each model that `touched` lists, to the first fault",
    "judge": "say the verdicts in reports, one of each model; exit 1 unless all may be merged",
}


def add_model(top: Path, name: str) -> Path:
    """Make a model's folder: its parameters and its domain are the first one's, the machinery is linked.

    Returns
    -------
    Path
        The folder; after an error there is none.

    Raises
    ------
    MisuseError
        If the name is taken, or none.
    """
    if not NAME.fullmatch(name):
        raise MisuseError(
            f"{name!r} is no name of a model; expected 3 to 20 lower-case letters, digits and hyphens: "
            "make model NAME=..."
        )
    folder, params = top / MODELS / name, read_yaml_at(None, str(top / PARAMS))
    if folder.exists() or name in (*list_models(top), params["infra"]["name"]):
        raise MisuseError(f"the name {name!r} is taken; choose another one: make model NAME=...")
    package = Path("src") / params["domain"]
    if not (top / package).is_dir():
        raise MisuseError(f"{PARAMS} names the domain {params['domain']!r}; expected a package {package}.")
    edited = edit_params((top / PARAMS).read_bytes(), {"registry.name": name, "infra.name": name})
    folder.parent.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".add-") as temporary:
        made = Path(temporary) / name
        shutil.copytree(top / package, made / package, ignore=shutil.ignore_patterns(*NOT_COPIED))
        for shared in LINKS:
            (made / shared).symlink_to(Path("../..") / shared)
        (made / PARAMS).write_bytes(edited)
        (made / PIPELINE).write_text(derive_pipeline((top / PIPELINE).read_text(encoding="utf-8")), encoding="utf-8")
        made.rename(folder)
    return folder


def choose_touched(models: Iterable[str], changed: Iterable[str], package: str) -> list[str]:
    """Choose the models that a change can make come out otherwise; pure.

    Parameters
    ----------
    models : iterable of str
        The first one first.
    changed : iterable of str
        Files, from the repository's top on.
    package : str
        The first model's, as src/domain.

    Returns
    -------
    list of str
        An only model in any case, so that every change of it has its report.
    """
    first, *others = models
    touched = set() if others else {first}
    for path in changed:
        parts = PurePosixPath(path).parts
        if parts[0] == MODELS.name:
            touched |= {*parts[1:2]} & {*others}
        elif path in OWN or path.startswith(("out/", f"{package}/")):
            touched.add(first)
        elif not APART.fullmatch(path):
            touched |= {first, *others}
    return [name for name in (first, *others) if name in touched]


def list_touched(top: Path, base: str | None) -> list[str]:
    """List the models that this work can make come out otherwise than at a base.

    Parameters
    ----------
    top : Path
    base : str or None
        A revision, or None for where this work left the main branch; all models are listed where that is HEAD itself.

    Raises
    ------
    MisuseError
        If there is no such revision.
    """
    models, start = list_models(top), choose_base(base)
    if start == resolve_revision("HEAD"):
        return list(models)
    # Of a rename both names count.
    listed = read_git("-C", str(top), "diff", "--name-only", "--no-renames", "-z", str(start), "HEAD")
    package = f"src/{read_yaml_at(None, str(top / PARAMS)).get('domain')}"
    return choose_touched(models, filter(None, listed.split("\0")), package)


def run_module(folder: Path, arguments: Sequence[str]) -> int:
    """Run a module in a folder, with this Python; return its exit code."""
    return subprocess.run([sys.executable, "-m", *arguments], cwd=folder, check=False).returncode


def become_module(folder: Path, arguments: Sequence[str]) -> NoReturn:
    """Run a module in a folder in the place of this process, so that it gets the signals that are meant for it."""
    os.chdir(folder)
    os.execv(sys.executable, [sys.executable, "-m", *arguments])


def judge_reports(reports: Iterable[dict[str, object]], names: Iterable[str]) -> tuple[list[str], bool]:
    """Say the verdict on each model, and whether all of them may be merged; pure.

    Parameters
    ----------
    reports : iterable of dict
        As `lifecycle.report` writes them; only the outcome and the model's name are looked at.
    names : iterable of str
        The models that must have one; an only model's report names none.

    Returns
    -------
    tuple of list of str and bool
    """
    names = list(names)
    outcomes = {report.get("model") or names[0]: report.get("outcome") for report in reports}
    said = [f"{name}: {outcomes.get(name) or 'no verdict, since the run ended before one'}" for name in names]
    return said or ["no model is touched"], all(outcomes.get(name) in ALLOWED for name in names)


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.models", description="Work on several models.")
    choices = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands = {command: choices.add_parser(command, help=text) for command, text in COMMANDS.items()}
    commands["add"].add_argument("name")
    commands["run"].add_argument("name")
    for command in ("touched", "each"):
        commands[command].add_argument("--base", help="by default where this work left the main branch")
    for command in ("run", "each"):
        commands[command].add_argument(
            "arguments", nargs=argparse.REMAINDER, metavar="module", help="and its arguments"
        )
    commands["judge"].add_argument("folder", type=Path, help="that holds each report.json")
    commands["judge"].add_argument("names", help="of the touched models, as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks; the exit code of a module that ran is that of the command."""
    given, top = _parse_arguments(argv), find_top()
    if given.command == "run":
        become_module(find_folder(top, given.name), given.arguments)
    if given.command == "each":
        folders = [find_folder(top, name) for name in list_touched(top, given.base)]
        return next(filter(None, (run_module(folder, given.arguments) for folder in folders)), 0)
    if given.command == "judge":
        reports = [json.loads(path.read_text(encoding="utf-8")) for path in given.folder.rglob("report.json")]
        said, is_allowed = judge_reports(reports, json.loads(given.names))
        print("\n".join(said))
        return 0 if is_allowed else 1
    if given.command == "add":
        folder = add_model(top, given.name).relative_to(top)
        print(f"{folder} holds the task in src, and its settings in {PARAMS}. Next: make pipeline MODEL={given.name}")
    elif given.command == "touched":
        touched = list_touched(top, given.base)
        append_to("GITHUB_OUTPUT", f"models={json.dumps(touched)}\n")
        print("\n".join(touched) or "no model is touched")
    else:
        print("\n".join(f"{name}  {folder.relative_to(top)}" for name, folder in list_models(top).items()))
    return 0


if __name__ == "__main__":
    run(main)
