"""What a model does, in four plots: the rows that they are drawn from, and their Vega-Lite specifications."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lifecycle.metric_names import is_lower_better
from lifecycle.views.numbers import format_column, format_number, round_figure
from lifecycle.views.plot_style import (
    BLUE,
    DASHES,
    DOT,
    ORANGE,
    SPAN,
    Row,
    Spec,
    draw_bars,
    encode_number,
    frame_plot,
    render_png,
)

# More bars than this are read by nobody; the data have the rest.
MOST_BARS = 20


@dataclass(frozen=True)
class Labels:
    """What the plots call things; a unit is empty where there is none."""

    time: str
    target: str
    unit: str
    metric: str
    metric_unit: str
    # The metric on all test rows.
    overall: float


def bin_predictions(target: np.ndarray, prediction: np.ndarray, bins: int = 20) -> list[Row]:
    """Compare the mean prediction with the mean target, in bins of equally many rows.

    Parameters
    ----------
    target, prediction : ndarray of shape (n_samples,), n_samples > 0
        In the target's unit; for a classifier 0 or 1, and the probability of the last class.
    bins : int
        Equal predictions share a bin, so that there may be fewer.

    Returns
    -------
    list of dict
        ``bin``, ``prediction`` and ``target`` (means), ``rows``, ``low`` and ``high`` (percentiles 10 and 90
        of the target), ordered by prediction.
    """
    edges = np.quantile(prediction, np.linspace(0, 1, bins + 1)[1:-1])
    groups = _group_rows(np.searchsorted(edges, prediction, side="right"))
    return [
        {"bin": index, "prediction": round_figure(prediction[rows].mean()), **_summarise(target[rows], "target")}
        for index, rows in enumerate(groups.values())
    ]


def summarise_residuals(time: np.ndarray, target: np.ndarray, prediction: np.ndarray) -> list[Row]:
    """Summarise the residuals, target minus prediction, by hour of the day.

    Parameters
    ----------
    time : ndarray of shape (n_samples,), datetime64
    target, prediction : ndarray of shape (n_samples,)
        In the target's unit.

    Returns
    -------
    list of dict
        ``hour``, ``mean``, ``rows``, ``low`` and ``high`` (10th and 90th percentile); none without rows.
    """
    hours = time.astype("datetime64[h]").astype(np.int64) % 24
    residual = target - prediction
    groups = _group_rows(hours)
    return [{"hour": hour, **_summarise(residual[rows], "mean")} for hour, rows in groups.items()]


def _group_rows(groups: np.ndarray) -> dict[int, np.ndarray]:
    """Map each group's number, ascending, to the positions of its rows."""
    names, starts = np.unique(np.sort(groups), return_index=True)
    positions = np.split(np.argsort(groups, kind="stable"), starts[1:])
    return dict(zip(names.tolist(), positions, strict=True))


def _summarise(values: np.ndarray, mean_name: str) -> Row:
    """Compute the mean, the count, and the 10th and 90th percentile."""
    low, high = np.quantile(values, [0.1, 0.9])
    return {
        mean_name: round_figure(values.mean()),
        "rows": len(values),
        "low": round_figure(low),
        "high": round_figure(high),
    }


