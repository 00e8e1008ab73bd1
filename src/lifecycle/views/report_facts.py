"""What a report consists of: plain data, written to out/report.json, and all that its page is written from.

``value`` and plain names are of the working folder, ``base`` and ``base_...`` of the base revision. None stands for
what one of them does not have. Numbers are finite, and hashes are DVC's md5.

The types hold what a report from elsewhere may say, so that pydantic can check one.
"""

import unicodedata
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, with_config

# Pydantic cannot read typing's own before Python 3.12.
from typing_extensions import TypedDict

LONGEST_NAME, LONGEST_TEXT, MOST_ITEMS = 200, 5_000, 5_000
# More than any figure or count has, and little enough to be laid out in a table.
LARGEST, LARGEST_COUNT = 1e30, 10**15
# Control characters, halves of characters, and what ends a line.
UNNAMABLE = {"Cc", "Cs", "Zl", "Zp"}
Item = TypeVar("Item")
exact = with_config(ConfigDict(extra="forbid", strict=True))


def _check_name(name: str) -> str:
    """Let a name pass that is one line of characters."""
    if any(unicodedata.category(char) in UNNAMABLE for char in name):
        raise ValueError("a name without control characters")
    return name


Name = Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(_check_name)]
# As params.yaml lets the registry have it; nothing that could leave a command.
Model = Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,98}[a-z0-9]$")]
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Month = Annotated[str, Field(pattern="^[0-9]{4}-(0[1-9]|1[0-2])$")]
Commit = Annotated[str, Field(pattern="^[0-9a-f]{40}([0-9a-f]{24})?$")]
# That of a folder has an ending.
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{32}(\.dir)?$")]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Share = Annotated[Number, Field(ge=0)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Items = Annotated[list[Item], Field(max_length=MOST_ITEMS)]


@exact
class MetricFacts(TypedDict):
    """A metric with its bootstrap interval; ``difference`` is value minus base, on the same rows."""

    name: Name
    lower_is_better: bool
    value: Number | None
    low: Number | None
    high: Number | None
    baseline: Number | None
    base: Number | None
    difference: Number | None


@exact
class SliceFacts(TypedDict):
    """The first metric on one group of a slice; ``worse_by`` is a share of the base's figure on the same rows.

    Groups with few rows are not ``judged``; a negative ``worse_by`` is better.
    """

    slice: Name
    group: Name
    rows: Count
    judged: bool
    value: Number | None
    base: Number | None
    worse_by: Number | None


@exact
class MonthFacts(TypedDict):
    """A month's rows as they came, and those that met the data contract; ``part`` is train or test."""

    month: Month
    part: Literal["train", "test"]
    synthetic: bool
    rows: Count | None
    clean: Count | None
    base_rows: Count | None
    base_clean: Count | None


@exact
class ReasonFacts(TypedDict):
    """How many rows of all months were left out for a reason."""

    reason: Text
    rows: Count
    base_rows: Count | None


@exact
class ChangeFacts(TypedDict):
    """A parameter (``section.key``) or a library's version that is not what it was."""

    name: Name
    base: Text | None
    value: Text | None


@exact
class StageFacts(TypedDict):
    """Why a stage's entry in dvc.lock is another one: each cause has a row, and ``what`` names what changed."""

    stage: Name
    cause: Name
    what: Items[Text]


@exact
class FoldFacts(TypedDict):
    """The first metric on one fold of the cross-validation."""

    fold: Count
    train_rows: Count
    test_rows: Count
    value: Number | None
    base: Number | None


@exact
class ImportanceFacts(TypedDict):
    """How much worse the first metric gets when a feature is shuffled, ± ``spread``."""

    feature: Name
    value: Number | None
    spread: Number | None
    base: Number | None


@exact
class DriftFacts(TypedDict):
    """How far the training rows' values of a feature or of the target lie from the base's.

    ``distance`` is Wasserstein's, in standard deviations of the base; ``psi`` the population stability index.
    """

    name: Name
    distance: Number | None
    psi: Number | None
    missing: Share
    base_missing: Share | None


@exact
class LockFacts(TypedDict):
    """Whether dvc.lock says what this commit makes: ``state`` is fresh, stale, different or unavailable.

    ``ran`` are the stages that ran to find out.
    """

    state: Literal["fresh", "stale", "different", "unavailable"]
    reasons: Items[Text]
    ran: Items[Name]


@exact
class Report(TypedDict):
    """All facts. The first ones are the gate's verdict, with its figures of the first metric on the same rows."""

    outcome: Literal["pass", "refuse", "unchanged"]
    # None where the repository has no other model.
    model: Model | None
    champion: Name
    reasons: Items[Text]
    notes: Items[Text]
    figures: Annotated[dict[Name, Number], Field(max_length=MOST_ITEMS)]
    commit: Commit | None
    base_commit: Commit | None
    # Tracked files of the working folder differ from its commit.
    uncommitted: bool
    # Whether the base's figures were measured on the same rows; None where the base has none.
    same_test_rows: bool | None
    # The intervals' coverage, and the worsenings that the gate tolerates, as shares.
    confidence: Share
    tolerance: Share
    slice_tolerance: Share
    # The first one decides.
    metrics: Annotated[Items[MetricFacts], Field(min_length=1)]
    # The largest worsenings first.
    slices: Items[SliceFacts]
    months: Items[MonthFacts]
    left_out: Items[ReasonFacts]
    parameters: Items[ChangeFacts]
    libraries: Items[ChangeFacts]
    stages: Items[StageFacts]
    cross_validation: Items[FoldFacts]
    importance: Items[ImportanceFacts]
    # The largest first; empty where the base tells nothing of its rows.
    drift: Items[DriftFacts]
    # None where dvc.lock was not held against a run.
    lock: LockFacts | None
    model_bytes: Count | None
    base_model_bytes: Count | None
    model_hash: Hash | None
    base_model_hash: Hash | None
    data_hash: Hash | None
    base_data_hash: Hash | None
    lock_hash: Hash | None
    base_lock_hash: Hash | None
