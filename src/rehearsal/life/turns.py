"""What the monitor said in each phase of the loop, as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lifecycle.metric_names import is_lower_better
from lifecycle.views.numbers import format_number
from lifecycle.views.terminal import align_columns

HEADER = ("phase", "version", "asked", "labelled", "live", "interval", "tested", "verdict")


# A row of the table, and each of its columns is one.
@dataclass(frozen=True)
class Turn:  # pylint: disable=too-many-instance-attributes
    """A version's live error in a phase: the metric that decides, with its interval; None where there is none."""

    phase: str
    version: str
    requests: int
    labelled: int
    live: float | None
    low: float | None
    high: float | None
    tested: float | None
    verdict: str

    def list_cells(self) -> tuple[str, ...]:
        """Write it as a row of the table."""
        live, low, high, tested = (
            "-" if figure is None else format_number(figure)
            for figure in (self.live, self.low, self.high, self.tested)
        )
        counts = (str(self.requests), str(self.labelled))
        return (self.phase, self.version, *counts, live, f"{low} to {high}", tested, self.verdict)


def read_turn(report: Mapping[str, Any], phase: str, requests: int, version: str, verdict: str = "") -> Turn:
    """Read a version's figures from a monitor's report.

    Parameters
    ----------
    report : mapping
        As `lifecycle.monitor.monitor` makes it.
    phase : str
    requests : int
        How many were sent in it.
    version : str
    verdict : str
        By default the report's.
    """
    found = next((row for row in report["versions"] if row["version"] == version), {"labelled": 0, "metrics": {}})
    figures = found["metrics"].get(report["metric"], {})
    values = (figures.get(name) for name in ("value", "low", "high", "tested"))
    return Turn(phase, version, requests, found["labelled"], *values, verdict or report["verdict"])


def is_surely_better(turn: Turn, former: Turn, metric: str) -> bool:
    """Tell whether a turn's whole interval lies on the better side of a former one's."""
    if None in (turn.low, turn.high, former.low, former.high):
        return False
    better, worse = (turn.high, former.low) if is_lower_better(metric) else (former.high, turn.low)
    return better < worse  # type: ignore[operator]


def format_turns(turns: Sequence[Turn]) -> str:
    """Lay the phases out, each a row."""
    return "\n".join(align_columns([HEADER, *(turn.list_cells() for turn in turns)]))
