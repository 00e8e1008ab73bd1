"""A search for hyperparameters in three plots: error by time of search, what mattered, error by time of fit."""

from collections.abc import Mapping
from typing import Any

from lifecycle.metric_names import is_lower_better
from lifecycle.views.numbers import format_number, format_share
from lifecycle.views.plot_style import (
    BLUE,
    DASHES,
    DOT,
    ORANGE,
    Row,
    Spec,
    draw_bars,
    encode_number,
    frame_plot,
)

Report = Mapping[str, Any]


def draw_tune(report: Report) -> dict[str, Spec]:
    """Draw the plots.

    Parameters
    ----------
    report : Mapping
        As `lifecycle.tune.tune` makes it.

    Returns
    -------
    dict of str to dict
        What each picture shows -> its Vega-Lite specification.
    """
    ended = [trial for trial in report["trials"] if trial["value"] is not None]
    specs = {"history": draw_history(ended, report), "cost": draw_cost(ended, report)}
    if report["importance"]:
        specs["importance"] = draw_importance(report["importance"])
    return specs


def draw_history(trials: list[Row], report: Report) -> Spec:
    """Draw each trial's figure when it ended, and the best one until then."""
    better = min if is_lower_better(report["metric"]) else max
    values, best = [], trials[0]["value"]
    for trial in sorted(trials, key=lambda row: row["at_seconds"]):
        best = better(best, trial["value"])
        values.append({"minutes": trial["at_seconds"] / 60, "value": trial["value"], "best": best})
    x = encode_number("minutes", "minutes of search")
    title = report["metric"].replace("_", " ")
    line = {
        "mark": {"type": "line", "color": BLUE, "interpolate": "step-after"},
        "encoding": {"x": x, "y": _encode("best", title)},
    }
    dots = {"mark": {**DOT, "opacity": 0.5}, "encoding": {"x": x, "y": _encode("value", title)}}
    rule = {"mark": {"type": "rule", **DASHES}, "encoding": {"y": {"datum": report["default"]["folds"]}}}
    return frame_plot(
        f"The best of {len(report['trials'])} trials has {format_number(best)} over the folds",
        "Dots: trials that ran to their end. Line: the best so far. Dashes: the default.",
        {"data": {"values": values}, "layer": [rule, line, dots]},
        height=300,
    )


def draw_cost(trials: list[Row], report: Report) -> Spec:
    """Draw each trial's figure against the time that its fits took; the winner stands out."""
    values = [
        {"seconds": trial["seconds"], "value": trial["value"], "winner": trial["number"] == report["winner"]["trial"]}
        for trial in trials
    ]
    colour = {"condition": {"test": "datum.winner", "value": ORANGE}, "value": BLUE}
    x = encode_number("seconds", "seconds of fitting, all folds")
    y = _encode("value", report["metric"].replace("_", " "))
    seconds = next(row["seconds"] for row in values if row["winner"])
    return frame_plot(
        f"The winner's fits took {format_number(seconds)} seconds",
        "Orange: the winner. Blue: the other trials that ran to their end.",
        {"data": {"values": values}, "mark": DOT, "encoding": {"x": x, "y": y, "color": colour}},
        height=300,
    )


def draw_importance(importance: Mapping[str, float]) -> Spec:
    """Draw which hyperparameters the figure depends on."""
    values = [
        {"name": name, "share": share, "figure": format_share(share), "note": "", "kind": "judged"}
        for name, share in importance.items()
    ]
    bars = draw_bars(values, "name", "share", "Share of the variance over the folds")
    title = f"{next(iter(importance))} mattered most"
    return frame_plot(
        title, "Among the trials that searched what the winner searched.", {"data": {"values": values}, **bars}
    )


def _encode(field: str, title: str) -> Spec:
    """Encode a figure, on a scale that need not begin at 0."""
    return encode_number(field, title, scale={"zero": False, "nice": True})
