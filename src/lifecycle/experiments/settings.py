"""What an experiment sets in params.yaml: read, checked, and named; pure."""

import hashlib
import itertools
import json
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lifecycle.errors import MisuseError

Settings = dict[str, Any]
# What Git takes in the name of a branch, as far as it reads well; the longest fits a table of 80 columns.
NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?", re.ASCII)
LONGEST_NAME = 36
EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
HASH_LENGTH = 6


@dataclass(frozen=True)
class Plan:
    """An experiment to run."""

    name: str
    settings: Settings

    @property
    def said(self) -> str:
        """Say what it sets, as it can be given again."""
        return " ".join(f"{key}={write_value(value)}" for key, value in self.settings.items())

    @property
    def message(self) -> str:
        """Say what it tries; the subject of its commit."""
        return f"Try {self.said or 'uncommitted changes'}"


def parse_settings(text: str) -> list[Settings]:
    """Read settings, as ``train.rate=0.1,0.2 train.depth=3``: one experiment for each combination of the values.

    Parameters
    ----------
    text : str
        Dotted keys of params.yaml, and values in YAML with commas between them.

    Returns
    -------
    list of dict
        For each experiment, key -> value; of an empty text one that sets nothing.

    Raises
    ------
    MisuseError
        If a part is no setting, or sets a key for the second time.
    """
    choices = read_choices(text)
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def read_choices(text: str) -> dict[str, list[Any]]:
    """Read the values to try of each key, as `parse_settings` does, without combining them.

    Raises
    ------
    MisuseError
        As `parse_settings` does.
    """
    choices: dict[str, list[Any]] = {}
    try:
        parts = shlex.split(text)
    except ValueError as error:
        raise MisuseError(f"the settings {text!r} cannot be read: {error}.") from error
    for part in parts:
        key, given, value = part.partition("=")
        if not key or not given:
            raise MisuseError(f"{part!r} is no setting; expected key=value, as in train.seed=1.")
        if key in choices:
            raise MisuseError(f"{key} is set twice; separate the values to try with commas: {key}=1,2")
        choices[key] = _parse_values(key, value)
    return choices


def _parse_values(key: str, text: str) -> list[Any]:
    """Read the values to try of one key."""
    try:
        values = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError:
        values = None
    if not values or any(isinstance(value, dict) for value in values):
        raise MisuseError(f"{key}={text} has no value to try; expected numbers, words or lists, with commas between.")
    return [_read_number(value) for value in values]


def _read_number(value: Any) -> Any:
    """Read 1e-3 as the number that everybody means; YAML 1.1 asks for a point in it."""
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


def edit_params(content: bytes, settings: Mapping[str, Any]) -> bytes:
    """Set keys in the text of params.yaml, and leave everything else as it is written, comments included.

    Raises
    ------
    MisuseError
        If there is no such key.
    """
    text = content.decode()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    edits = [(*_find_place(root, key), write_value(value)) for key, value in settings.items()]
    # From the end, so that the places before it stay where they are.
    for start, end, value in sorted(edits, reverse=True):
        text = text[:start] + value + text[end:]
    return text.encode()


def _find_place(root: yaml.Node | None, key: str) -> tuple[int, int]:
    """Find where the value of a dotted key begins and ends."""
    node = root
    for part in key.split("."):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        known = {name.value: value for name, value in pairs}
        if part not in known:
            near = f"; it has {', '.join(known)}" if known else ""
            raise MisuseError(f"{key} is unknown: params.yaml has no {part!r} there{near}.")
        node = known[part]
    if node is None or isinstance(node, yaml.MappingNode):
        raise MisuseError(f"{key} is a section; set its keys one by one.")
    last = node
    # PyYAML ends a block only where the next one begins.
    while isinstance(last, yaml.CollectionNode) and not last.flow_style and last.value:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    return node.start_mark.index, last.end_mark.index


def write_value(value: object) -> str:
    """Write a value so that YAML and DVC's --set-param read the same."""
    if isinstance(value, list):
        return f"[{', '.join(map(write_value, value))}]"
    text = json.dumps(value, ensure_ascii=False, default=str)
    # 1e-06 is text in YAML 1.1, and 1.0e-06 a number.
    return text.replace("e", ".0e") if isinstance(value, float) and "." not in text else text


def check_name(name: str) -> str:
    """Check a name that was given.

    Raises
    ------
    MisuseError
        If Git could not take it, or no table could hold it.
    """
    if not NAME.fullmatch(name) or ".." in name or name.endswith(".lock") or len(name) > LONGEST_NAME:
        raise MisuseError(f"{name!r} is no name; expected at most {LONGEST_NAME} letters, digits, dots and dashes.")
    return name


def choose_name(settings: Mapping[str, Any], taken: Collection[str], given: str | None = None) -> str:
    """Name an experiment by what it sets, or by a name that was given and a number; never as another one."""
    said = "-".join(f"{key.rpartition('.')[2]}-{value}" for key, value in settings.items())
    name = given or re.sub(r"(?:[^\w.-]|\.{2,})+", "-", said, flags=re.ASCII).strip("-._") or "uncommitted"
    if len(name) > LONGEST_NAME:
        digest = hashlib.sha256(json.dumps(settings, default=str).encode()).hexdigest()[:HASH_LENGTH]
        name = f"{_cut(name, HASH_LENGTH + 1)}-{digest}"
    numbers = range(2, len(taken) + 3)
    numbered = (name, *(f"{_cut(name, len(str(number)) + 1)}-{number}" for number in numbers))
    return next(candidate for candidate in numbered if candidate not in taken)


def _cut(name: str, room: int) -> str:
    """Cut a name so that there is room behind it."""
    return name[: LONGEST_NAME - room].rstrip("-._")
