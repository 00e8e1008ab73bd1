"""Stage ``evaluate``: measure the converted model on the test months, and explain it, whatever the champion does.

Writes out/metrics.json, out/profile.json and the plots' data (kept in Git), and the plots and the model card. How
fast the model is depends on the machine, so that is measured at the gate.
"""

import inspect
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame
from sklearn.dummy import DummyClassifier, DummyRegressor

from lifecycle.cluster import map_tasks
from lifecycle.data.contract import read_contract
from lifecycle.data.profile import Profile, profile_values
from lifecycle.data.rows import Rows, read_rows, read_train
from lifecycle.errors import RefusedError, run
from lifecycle.importance import measure_importance
from lifecycle.metric_names import choose_unit
from lifecycle.metrics import Metric, Predictions, bootstrap_metrics, load_metrics
from lifecycle.params import EvaluateParams, Params, read_params
from lifecycle.paths import CARD, CROSS_VALIDATION, ENVIRONMENT, METRICS, ONNX, PLOTS, PROFILE, ROWS, TEST
from lifecycle.predictor import Predictor, load_predictor
from lifecycle.seam import Columns
from lifecycle.views.card import Facts, write_card
from lifecycle.views.numbers import round_figure
from lifecycle.views.plots import Labels, bin_predictions, render_plots, summarise_residuals

# Predicted at once; on a cluster a task.
BATCH_ROWS = 1 << 16

log = logging.getLogger(__name__)


def predict_rows(predictor: Predictor, rows: Rows) -> Predictions:
    """Predict prepared rows; see `check_predictions` for what it raises."""
    return check_predictions(Predictions(rows.y, predictor.predict(rows.X), predictor.classes))


def predict_batches(model: bytes, X: np.ndarray, starts: Sequence[int]) -> Iterator[np.ndarray]:
    """Predict the batches of a matrix of shape (n_samples, n_features) that start at some rows."""
    predictor = Predictor(model)
    for start in starts:
        yield predictor.predict(X[start : start + BATCH_ROWS])


def check_predictions(made: Predictions) -> Predictions:
    """Return predictions as they are.

    Raises
    ------
    RefusedError
        If one is no finite number.
    """
    rows = len(made.prediction)
    bad = int((~np.isfinite(made.prediction)).reshape(rows, -1).any(axis=1).sum())
    if bad:
        raise RefusedError(f"the model predicts no finite number for {bad:,} of {rows:,} test rows.")
    return made


def predict_baseline(train: Rows, test: Rows, classes: tuple[float, ...] | None) -> Predictions:
    """Predict the test rows with the trivial model: the training target's mean, or its classes' shares."""
    if classes is None:
        dummy = DummyRegressor().fit(train.X[:, :1], train.y)
        return Predictions(test.y, dummy.predict(test.X[:, :1]))
    dummy = DummyClassifier(strategy="prior").fit(train.X[:, :1], train.y)
    return Predictions(test.y, dummy.predict_proba(test.X[:, :1]), classes)


def measure_metrics(
    metrics: list[Metric], made: Predictions, baseline: Predictions, params: EvaluateParams
) -> dict[str, dict[str, float]]:
    """Measure each metric with its interval, and the baseline's value.

    Returns
    -------
    dict of str to dict of str to float
        ``value``, ``low``, ``high`` and ``baseline`` of each metric.
    """
    measured = {}
    intervals = bootstrap_metrics(metrics, made, params.confidence, params.resamples, params.seed)
    for metric, (low, high, _) in zip(metrics, intervals, strict=True):
        values = {
            "value": metric.measure(made),
            "low": low,
            "high": high,
            "baseline": metric.measure(baseline),
        }
        measured[metric.name] = {key: round_figure(value) for key, value in values.items()}
    return measured


