"""What happened in production, in three plots: the error by day, the predictions by day, and the drift."""

from collections.abc import Mapping
from typing import Any

from lifecycle.views.monitor_page import rank_drift, write_effect
from lifecycle.views.numbers import format_number
from lifecycle.views.plot_style import (
    BLUE,
    DASHES,
    DOT,
    GREY,
    PALE,
    Row,
    Spec,
    draw_bars,
    encode_number,
    frame_plot,
)

MOST_BARS = 20
Report = Mapping[str, Any]


def draw_monitor(report: Report) -> dict[str, Spec]:
    """Draw the plots for which there is something to draw.

    Parameters
    ----------
    report : Mapping
        As `lifecycle.monitor.monitor` makes it.

    Returns
    -------
    dict of str to dict
        What each picture shows -> its Vega-Lite specification.
    """
    judged = next((row for row in report["versions"] if row["judged"]), None)
    specs: dict[str, Spec] = {}
    if judged:
        tested = judged["metrics"].get(report["metric"], {}).get("tested")
        if measured := [row for row in judged["days"] if row["value"] is not None]:
            specs["error by day"] = draw_error(measured, report["metric"], tested)
        specs["predictions by day"] = draw_volume(judged["days"])
    if report["drift"]:
        specs["drift"] = draw_drift(rank_drift(report))
    return specs


def draw_error(days: list[Row], metric: str, tested: float | None) -> Spec:
    """Draw the first metric day by day, beside the figure of the test."""
    values = [row["value"] for row in days] + ([tested] if tested is not None else [])
    x = _encode_day()
    scale = {"domain": [min(0, *values), max(values)], "nice": True}
    y = encode_number("value", metric.replace("_", " "), scale=scale)
    line = {"mark": {"type": "line", "color": BLUE, "opacity": 0.35}, "encoding": {"x": x, "y": y}}
    dots = {"mark": DOT, "encoding": {"x": x, "y": y}}
    rule = [{"mark": {"type": "rule", **DASHES}, "encoding": {"y": {"datum": tested}}}] if tested is not None else []
    first, last = format_number(min(row["value"] for row in days)), format_number(max(row["value"] for row in days))
    return frame_plot(
        f"Day by day the error lay between {first} and {last}",
        f"Dots: the labelled predictions of a day. Dashes: the test ({format_number(tested)}).",
        {"data": {"values": days}, "layer": [*rule, line, dots]},
        height=260,
    )


def draw_volume(days: list[Row]) -> Spec:
    """Draw how many predictions each day had, and how many of them have a label by now."""
    x = _encode_day()
    bars = [
        {"mark": {"type": "bar", "color": colour, "width": {"band": 0.8}}, "encoding": {"x": x, "y": y}}
        for colour, y in (
            (PALE, encode_number("predictions", "predictions")),
            (BLUE, encode_number("labelled", "predictions")),
        )
    ]
    total, labelled = (sum(row[key] for row in days) for key in ("predictions", "labelled"))
    return frame_plot(
        f"{format_number(labelled)} of {format_number(total)} predictions have a label",
        "Blue: predictions with a label. Pale: those without one yet.",
        {"data": {"values": days}, "layer": bars},
        height=220,
    )


def _encode_day() -> Spec:
    """Encode the day, in UTC."""
    axis = {"format": "%d %b", "labelOverlap": "greedy", "labelSeparation": 16, "grid": False, "labelColor": GREY}
    return {"field": "day", "type": "temporal", "timeUnit": "utcyearmonthdate", "title": None, "axis": axis}


def draw_drift(rows: list[Mapping[str, Any]]) -> Spec:
    """Draw how far each value lies from training."""
    shown = [row for row in rows if row["distance"] is not None][:MOST_BARS]
    values = [
        {
            "name": row["name"],
            "distance": row["distance"],
            "figure": write_effect(row["distance"]),
            "note": f"PSI {write_effect(row['psi'])}",
            "kind": "worst" if row["drifted"] else "judged",
        }
        for row in shown
    ]
    drifted = [row["name"] for row in rows if row["drifted"]]
    title = f"{len(drifted)} of {len(rows)} values drifted" if drifted else "No value drifted"
    bars = draw_bars(values, "name", "distance", "Distance from training, in its standard deviations")
    return frame_plot(
        title,
        "Orange: farther than the limit, beyond what chance makes of as many rows.",
        {"data": {"values": values}, **bars},
    )