def draw_predicted(rows: list[Row], target: str, unit: str) -> Spec:
    """Draw the mean target against the mean prediction, with the diagonal of a perfect prediction.

    Parameters
    ----------
    rows : list of dict
        As ``bin_predictions`` makes them; at least one.
    target, unit : str
        What the axes are called; the unit may be empty.

    Returns
    -------
    dict
        A Vega-Lite 5 specification.
    """
    # The percentiles of a target that is 0 or 1 say nothing beside its mean.
    binary = all(row[end] in (0, 1) for row in rows for end in ("low", "high"))
    keys = ("prediction", "target") if binary else ("prediction", "target", "low", "high")
    seen = [row[key] for row in rows for key in keys]
    same = {
        "scale": {"domain": [min(seen), max(seen)], "nice": True, "zero": False},
        "axis": {"tickCount": 7},
    }
    x = encode_number("prediction", f"Predicted {_with_unit(target, unit)}", **same)
    y = encode_number("target", f"Actual {_with_unit(target, unit)}", **same)
    perfect = {
        "data": {"values": [{"prediction": end, "target": end} for end in (min(seen), max(seen))]},
        "mark": {"type": "line", **DASHES},
        "encoding": {"x": x, "y": y},
    }
    spans = {"mark": SPAN, "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}}}
    dots = {"mark": DOT, "encoding": {"x": x, "y": y}}
    off = max(abs(row["target"] - row["prediction"]) for row in rows)
    subtitle = f"Dots: means of {len(rows)} equal groups of test rows, by prediction. Dashes: a perfect prediction."
    return frame_plot(
        f"Groups of like predictions are at most {_write_amount(off, unit)} off",
        subtitle if binary else f"{subtitle} Bars: from the 10th to the 90th percentile of what happened.",
        {"data": {"values": rows}, "layer": [perfect, dots] if binary else [perfect, spans, dots]},
        height=400,
    )


def draw_residuals(rows: list[Row], time: str, unit: str) -> Spec:
    """Draw the residuals by hour of the day; the hour with the largest mean is marked.

    Parameters
    ----------
    rows : list of dict
        As ``summarise_residuals`` makes them; at least one.
    time, unit : str
        Name of the time column, and the target's unit, which may be empty.

    Returns
    -------
    dict
        A Vega-Lite 5 specification.
    """
    worst = max(rows, key=lambda row: abs(row["mean"]))
    side = "low" if worst["mean"] > 0 else "high"
    x = {
        "field": "hour",
        "type": "ordinal",
        "title": f"Hour of {time}",
        "scale": {"domain": list(range(24))},
        "axis": {"labelAngle": 0, "grid": False},
    }
    y = encode_number("mean", _with_unit("Actual minus predicted", unit), axis={"grid": True})
    colour = {"condition": {"test": f"datum.hour === {worst['hour']}", "value": ORANGE}, "value": BLUE}
    zero = {"mark": {"type": "rule", **DASHES}, "encoding": {"y": {"datum": 0}}}
    ends = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    spans = {"mark": SPAN, "encoding": {"x": x, **ends, "color": colour}}
    dots = {"mark": DOT, "encoding": {"x": x, "y": y, "color": colour}}
    return frame_plot(
        f"Predictions are furthest off at {worst['hour']:02d}:00: "
        f"{_write_amount(abs(worst['mean']), unit)} too {side}",
        "Dots: mean of an hour's test rows. Bars: from the 10th to the 90th percentile. "
        "Above the dashes the prediction was too low, below them it was too high.",
        {"data": {"values": rows}, "layer": [zero, spans, dots]},
        height=340,
    )


def draw_slices(rows: list[Row], metric: str, unit: str, overall: float) -> Spec:
    """Draw the first metric by slice, the worst group of each slice on top, beside the figure of all rows.

    Parameters
    ----------
    rows : list of dict
        ``slice``, ``group``, ``rows``, ``error``, ``judged``; groups that are not judged are pale; groups
        without an error (NaN) are absent.
    metric, unit : str
        The metric's name, which tells its direction, and its unit, which may be empty.
    overall : float
        The metric on all test rows.

    Returns
    -------
    dict
        A Vega-Lite 5 specification.
    """
    lower = is_lower_better(metric)
    drawn = [row for row in rows if np.isfinite(row["error"])]
    worst_first = sorted(drawn, key=lambda row: row["error"], reverse=lower)
    worst = next((row for row in worst_first if row["judged"]), None)
    names = list(dict.fromkeys(row["slice"] for row in drawn))
    by_slice = [[row for row in worst_first if row["slice"] == name][:MOST_BARS] for name in names]
    values = _label_groups([row for groups in by_slice for row in groups], worst)
    axis = f"{_with_unit(_write_words(metric), unit)}, {'lower' if lower else 'higher'} is better"
    bars = draw_bars(values, "group", "error", axis)
    mean = {"mark": {"type": "rule", **DASHES}, "encoding": {"x": {"datum": overall}}}
    header = {"labelOrient": "top", "labelAnchor": "start"}
    return frame_plot(
        f"The model does worst where {worst['slice']} is {worst['group']}" if worst else "No group can be judged",
        f"Dashes: all test rows ({format_number(overall)}). Pale: too few rows to be judged.",
        {
            "data": {"values": values},
            "facet": {"row": {"field": "slice", "type": "nominal", "sort": names, "header": header}},
            "spec": {**bars, "layer": [*bars["layer"], mean]},
            "resolve": {"scale": {"y": "independent"}},
            "spacing": 14,
        },
    )


def _label_groups(rows: list[Row], worst: Row | None) -> list[Row]:
    """Add what stands beside each group's bar, and its kind."""
    return [
        {
            **row,
            "figure": figure,
            "note": f"{format_number(row['rows'])} row{'s' if row['rows'] != 1 else ''}",
            "kind": "worst" if row is worst else "judged" if row["judged"] else "unjudged",
        }
        for row, figure in zip(rows, format_column([row["error"] for row in rows]), strict=True)
    ]


def draw_importance(rows: list[Row], metric: str, unit: str) -> Spec:
    """Draw how much worse the first metric gets when a column is shuffled, the most important on top.

    Parameters
    ----------
    rows : list of dict
        ``feature``, ``importance``, ``spread``; at least one.
    metric, unit : str
        The metric's name, and its unit, which may be empty.

    Returns
    -------
    dict
        A Vega-Lite 5 specification.
    """
    shown = sorted(rows, key=lambda row: -row["importance"])[:MOST_BARS]
    figures = format_column([row["importance"] for row in shown] + [row["spread"] for row in shown])
    values = [
        {**row, "figure": figure, "note": f"± {spread}", "kind": "judged"}
        for row, figure, spread in zip(shown, figures[: len(shown)], figures[len(shown) :], strict=True)
    ]
    bars = draw_bars(values, "feature", "importance", f"Worsening of {_with_unit(metric.replace('_', ' '), unit)}")
    return frame_plot(
        f"The model leans most on {shown[0]['feature']}",
        "How much worse the model does when one column is shuffled, ± the standard deviation over shuffles. "
        "It says what the model leans on, not what causes the target.",
        {"data": {"values": values}, **bars},
    )


def render_plots(plots: dict[str, list[Row]], labels: Labels, folder: Path) -> None:
    """Draw the plots and render them.

    Parameters
    ----------
    plots : dict of str to list of dict
        The rows of ``predicted``, ``residuals``, ``slices`` and ``importance``.
    labels : Labels
    folder : Path
        Gets a PNG file for each, under its name.
    """
    specs = {
        "predicted": draw_predicted(plots["predicted"], labels.target, labels.unit),
        "residuals": draw_residuals(plots["residuals"], labels.time, labels.unit),
        "slices": draw_slices(plots["slices"], labels.metric, labels.metric_unit, labels.overall),
        "importance": draw_importance(plots["importance"], labels.metric, labels.metric_unit),
    }
    for name, spec in specs.items():
        render_png(spec, folder / f"{name}.png")


def _with_unit(name: str, unit: str) -> str:
    """Add the unit, where there is one."""
    return f"{name} ({unit})" if unit else name


def _write_amount(value: float, unit: str) -> str:
    """Write a number with its unit, where there is one."""
    return f"{format_number(value)} {unit}".rstrip()


def _write_words(metric: str) -> str:
    """Write a metric's name as the beginning of a sentence."""
    words = metric.replace("_", " ")
    return words[:1].upper() + words[1:]
