"""Small pictures of data, each readable on a phone: a column by month, and a feature beside target and error."""

from collections.abc import Sequence

import numpy as np

from lifecycle.exploration.findings import ColumnFinding, FeatureFinding
from lifecycle.views.markdown import clean_text
from lifecycle.views.plot_style import BLUE, CONFIG, DASHES, GREY, ORANGE, PALE, Row, Spec

PLOT_PX, ROW_PX = 262, 15
PANEL_PX = 62
LONGEST_LABEL = 14


def draw_months(finding: ColumnFinding, months: Sequence[str]) -> Spec:
    """Draw how a column's values are spread in each month: the darker, the more of the month's rows."""
    if finding.bins is None:
        raise ValueError(f"{finding.column.name} has no value to draw")
    rows = [
        {"month": month, "place": place, "label": label, "share": round(float(share), 5)}
        for month, shares in zip(months, finding.shares, strict=True)
        for place, (label, share) in enumerate(zip(shorten(finding.bins.labels), shares, strict=True))
    ]
    colour = {
        "field": "share",
        "type": "quantitative",
        "scale": {"scheme": "blues", "domainMin": 0},
        "legend": None,
    }
    y = {"field": "month", "type": "ordinal", "title": None, "axis": {"labelFontSize": 11}}
    mark = {"type": "rect", "stroke": "white", "strokeWidth": 0.5}
    body = {"mark": mark, "encoding": {"x": _encode_bins(True), "y": y, "color": colour}}
    return _frame({"data": {"values": rows}, "width": PLOT_PX, "height": {"step": ROW_PX}, **body})


def draw_feature(finding: FeatureFinding, target: str, mean: float, loss: float | None) -> Spec:
    """Draw a feature's rows by bin, and below it the target's mean and the mean loss of the same bins.

    Parameters
    ----------
    finding : FeatureFinding
    target : str
        What the second panel's axis is called.
    mean : float
        The target's, over all rows.
    loss : float or None
        The mean of all predicted rows; None without a model.
    """
    rows: list[Row] = [
        {
            "place": place,
            "label": label,
            "rows": int(n),
            "target": _keep(mean_target),
            "loss": _keep(mean_loss),
        }
        for place, (label, n, mean_target, mean_loss) in enumerate(
            zip(shorten(finding.bins.labels), finding.rows, finding.target, finding.loss, strict=True)
        )
    ]
    panels = [_draw_panel("rows", "rows", PALE, None, False), _draw_panel("target", target, BLUE, mean, loss is None)]
    panels = panels if loss is None else [*panels, _draw_panel("loss", "error", ORANGE, loss, True)]
    return _frame({"data": {"values": rows}, "vconcat": panels, "spacing": 10})


def _draw_panel(field: str, title: str, colour: str, dashes: float | None, is_last: bool) -> Spec:
    """Draw bars of rows, or dots of means with dashes for that of all."""
    axis = {
        "tickCount": 3,
        "format": "~s",
        "minExtent": 38,
        "maxExtent": 38,
        "titleFontSize": 11,
        "labelFontSize": 11,
    }
    y = {"field": field, "type": "quantitative", "title": clean_text(title, 16), "axis": axis}
    x = _encode_bins(is_last)
    if dashes is None:
        return {
            "width": PLOT_PX,
            "height": PANEL_PX,
            "mark": {"type": "bar", "color": GREY},
            "encoding": {"x": x, "y": y},
        }
    dots = {"mark": {"type": "point", "filled": True, "color": colour, "size": 26, "opacity": 1}}
    line = {"mark": {"type": "line", "color": colour, "opacity": 0.35}}
    rule = {"mark": {"type": "rule", **DASHES, "strokeWidth": 1}, "encoding": {"y": {"datum": dashes}}}
    layers = [rule, *({**layer, "encoding": {"x": x, "y": y}} for layer in (line, dots))]
    return {"width": PLOT_PX, "height": PANEL_PX, "layer": layers}


def _encode_bins(is_labelled: bool) -> Spec:
    """Encode a bin's place; its label stands below where there is room."""
    axis: Spec = {
        "labelExpr": "split(datum.value, '\\t')[1]",
        "labelAngle": 0,
        "labelOverlap": "greedy",
        "labelSeparation": 8,
        "labelFontSize": 11,
        "grid": False,
    }
    return {"field": "bin", "type": "ordinal", "sort": None, "title": None, "axis": axis if is_labelled else None}


def shorten(labels: Sequence[str]) -> list[str]:
    """Cut labels that are too long for their place."""
    return [clean_text(label, LONGEST_LABEL) for label in labels]


def _keep(value: float) -> float | None:
    """Keep a number that is one."""
    return None if np.isnan(value) else round(float(value), 5)


def _frame(body: Spec) -> Spec:
    """Put a small picture into the common style."""
    for row in body["data"]["values"]:
        # Two bins may have labels that look the same.
        row["bin"] = f"{row.pop('place'):04d}\t{row.pop('label')}"
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "config": {**CONFIG, "padding": 4},
        **body,
    }
