"""What a report consists of: plain data, written to out/report.json, and all that its page is written from.

``value`` and plain names are of the working folder, ``base`` and ``base_...`` of the base revision. None stands for
what one of them does not have. Numbers are finite, and hashes are DVC's md5.
"""

from typing import TypedDict


class MetricFacts(TypedDict):
    """A metric with its bootstrap interval; ``difference`` is value minus base, on the same rows."""

    name: str
    lower_is_better: bool
    value: float | None
    low: float | None
    high: float | None
    baseline: float | None
    base: float | None
    difference: float | None


class SliceFacts(TypedDict):
    """The first metric on one group of a slice; ``worse_by`` is a share of the base's figure on the same rows.

    Groups with few rows are not ``judged``; a negative ``worse_by`` is better.
    """

    slice: str
    group: str
    rows: int
    judged: bool
    value: float | None
    base: float | None
    worse_by: float | None


class MonthFacts(TypedDict):
    """A month's rows as they came, and those that met the data contract; ``part`` is train or test."""

    month: str
    part: str
    synthetic: bool
    rows: int | None
    clean: int | None
    base_rows: int | None
    base_clean: int | None


class ReasonFacts(TypedDict):
    """How many rows of all months were left out for a reason."""

    reason: str
    rows: int
    base_rows: int | None


class ChangeFacts(TypedDict):
    """A parameter (``section.key``) or a library's version that is not what it was."""

    name: str
    base: str | None
    value: str | None


class StageFacts(TypedDict):
    """Why a stage's entry in dvc.lock is another one: each cause has a row, and ``what`` names what changed."""

    stage: str
    cause: str
    what: list[str]


class FoldFacts(TypedDict):
    """The first metric on one fold of the cross-validation."""

    fold: int
    train_rows: int
    test_rows: int
    value: float | None
    base: float | None


class ImportanceFacts(TypedDict):
    """How much worse the first metric gets when a feature is shuffled, ± ``spread``."""

    feature: str
    value: float | None
    spread: float | None
    base: float | None


class DriftFacts(TypedDict):
    """How far the training rows' values of a feature or of the target lie from the base's.

    ``distance`` is Wasserstein's, in standard deviations of the base; ``psi`` the population stability index.
    """

    name: str
    distance: float | None
    psi: float | None
    missing: float
    base_missing: float | None


class LockFacts(TypedDict):
    """Whether dvc.lock says what this commit makes: ``state`` is fresh, stale, different or unavailable.

    ``ran`` are the stages that ran to find out.
    """

    state: str
    reasons: list[str]
    ran: list[str]


class Report(TypedDict):
    """All facts. The first ones are the gate's verdict, with its figures of the first metric on the same rows."""

    outcome: str
    champion: str
    reasons: list[str]
    notes: list[str]
    figures: dict[str, float]
    commit: str | None
    base_commit: str | None
    # Tracked files of the working folder differ from its commit.
    uncommitted: bool
    # Whether the base's figures were measured on the same rows; None where the base has none.
    same_test_rows: bool | None
    # The intervals' coverage, and the worsenings that the gate tolerates, as shares.
    confidence: float
    tolerance: float
    slice_tolerance: float
    metrics: list[MetricFacts]
    # The largest worsenings first.
    slices: list[SliceFacts]
    months: list[MonthFacts]
    left_out: list[ReasonFacts]
    parameters: list[ChangeFacts]
    libraries: list[ChangeFacts]
    stages: list[StageFacts]
    cross_validation: list[FoldFacts]
    importance: list[ImportanceFacts]
    # The largest first; empty where the base tells nothing of its rows.
    drift: list[DriftFacts]
    # None where dvc.lock was not held against a run.
    lock: LockFacts | None
    model_bytes: int | None
    base_model_bytes: int | None
    model_hash: str | None
    base_model_hash: str | None
    data_hash: str | None
    base_data_hash: str | None
    lock_hash: str | None
    base_lock_hash: str | None
