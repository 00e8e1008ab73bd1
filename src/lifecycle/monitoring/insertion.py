"""Insert files of JSON lines into a table: here all at once, on a cluster each file by one of its workers."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa

from lifecycle.cluster import is_distributed, map_tasks
from lifecycle.errors import RefusedError
from lifecycle.monitoring.files import Files
from lifecycle.serving.journal import PROBE

# What a file that is cut off, or holds what is no text, makes of a statement.
DAMAGE = (duckdb.IOException, duckdb.InvalidInputException)
# A line as one text; no line of JSON holds a control character.
LINES = """read_csv([{files}], columns = {{'line': 'VARCHAR'}}, auto_detect = false, header = false, delim = '\x01',
    quote = '', escape = '', comment = '', strict_mode = false, hive_partitioning = false, encoding = '{encoding}')"""


def name_lines(paths: Sequence[str], encoding: str) -> str:
    """Write the lines of some files as a table of a statement, each one as one text."""
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    return LINES.format(files=listed, encoding=encoding)


@dataclass(frozen=True)
class Insertion:
    """How files become rows of a table: the statements that set a database up, and the one that inserts."""

    setup: str
    table: str
    statement: str
    structure: Mapping[str, Any]
    values: dict[str, Any]
    system: Any

    def execute(self, log: duckdb.DuckDBPyConnection, paths: Sequence[str], encoding: str) -> None:
        """Insert the rows of some files."""
        if self.system is not None and not log.filesystem_is_registered("s3"):
            log.register_filesystem(self.system)
        shape = json.dumps(self.structure).replace("'", "''")
        lines = name_lines(paths, encoding)
        log.execute(self.statement.format(structure=shape, lines=lines, probe=PROBE), self.values)


def read_files(insertion: Insertion, paths: Sequence[str]) -> Iterator[pa.Table]:
    """Read files into a database of their own each, and give its rows: a task on a cluster."""
    for path in paths:
        with tempfile.TemporaryDirectory() as folder, duckdb.connect(f"{folder}/log.db") as part:
            part.execute(insertion.setup)
            insertion.execute(part, [path], "utf-8")
            yield part.sql(f"from {insertion.table}").to_arrow_table()


def _insert_parts(log: duckdb.DuckDBPyConnection, insertion: Insertion, paths: Sequence[str]) -> None:
    """Insert what a cluster's workers read, all of it or nothing."""
    log.begin()
    try:
        for part in map_tasks(partial(read_files, insertion), paths):
            log.register("part", part)
            log.execute(f"insert into {insertion.table} from part")
            log.unregister("part")
        log.commit()
    except BaseException:
        log.rollback()
        raise


def insert_files(log: duckdb.DuckDBPyConnection, insertion: Insertion, files: Files) -> None:
    """Insert all files at once, or, where one of them is damaged, one by one without the damaged ones."""

    def read(paths: Sequence[str], encoding: str = "utf-8") -> None:
        try:
            if is_distributed() and len(paths) > 1:
                _insert_parts(log, insertion, paths)
            else:
                insertion.execute(log, paths, encoding)
        except (duckdb.OperationalError, duckdb.ProgrammingError):
            raise
        # What the store itself says comes through as no kind of its own.
        except duckdb.Error as error:
            raise RefusedError(f"{files.address} cannot be read: {str(error).strip().splitlines()[-1]}") from error

    try:
        if files.paths:
            read(files.paths)
    except DAMAGE:
        damaged = list(_find_damaged(files.paths, read))
        if len(damaged) == len(files.paths):
            path, said = damaged[0]
            raise RefusedError(
                f"none of the {len(damaged):,} files in {files.address} can be read; {path}: {said}"
            ) from None
        log.execute("insert into unreadable select unnest(?::VARCHAR[])", [[path for path, _ in damaged]])


def _find_damaged(paths: Sequence[str], read: Callable[[Sequence[str], str], None]) -> Iterator[tuple[str, str]]:
    """Read files one by one, each whole or not at all; give those that cannot be read, and why."""
    for path in paths:
        try:
            # Slower, and content with any byte.
            read([path], "latin-1")
        except DAMAGE as error:
            yield path, str(error).splitlines()[0]
