"""Survey the months in one pass: what the contract's columns hold, and where the model errs; never a month whole."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np

from lifecycle.data.contract import Contract, Rule, find_missing, list_rules, read_contract
from lifecycle.data.months import is_sample, map_batches, month_bounds, open_month
from lifecycle.exploration.sketch import Sketch, merge_sketches, sketch_numbers, sketch_texts
from lifecycle.predictor import Predictor
from lifecycle.seam import Columns, Domain

US_PER_DAY, US_PER_HOUR = 86_400_000_000, 3.6e9
# Sums of predicted rows, beside their number and their value: of the loss, its square, the error and the target.
LOSS, SQUARE, ERROR, TARGET = range(2, 6)


@dataclass(frozen=True)
class Model:
    """A model to look at the data with; ``trained_on`` are the months that it learnt from."""

    predictor: Predictor
    name: str
    trained_on: tuple[str, ...]


@dataclass(frozen=True)
class Survey:  # pylint: disable=too-many-instance-attributes  # what is added up of any batch
    """What rows hold; ``+`` adds the rows of another one.

    Attributes
    ----------
    rows, clean : int
    left_out : dict of str to int
        Rows by the first rule that each broke.
    broken : dict of str to int
        Rows by any rule that they broke: a row may count under several.
    missing : dict of str to int
        Rows without a value, by column, clean or not.
    columns : dict of str to Sketch
        Of clean rows, by column of the contract; of a time, the hour of its day.
    features : dict of str to Sketch
        Of clean rows, by feature; the last sum is that of the target.
    errors, slices : dict of str to Sketch
        Of predicted rows, by feature and by kind of slice; the sums from the third on are those named above. Empty
        without a model.
    """

    rows: int
    clean: int
    left_out: Mapping[str, int]
    broken: Mapping[str, int]
    missing: Mapping[str, int]
    columns: Mapping[str, Sketch]
    features: Mapping[str, Sketch]
    errors: Mapping[str, Sketch]
    slices: Mapping[str, Sketch]

    def __add__(self, other: "Survey") -> "Survey":
        counts = (
            _add_counts(getattr(self, name), getattr(other, name)) for name in ("left_out", "broken", "missing")
        )
        return Survey(
            self.rows + other.rows,
            self.clean + other.clean,
            *counts,
            *(
                _add_sketches(getattr(self, name), getattr(other, name))
                for name in ("columns", "features", "errors", "slices")
            ),
        )


@dataclass(frozen=True)
class Month:
    """A month's survey, and the sums of its predicted rows: their number, 0, and those named above."""

    month: str
    synthetic: bool
    trained_on: bool
    survey: Survey
    predicted: np.ndarray


