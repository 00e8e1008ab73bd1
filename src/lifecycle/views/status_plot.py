"""The live error day by day, as a picture within a page."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import groupby
from typing import Any

import vl_convert

from lifecycle.views.markdown import clean_text
from lifecycle.views.plot_style import (
    BLUE,
    CONFIG,
    DASHES,
    DOT,
    GREY,
    NO_FONTS,
    ORANGE,
    VEGALITE_VERSION,
    Row,
    Spec,
    encode_number,
)
from lifecycle.views.status_facts import MonitorReport, Promotion

HEIGHT_PX = 240
LONGEST_LABEL, LINE_PX = 12, 13


def list_days(reports: Sequence[MonitorReport]) -> list[Row]:
    """List the live error by day and version; a later report knows more labels of the same day.

    Parameters
    ----------
    reports : sequence of MonitorReport
        The oldest first.

    Returns
    -------
    list of dict
        ``version``, ``start`` and ``noon`` of the day, ``value`` and ``tested``, in the order of time; days of other
        first metrics than the last report's are left out.
    """
    found: dict[tuple[datetime, str], Row] = {}
    for report in reports:
        judged = report.find_judged()
        if judged is None or report.metric != reports[-1].metric:
            continue
        measured = judged.metrics.get(report.metric)
        for day in judged.days:
            start = datetime.combine(day.day, time(), UTC)
            row = {"version": judged.version, "start": start, "noon": start + timedelta(hours=12)}
            if day.value is not None:
                tested = measured.tested if measured else None
                found[start, judged.version] = {**row, "value": day.value, "tested": tested}
    return [found[key] for key in sorted(found)]


def draw_live_error(rows: list[Row], promotions: Sequence[Promotion], metric: str, width: int) -> Spec:
    """Draw the live error day by day, the tested error as dashes, and a line for each new champion.

    Parameters
    ----------
    rows : list of dict
        As `list_days` makes them; at least one.
    promotions : sequence of Promotion
    metric : str
    width : int
        In pixels.

    Returns
    -------
    dict
        A Vega-Lite 5 specification.
    """
    first, end = rows[0]["start"], rows[-1]["start"] + timedelta(days=1)
    axis = {"format": "%d %b", "labelOverlap": "greedy", "labelSeparation": 12, "grid": False, "labelColor": GREY}
    span = {"type": "utc", "domain": [_write_time(first), _write_time(end)], "nice": False}
    x = {"field": "at", "type": "temporal", "title": None, "scale": span, "axis": {**axis, "tickCount": width // 80}}
    y = encode_number("value", metric.replace("_", " "), scale={"zero": False, "nice": True}, axis={"tickCount": 5})
    runs = _split_runs(rows)
    points = [
        {"at": _write_time(row["noon"]), "value": row["value"], "run": place}
        for place, run in enumerate(runs)
        for row in run
    ]
    by_run = {"x": x, "y": y, "detail": {"field": "run", "type": "nominal"}}
    error = {
        "data": {"values": points},
        "layer": [
            {"mark": {"type": "line", "color": BLUE, "opacity": 0.35}, "encoding": by_run},
            {"mark": {**DOT, "size": 40}, "encoding": by_run},
        ],
    }
    tested = {
        "data": {"values": _list_tested(runs)},
        "mark": {"type": "rule", **DASHES},
        "encoding": {"x": x, "x2": {"field": "until"}, "y": y},
    }
    marked = [promotion for promotion in promotions if first <= promotion.date < end]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "config": {**CONFIG, "background": None, "padding": 4},
        "width": width,
        "height": HEIGHT_PX,
        "autosize": {"type": "fit", "contains": "padding"},
        "layer": [*([_mark_promotions(marked, x)] if marked else []), tested, error],
    }


def _mark_promotions(promotions: Sequence[Promotion], x: Spec) -> Spec:
    """Mark when a version became champion; a rollback in another colour."""
    values = [
        {
            "at": _write_time(one.date),
            "label": clean_text(one.version, LONGEST_LABEL),
            "rollback": one.is_rollback,
            # Neighbours stand on different lines.
            "y": place % 3 * LINE_PX,
        }
        for place, one in enumerate(sorted(promotions, key=lambda promotion: promotion.date))
    ]
    y = {"field": "y", "type": "quantitative", "scale": None, "axis": None}
    colour = {"condition": {"test": "datum.rollback", "value": ORANGE}, "value": GREY}
    text = {"type": "text", "align": "left", "baseline": "top", "dx": 3, "fontSize": 11}
    return {
        "data": {"values": values},
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 1}, "encoding": {"x": x, "color": colour}},
            {"mark": text, "encoding": {"x": x, "y": y, "text": {"field": "label"}, "color": colour}},
        ],
    }


def _split_runs(rows: list[Row]) -> list[list[Row]]:
    """Split the days where another version took over."""
    return [list(run) for _, run in groupby(rows, key=lambda row: row["version"])]


def _list_tested(runs: list[list[Row]]) -> list[Row]:
    """List from when until when each version's figure of the test is the one to compare with."""
    return [
        {
            "at": _write_time(run[0]["start"]),
            "until": _write_time(run[-1]["start"] + timedelta(days=1)),
            "value": run[-1]["tested"],
        }
        for run in runs
        if run[-1]["tested"] is not None
    ]


def _write_time(moment: datetime) -> str:
    """Write a time as Vega reads it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def render_svg(spec: dict[str, Any]) -> str:
    """Render a specification into an SVG element, offline."""
    os.environ["FONTCONFIG_FILE"] = str(NO_FONTS)
    # pylint: disable-next=no-member  # vl_convert is compiled, and pylint does not look inside
    return str(vl_convert.vegalite_to_svg(spec, vl_version=VEGALITE_VERSION))
