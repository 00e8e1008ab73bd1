"""Read what a run left as an artifact, such as its report: a stranger's data until it has passed all checks here."""

import io
import json
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, NoReturn, cast

from pydantic import TypeAdapter, ValidationError

from lifecycle.errors import RefusedError
from lifecycle.github.client import show_text
from lifecycle.views.report_facts import Report

FILE = "report.json"
# Of the archive, and of what it unpacks to; an honest report has some ten thousand.
MOST_BYTES = 1_000_000
ENCRYPTED = 0x1
REPORT = TypeAdapter(Report)
# What zipfile raises on damaged and on malicious archives.
FAULTS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, OverflowError)


def read_report(archive: bytes) -> Report:
    """Read and check the report in an artifact's archive; nothing of it is written to disk.

    Parameters
    ----------
    archive : bytes
        A zip that holds report.json alone.

    Returns
    -------
    Report
        With exactly the keys and types of a report, and every text as its author wrote it: only
        `lifecycle.views.markdown` may put one on a page.

    Raises
    ------
    RefusedError
        If the archive holds anything else, naming the first field that is wrong.
    """
    return cast(Report, _parse_facts(_unpack(archive, FILE), FILE, REPORT))


def read_json(archive: bytes, name: str) -> Any:
    """Read the one JSON file of an artifact's archive, as `read_report` does, without looking at what it says.

    Raises
    ------
    RefusedError
        If the archive holds anything else than this file, or the file no sound JSON.
    """
    return _parse(_unpack(archive, name), name)


def read_facts(path: Path, schema: "TypeAdapter[Any]", most_bytes: int = MOST_BYTES) -> Any:
    """Read a JSON file that another job left, if it holds what a schema says and nothing else.

    Raises
    ------
    RefusedError
        If it is missing or no regular file, or else naming the first field that is wrong.
    """
    if path.is_symlink() or not path.is_file():
        raise RefusedError(f"{path.name} is missing, or no regular file.")
    with path.open("rb") as file:
        return _parse_facts(file.read(most_bytes + 1), path.name, schema, most_bytes)


def _unpack(archive: bytes, name: str) -> bytes:
    """Read the one file of an archive, and no more of it than allowed."""
    if len(archive) > MOST_BYTES:
        _refuse(f"it has {len(archive):,d} bytes, expected at most {MOST_BYTES:,d}")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            entry = _find_entry(files.infolist(), name)
            with files.open(entry) as file:
                content = file.read(MOST_BYTES + 1)
    except FAULTS as error:
        raise RefusedError(f"the artifact is no sound archive: {show_text(error)}.") from error
    if len(content) > MOST_BYTES:
        _refuse(f"{name} unpacks to more than {MOST_BYTES:,d} bytes")
    return content


def _find_entry(entries: list[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    """Find the only entry, if it is a plain file of the right name."""
    if len(entries) != 1:
        _refuse(f"it holds {len(entries)} entries, expected {name} alone")
    entry = entries[0]
    # The name as it was stored: zipfile cuts the other one at a null character.
    if entry.orig_filename != name:
        _refuse(f"it holds {show_text(entry.orig_filename)}, expected {name}")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        _refuse(f"its {name} is a link or a device, expected a file")
    if entry.flag_bits & ENCRYPTED:
        _refuse(f"its {name} is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        _refuse(f"its {name} is compressed by method {entry.compress_type}, expected deflate")
    if entry.file_size > MOST_BYTES:
        _refuse(f"its {name} has {entry.file_size:,d} bytes, expected at most {MOST_BYTES:,d}")
    return entry


def _parse_facts(content: bytes, name: str, schema: "TypeAdapter[Any]", most_bytes: int = MOST_BYTES) -> Any:
    """Parse a JSON file's content, and check it against a schema."""
    if len(content) > most_bytes:
        raise RefusedError(f"{name} is refused: it has more than {most_bytes:,d} bytes.")
    facts = _parse(content, name)
    try:
        return schema.validate_python(facts)
    except ValidationError as error:
        raise RefusedError(f"{name} is refused: {_describe(error)}") from error


def _parse(content: bytes, name: str) -> Any:
    """Parse JSON as its standard has it, and each key once."""
    try:
        text = content.decode("utf-8")
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_collect)
    except RecursionError as error:
        raise RefusedError(f"{name} is refused: it is nested too deeply.") from error
    # That of a wrong character, of JSON's grammar, of a number with thousands of digits, or one of ours.
    except ValueError as error:
        raise RefusedError(f"{name} is refused: it is no JSON: {show_text(error)}.") from error


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python would read."""
    raise ValueError(f"it holds {name}, expected finite numbers")


def _collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Collect an object's keys, of which Python would keep the last of two."""
    collected: dict[str, Any] = {}
    for key, value in pairs:
        if key in collected:
            raise ValueError(f"it holds the key {key!r} twice")
        collected[key] = value
    return collected


def _describe(error: ValidationError) -> str:
    """Say in one line what pydantic found first, an unknown key before one that is missing."""
    first = min(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
    field = show_text(".".join(str(part) for part in first["loc"])) if first["loc"] else "its top level"
    if first["type"] == "extra_forbidden":
        return f"{field} is unknown."
    if first["type"] == "missing":
        return f"{field} is missing."
    value = first["input"]
    shown = type(value).__name__ if isinstance(value, dict | list) else show_text(value)
    expected = first["msg"].removeprefix("Value error, ")
    return f"{field} is {shown}; expected: {expected[:1].lower()}{expected[1:]}."


def _refuse(reason: str) -> NoReturn:
    """Refuse the artifact."""
    raise RefusedError(f"the artifact is refused: {reason}.")