def _add_counts(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Add counts up by name."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in [*one, *(key for key in other if key not in one)]}


def _add_sketches(one: Mapping[str, Sketch], other: Mapping[str, Sketch]) -> dict[str, Sketch]:
    """Merge sketches by name."""
    if not one or not other:
        return dict(one or other)
    return {name: merge_sketches([one[name], other[name]]) for name in one}


def survey_month(path: Path, month: str, domain: Domain, model: Model | None, most_predicted: int) -> Month:
    """Survey a month.

    Parameters
    ----------
    path : Path
    month : str
    domain : Domain
    model : Model, optional
    most_predicted : int
        Of more clean rows, an even part is predicted, of about as many.

    Returns
    -------
    Month

    Raises
    ------
    ContractError
        If the file cannot be read as the contract says.
    """
    contract = read_contract(domain.CONTRACT)
    rules = list_rules(contract, month_bounds(month))
    every = -(-open_month(path).metadata.num_rows // most_predicted)

    def work(columns: Columns) -> Survey:
        return survey_batch(columns, contract, rules, domain, model and model.predictor, max(every, 1))

    survey = reduce(Survey.__add__, map_batches(path, contract, domain.derive_columns, work))
    trained_on = model is not None and month in model.trained_on
    return Month(month, is_sample(path), trained_on, survey, sum_predicted(survey))


def sum_predicted(survey: Survey) -> np.ndarray:
    """Give the sums of all predicted rows, of shape (n_sums,); zeros where none was."""
    sketch = next(iter(survey.errors.values()), None)
    return np.zeros(TARGET + 1) if sketch is None else sketch.sums.sum(axis=1) + sketch.missing


def add_up(surveys: Iterable[Survey]) -> Survey:
    """Add surveys up, at least one."""
    return reduce(Survey.__add__, surveys)


def survey_batch(
    columns: Columns,
    contract: Contract,
    rules: list[Rule],
    domain: Domain,
    predictor: Predictor | None,
    every: int,
) -> Survey:
    """Survey one batch of a month; every n-th of its clean rows is predicted."""
    breaks = [rule.breaks(columns[rule.column]) for rule in rules]
    codes = np.zeros(len(columns[contract.time]), np.uint8)
    for code in range(len(rules), 0, -1):
        codes[breaks[code - 1]] = code
    counts = np.bincount(codes, minlength=len(rules) + 1)
    clean = {name: values[codes == 0] for name, values in columns.items()}
    target = clean[contract.target].astype(np.float64)
    known = {column.name: clean[column.name] for column in contract.known_at_start()}
    features = {name: np.asarray(x, np.float32) for name, x in domain.compute_features(known).items()}
    errors, slices = _survey_errors(known, features, target, domain, predictor, every) if predictor else ({}, {})
    return Survey(
        rows=len(codes),
        clean=int(counts[0]),
        left_out={rule.reason: int(n) for rule, n in zip(rules, counts[1:], strict=True)},
        broken={rule.reason: int(broken.sum()) for rule, broken in zip(rules, breaks, strict=True)},
        missing={column.name: int(find_missing(columns[column.name]).sum()) for column in contract.columns},
        columns={column.name: _sketch_column(clean[column.name]) for column in contract.columns},
        features={name: sketch_numbers(values, target) for name, values in features.items()},
        errors=errors,
        slices=slices,
    )


def _sketch_column(values: np.ndarray) -> Sketch:
    """Sketch a column of the contract."""
    if values.dtype.kind == "O":
        return sketch_texts(values)
    return sketch_numbers(read_hours(values) if values.dtype.kind == "M" else values)


def read_hours(times: np.ndarray) -> np.ndarray:
    """Give the hour of the day of times of shape (n_rows,), NaN where they are missing."""
    since = times.astype("datetime64[us]", copy=False).view(np.int64)
    hours = (since - since // US_PER_DAY * US_PER_DAY) / US_PER_HOUR
    missing = np.isnat(times)
    return np.where(missing, np.nan, hours) if missing.any() else hours


def _survey_errors(
    known: Columns, features: Columns, target: np.ndarray, domain: Domain, predictor: Predictor, every: int
) -> tuple[dict[str, Sketch], dict[str, Sketch]]:
    """Predict some of the rows, and sketch the errors by feature and by kind of slice."""
    seen = {name: values[::every] for name, values in features.items()}
    truth = target[::every]
    predicted = predictor.predict(np.column_stack([seen[name] for name in predictor.features]))
    weights = measure_errors(truth, predicted, predictor.classes)
    labels = domain.compute_slices({name: values[::every] for name, values in known.items()})
    zeros = np.zeros(len(truth))
    return (
        {name: sketch_numbers(values, *weights) for name, values in seen.items()},
        {kind: sketch_texts(label, zeros, *weights) for kind, label in labels.items()},
    )


def measure_errors(
    target: np.ndarray, predicted: np.ndarray, classes: tuple[float, ...] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Measure each row's loss, its square, its error and its target; all of shape (n_rows,).

    Parameters
    ----------
    target : ndarray of shape (n_rows,)
    predicted : ndarray of shape (n_rows,) or (n_rows, n_classes)
    classes : tuple of float or None

    Returns
    -------
    tuple of ndarray
        The loss is the absolute error; of a classifier, the probability that the true class did not get. The error is
        the prediction less the target; of a classifier both are of the last class.
    """
    if classes is None:
        error = predicted - target
        return np.abs(error), error**2, error, target
    is_class = target[:, None] == np.array(classes)
    loss = 1 - (predicted * is_class).sum(axis=1)
    truth = is_class[:, -1].astype(np.float64)
    return loss, loss**2, predicted[:, -1] - truth, truth
