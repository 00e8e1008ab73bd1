"""What the status page tells: the registry's history, the monitor's reports and the proposals to retrain.

What comes from a file or from GitHub is checked here; its texts stay as they were written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lifecycle.registry import Champion, Version

MOST_DAYS, MOST_ROWS = 400, 1000
YEARS = (2000, 2200)


def convert_to_utc(time: datetime) -> datetime:
    """Give a time in UTC; one without an offset is in UTC already.

    Raises
    ------
    ValueError
        If it lies outside of the years that a clock may show.
    """
    if not YEARS[0] <= time.year <= YEARS[1]:
        raise ValueError(f"expected a year from {YEARS[0]} to {YEARS[1]}")
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


Name = Annotated[str, Field(max_length=1000)]
Time = Annotated[datetime, AfterValidator(convert_to_utc)]


class Fact(BaseModel):
    """A record; what it holds beside these fields is nothing that the page shows."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Tested(Fact):
    """A metric on the test rows, as out/metrics.json has it."""

    value: float
    low: float | None = None
    high: float | None = None
    baseline: float | None = None


class Live(Fact):
    """A metric on labels that came later, beside that of the test."""

    value: float | None
    low: float | None
    high: float | None
    tested: float | None


class Day(Fact):
    """What the first metric was on one day."""

    day: date = Field(ge=date(YEARS[0], 1, 1), le=date(YEARS[1], 1, 1))
    value: float | None


class Watched(Fact):
    """A version that answered under a variant; the judged one is what the verdict is about."""

    version: Name
    judged: bool
    metrics: dict[str, Live]
    days: list[Day] = Field(max_length=MOST_DAYS)


class Drift(Fact):
    """How far an input lies from training, in standard deviations and as a stability index (PSI)."""

    name: Name
    distance: float | None
    distance_noise: float | None
    psi: float | None
    drifted: bool


class MonitorReport(Fact):
    """What the monitor found, as out/monitor.json has it."""

    verdict: Name
    reasons: list[str] = Field(max_length=MOST_ROWS)
    until: Time
    metric: Name
    versions: list[Watched] = Field(max_length=MOST_ROWS)
    drift: list[Drift] = Field(max_length=MOST_ROWS)

    def find_judged(self) -> Watched | None:
        """Find the version that the verdict is about."""
        return next((version for version in self.versions if version.judged), None)


class Retraining(Fact):
    """A pull request that proposes a retrained model, in GitHub's words."""

    number: int
    title: str
    state: str
    created_at: Time
    merged_at: Time | None


@dataclass(frozen=True)
class Promotion:
    """A version became champion; it was a rollback where the champion before was a newer one."""

    version: str
    commit: str
    author: str
    date: datetime
    is_rollback: bool


@dataclass(frozen=True)
class Status:  # pylint: disable=too-many-instance-attributes  # the parts of one page
    """All that the page tells; ``gaps`` says by part (registry, monitor, retraining) what could not be read."""

    name: str
    written: datetime
    champion: Champion | None = None
    # In the order in which they happened.
    promotions: tuple[Promotion, ...] = ()
    # The newest first.
    versions: tuple[Version, ...] = ()
    retrainings: tuple[Retraining, ...] = ()
    # The oldest first.
    reports: tuple[MonitorReport, ...] = ()
    # By commit, then by metric, of which the first one decides.
    figures: Mapping[str, Mapping[str, Tested]] = field(default_factory=dict)
    gaps: Mapping[str, Sequence[str]] = field(default_factory=dict)
