"""What the files in .github ask of the repository, and where what GitHub has falls short of it.

They say the least that is asked: labels, rules and checks that stand beside them are the owner's, and stay.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lifecycle.errors import MisuseError

FILES = Path(".github")
REPOSITORY = "repository.json"


class Label(BaseModel):
    """A label of labels.json, within GitHub's limits."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=50)]
    color: Annotated[str, Field(pattern="^[0-9a-f]{6}$")]
    description: Annotated[str, Field(max_length=100)]


class Ruleset(BaseModel):
    """A file of rulesets/, in the API's shape."""

    model_config = ConfigDict(extra="allow")

    name: str
    target: Literal["branch", "tag"]
    rules: list[dict[str, Any]]


class RepositorySettings(BaseModel):
    """The file repository.json: what the API takes for the repository and for Actions, and the optional variables."""

    model_config = ConfigDict(extra="forbid")

    repository: dict[str, Any]
    actions: dict[str, Any]
    variables: dict[str, str]


@dataclass(frozen=True)
class Setting:
    """A thing that a file asks for: ``path`` is where GitHub keeps it, ``create`` where it takes a new one."""

    kind: str
    name: str
    file: Path
    path: str
    wanted: Mapping[str, Any]
    method: str
    create: str = ""

    def __str__(self) -> str:
        return f"{self.name} settings" if self.kind == "settings" else f"{self.kind} {self.name}"


def read_settings(folder: Path = FILES) -> list[Setting]:
    """Read what the files ask for, in the order in which it is set.

    Parameters
    ----------
    folder : Path
        Where repository.json, labels.json, environments.json and rulesets/ lie.

    Returns
    -------
    list of Setting

    Raises
    ------
    MisuseError
        If a file is missing, is no JSON, or holds something else than such a file may.
    """
    file = folder / REPOSITORY
    asked = read_file(file, RepositorySettings)
    actions = "/actions/permissions/workflow"
    return [
        Setting("settings", "repository", file, "", asked.repository, "PATCH"),
        Setting("settings", "Actions", file, actions, asked.actions, "PUT"),
        *_read_labels(folder / "labels.json"),
        *_read_rulesets(folder / "rulesets"),
        *_read_environments(folder / "environments.json"),
    ]


def read_optional(folder: Path = FILES) -> dict[str, str]:
    """Read the variables that only some workflows need, and what each is for.

    Raises
    ------
    MisuseError
        As `read_settings` does.
    """
    return read_file(folder / REPOSITORY, RepositorySettings).variables


def _read_labels(file: Path) -> Iterator[Setting]:
    for label in read_file(file, list[Label]):
        body = label.model_dump(exclude={"name"})
        yield Setting("label", label.name, file, f"/labels/{quote(label.name, safe='')}", body, "PATCH", "/labels")


def _read_rulesets(folder: Path) -> Iterator[Setting]:
    files = sorted(folder.glob("*.json"))
    if not files:
        raise MisuseError(f"{folder} holds no ruleset; start at the repository's top, or bring its files back")
    for file in files:
        body = read_file(file, Ruleset).model_dump()
        yield Setting("ruleset", body["name"], file, "/rulesets", body, "PUT", "/rulesets")


def _read_environments(file: Path) -> Iterator[Setting]:
    for name, body in read_file(file, dict[str, dict[str, Any]]).items():
        yield Setting("environment", name, file, f"/environments/{quote(name, safe='')}", body, "PUT")


def read_file(path: Path, kind: Any) -> Any:
    """Read a JSON file and check that it is of a kind.

    Raises
    ------
    MisuseError
        As `read_settings` does.
    """
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise MisuseError(f"{path} is missing; start at the repository's top, or bring the file back") from error
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise MisuseError(f"{path}: {f'{where}: ' if where else ''}{fault['msg']}; correct it") from error


def list_differences(wanted: Any, found: Any, name: str = "") -> Iterator[str]:
    """List where what is there falls short of what is asked for.

    Parameters
    ----------
    wanted, found
        JSON values; in lists of rules or checks the order means nothing, and what stands beside them does not count.
    name : str
        The key that both stand under.

    Yields
    ------
    str
        The key, or the rule's or check's name, and what it is.
    """
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key, value in wanted.items():
            yield from list_differences(value, found.get(key), key)
    elif _is_named(wanted) and isinstance(found, list):
        there = {_name(one): one for one in found}
        for one in wanted:
            if _name(one) in there:
                yield from list_differences(one, there[_name(one)])
            else:
                yield f"{_name(one)} is missing"
    elif wanted != found:
        yield f"{name} is {'not set' if found is None else _show(found)}"


def merge_setting(wanted: Any, found: Any) -> Any:
    """Put what is asked for into what is there, and keep the rest of it."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return {**found, **{key: merge_setting(value, found.get(key)) for key, value in wanted.items()}}
    if _is_named(wanted) and isinstance(found, list):
        there = {_name(one): one for one in found}
        return list({**there, **{_name(one): merge_setting(one, there.get(_name(one))) for one in wanted}}.values())
    return wanted


def _is_named(value: Any) -> bool:
    """Tell whether a value is a list of rules or checks, whose order means nothing."""
    return isinstance(value, list) and any(isinstance(one, Mapping) for one in value)


def _name(item: Mapping[str, Any]) -> str:
    """Name a rule or a check."""
    return str(item.get("type") or item.get("context"))


def _show(value: Any) -> str:
    """Show a value as JSON writes it, without quotes."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