def measure_slices(
    metric: Metric, made: Predictions, slices: Columns, min_rows: int
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Measure a metric by slice, with fairlearn's MetricFrame.

    Parameters
    ----------
    metric : Metric
    made : Predictions
    slices : dict of str to ndarray of shape (n_samples,)
    min_rows : int
        Groups with fewer rows are shown, and do not count for the gap.

    Returns
    -------
    groups : list of dict
        ``slice``, ``group``, ``rows``, ``error`` (NaN where it is undefined) and ``judged``.
    gaps : dict of str to dict
        ``gap``, ``best`` and ``worst`` group of each slice with at least two judged groups.
    """
    numbers = np.arange(len(made.target))
    groups, gaps = [], {}
    for name, labels in slices.items():
        # The frame's samples are row numbers, so that any metric fits, also one of probabilities.
        frame = MetricFrame(
            metrics={
                "error": lambda rows, _: metric.measure_rows(made, np.asarray(rows)),
                "rows": lambda rows, _: len(rows),
            },
            y_true=numbers,
            y_pred=numbers,
            sensitive_features=pd.Series(labels, name=name),
        )
        found = frame.by_group.assign(judged=(frame.by_group["rows"] >= min_rows) & frame.by_group["error"].notna())
        for group, row in found.iterrows():
            figures = {
                "rows": int(row["rows"]),
                "error": round_figure(row["error"]),
                "judged": bool(row["judged"]),
            }
            groups.append({"slice": name, "group": str(group), **figures})
        judged = found.loc[found["judged"], "error"].astype(float)
        if len(judged) > 1:
            ends = [str(judged.idxmin()), str(judged.idxmax())]
            best, worst = ends if metric.lower_is_better else ends[::-1]
            gaps[name] = {"gap": round_figure(judged.max() - judged.min()), "best": best, "worst": worst}
    return groups, gaps


def list_plot_data(
    metric: Metric,
    model: bytes,
    rows: Rows,
    made: Predictions,
    slices: list[dict[str, Any]],
    seed: int,
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Compute the data of each plot, by the plot's name."""
    # Of a classifier, the probability of the last class.
    prediction = made.prediction if made.classes is None else made.prediction[:, -1]
    target = made.target if made.classes is None else (made.target == made.classes[-1]).astype(np.float64)
    yield "predicted", bin_predictions(target, prediction)
    yield "residuals", summarise_residuals(rows.time, target, prediction)
    yield "slices", slices
    yield "importance", measure_importance(metric, model, rows, seed)


def profile_rows(train: Rows, made: Predictions) -> dict[str, Profile]:
    """Profile what the model was trained on, and what it predicts: later data are held against it.

    Returns
    -------
    dict of str to dict
        By feature, then ``target`` and ``prediction``; of a classifier, the probability of the last class.
    """
    profiles = {name: profile_values(values) for name, values in zip(train.features, train.X.T, strict=True)}
    prediction = made.prediction if made.classes is None else made.prediction[:, -1]
    return {**profiles, "target": profile_values(train.y), "prediction": profile_values(prediction)}


def format_profiles(profiles: dict[str, Profile]) -> str:
    """Write profiles as JSON, a line each."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(profile)}" for name, profile in profiles.items())
    return f"{{\n{lines}\n}}\n"


def format_rows(rows: list[dict[str, Any]]) -> str:
    """Write a plot's rows as JSON, a line each; JSON has no NaN, so an undefined figure becomes null."""
    plain = ({key: None if pd.isna(value) else value for key, value in row.items()} for row in rows)
    lines = ",\n".join(json.dumps(row, allow_nan=False) for row in plain)
    return f"[\n{lines}\n]\n"


def describe(
    params: Params, measured: dict[str, Any], plots: dict[str, Any], gaps: dict[str, Any], unit: str, fitted_rows: int
) -> Facts:
    """Collect what the model card is written from."""
    domain = params.load_domain()
    contract = read_contract(domain.CONTRACT)
    target = contract.find_column(contract.target)
    return {
        "title": contract.title,
        "target": {"name": target.name, "meaning": target.meaning, "unit": target.unit},
        "metrics": {name: {**row, "unit": choose_unit(name, unit)} for name, row in measured.items()},
        "confidence": params.evaluate.confidence,
        "cross_validation": json.loads(CROSS_VALIDATION.read_text(encoding="utf-8")),
        "slices": plots["slices"],
        "gaps": gaps,
        "importance": plots["importance"],
        "rows": json.loads(ROWS.read_text(encoding="utf-8")),
        "fitted_rows": fitted_rows,
        "columns": [asdict(column) for column in contract.columns],
        "model": inspect.cleandoc(inspect.getmodule(domain.build_model).__doc__ or ""),
        "hyperparameters": asdict(params.train.hyperparameters),
        "environment": json.loads(ENVIRONMENT.read_text(encoding="utf-8")),
        "size_bytes": ONNX.stat().st_size,
        "caveats": list(contract.caveats),
        "plots": {name: f"{PLOTS.name}/{name}.png" for name in plots},
    }


def label_plots(params: Params, metric: str, overall: float) -> Labels:
    """Collect what the plots call things."""
    contract = read_contract(params.load_domain().CONTRACT)
    unit = contract.find_column(contract.target).unit
    return Labels(contract.time, contract.target, unit, metric, choose_unit(metric, unit), overall)


def main(_argv: list[str] | None = None) -> None:
    """Evaluate out/model.onnx on out/test."""
    params = read_params()
    domain = params.load_domain()
    metrics = load_metrics(params.evaluate.metrics, domain)
    predictor, test = load_predictor(ONNX), read_rows(TEST)
    model = ONNX.read_bytes()
    batches = map_tasks(partial(predict_batches, model, test.X), range(0, len(test.y), BATCH_ROWS))
    made = check_predictions(Predictions(test.y, np.concatenate(list(batches)), predictor.classes))
    train = read_train(params.train)
    baseline = predict_baseline(train, test, predictor.classes)
    measured = measure_metrics(metrics, made, baseline, params.evaluate)
    for name, figures in measured.items():
        log.info("evaluate %s=%.4g baseline=%.4g", name, figures["value"], figures["baseline"])
    METRICS.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    PROFILE.write_text(format_profiles(profile_rows(train, made)), encoding="utf-8")
    slices, gaps = measure_slices(
        metrics[0], made, domain.compute_slices(test.columns), params.evaluate.min_slice_rows
    )
    plots = dict(list_plot_data(metrics[0], model, test, made, slices, params.evaluate.seed))
    PLOTS.mkdir(parents=True, exist_ok=True)
    for name, rows in plots.items():
        (PLOTS / f"{name}.json").write_text(format_rows(rows), encoding="utf-8")
    labels = label_plots(params, metrics[0].name, measured[metrics[0].name]["value"])
    render_plots(plots, labels, PLOTS)
    CARD.write_text(write_card(describe(params, measured, plots, gaps, labels.unit, len(train.y))), encoding="utf-8")


if __name__ == "__main__":
    run(main)
