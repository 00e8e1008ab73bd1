"""What can go wrong, how a person is told, and the exit code: 0 done, 1 refused, 2 misuse."""

import logging
import sys
from collections.abc import Callable, Sequence

from lifecycle.paths import find_model


class RefusedError(Exception):
    """The input was understood and is not acceptable."""

    exit_code = 1


class ContractError(RefusedError):
    """Data break the data contract."""


class ParityError(RefusedError):
    """The converted model does not predict what the fitted one does."""


class SourceError(RefusedError):
    """A source of data cannot give what was asked of it."""


class AbsentError(SourceError):
    """A source has nothing under the name that was asked for."""


class MisuseError(Exception):
    """The command or its configuration makes no sense."""

    exit_code = 2


def join_lines(fault: object) -> str:
    """Say a fault in one line, without a full stop."""
    return " ".join(str(fault).split()).rstrip(".")


def run(main: Callable[[Sequence[str] | None], int | None]) -> None:
    """Run a module's ``main`` as a command: one line for an expected error, and its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        code = main(None)
    except (RefusedError, MisuseError) as error:
        print(f"{type(error).__name__}: {error}{_name_target(str(error))}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    sys.exit(code or 0)


def _name_target(said: str) -> str:
    """Say which model a command of make must be told to work on; nothing where it needs no telling."""
    model = find_model()
    return f" (make with MODEL={model})" if model and "make " in said else ""
