"""Find one request's predictions in a log, which is read and not kept."""

import json
import logging
from collections.abc import Sequence
from datetime import date
from typing import Any

import duckdb

from lifecycle.errors import RefusedError
from lifecycle.monitoring.files import list_files
from lifecycle.monitoring.insertion import DAMAGE, name_lines

log = logging.getLogger(__name__)


def find_predictions(address: str, request_id: str) -> list[dict[str, Any]]:
    """Find the lines of a request's predictions.

    Parameters
    ----------
    address : str
        As `lifecycle.monitoring.files.list_files` takes it.
    request_id : str

    Returns
    -------
    list of dict
        As `lifecycle.serving.journal.write_predictions` wrote them, a shadow's too; none that is cut off.

    Raises
    ------
    RefusedError
        If the log cannot be read.
    """
    files = list_files(address, date.min, date.max)
    with duckdb.connect() as database:
        if files.system is not None:
            database.register_filesystem(files.system)

        def search(paths: Sequence[str], encoding: str) -> list[str]:
            lines = name_lines(paths, encoding)
            found = database.execute(f"select line from {lines} where contains(line, ?)", [json.dumps(request_id)])
            return [line for (line,) in found.fetchall()]

        try:
            texts = search(files.paths, "utf-8") if files.paths else []
        except DAMAGE:
            texts = [line for path in files.paths for line in _search_one(path, search)]
        except duckdb.Error as error:
            raise RefusedError(f"{address} cannot be read: {str(error).strip().splitlines()[-1]}") from error
    rows = [row for text in texts if (row := _read_line(text)) and row.get("request_id") == request_id]
    return [row for row in rows if row.get("kind") == "prediction"]


def _search_one(path: str, search: Any) -> list[str]:
    """Search one file; none of its lines where it is damaged."""
    try:
        # Slower, and content with any byte.
        found: list[str] = search([path], "latin-1")
        return found
    except DAMAGE as error:
        log.info("explain skipped=%s fault=%s", path, str(error).splitlines()[0])
        return []


def _read_line(text: str) -> dict[str, Any] | None:
    """Read a line of JSON; None if it is cut off."""
    try:
        row = json.loads(text)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
