"""What the plots have in common: size, font, colours, marks, title, bars, and how they are rendered."""

import os
import textwrap
from pathlib import Path
from typing import Any

import vl_convert

Row = dict[str, Any]
Spec = dict[str, Any]

VEGALITE_VERSION = "5.21"
WIDTH_PX = 600
PADDING_PX = 12
LABELS_PX = 130
# One of the fonts that vl-convert brings with it, so that the bytes do not depend on the machine's fonts.
FONT = "Liberation Sans"
NO_FONTS = Path(__file__).with_name("no_fonts.conf")
# Okabe and Ito's palette, which the colour-blind can tell apart, and greys.
BLUE, ORANGE, INK, GREY, PALE = "#0072B2", "#D55E00", "#222222", "#6B6B6B", "#D9D9D9"
KINDS = {"domain": ["judged", "worst", "unjudged"], "range": [BLUE, ORANGE, PALE]}

# From the 10th to the 90th percentile, a mean, and a line to compare with.
SPAN = {"type": "rule", "color": BLUE, "opacity": 0.3, "strokeWidth": 5, "strokeCap": "round"}
DOT = {"type": "point", "filled": True, "color": BLUE, "size": 55, "opacity": 1}
DASHES = {"color": INK, "strokeDash": [5, 4], "strokeWidth": 1.25}

TITLE = {"anchor": "start", "frame": "bounds", "offset": 16, "fontSize": 17, "color": INK}
SUBTITLE = {"subtitleFontSize": 12.5, "subtitleColor": GREY, "subtitleLineHeight": 16, "subtitlePadding": 7}
AXIS = {
    "domain": False,
    "ticks": False,
    "labelFlush": False,
    "labelPadding": 6,
    "labelFontSize": 12,
    "labelColor": INK,
}
AXIS_TITLE = {"titleFontSize": 12.5, "titleFontWeight": "normal", "titleColor": GREY, "titlePadding": 8}
CONFIG = {
    "font": FONT,
    "background": "white",
    "padding": PADDING_PX,
    "view": {"stroke": None},
    "title": {**TITLE, **SUBTITLE},
    "axis": {**AXIS, **AXIS_TITLE, "gridColor": "#EDEDED"},
    "header": {
        "labelFontSize": 13,
        "labelFontWeight": "bold",
        "labelColor": INK,
        "labelPadding": 4,
        "title": None,
    },
}


def frame_plot(title: str, subtitle: str, body: Spec, height: int | None = None) -> Spec:
    """Put a plot under its title.

    Parameters
    ----------
    title, subtitle : str
        Sentences; they are wrapped.
    body : dict
        Data, marks and encoding.
    height : int, optional
        In pixels; with it the plot is fitted into the full width, without it the body sizes itself.

    Returns
    -------
    dict
        A Vega-Lite 5 specification.
    """
    size: Spec = {}
    if height:
        size = {"width": WIDTH_PX, "height": height, "autosize": {"type": "fit", "contains": "padding"}}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": {"text": textwrap.wrap(title, 64), "subtitle": textwrap.wrap(subtitle, 96)},
        "config": CONFIG,
        **size,
        **body,
    }


def draw_bars(rows: list[Row], name: str, value: str, title: str) -> Spec:
    """Draw horizontal bars in the order of the rows, with two columns of figures on their right.

    Parameters
    ----------
    rows : list of dict
        Beside the keys below: ``kind`` (the colour: judged, worst or unjudged), ``figure`` and ``note``.
    name, value : str
        Keys of a bar's name and length.
    title : str
        What the length means.

    Returns
    -------
    dict
        A layered view without data.
    """
    width = WIDTH_PX - LABELS_PX - 2 * PADDING_PX
    ends = [0, *(row[value] for row in rows)]
    # The figures stand right of the longest bar.
    scale = {"domain": [min(ends), max(ends)], "range": [0, width - 150], "nice": False}
    axis = {"labels": False, "grid": False, "titleAnchor": "start"}
    x = encode_number(value, title, scale=scale, axis=axis)
    labels = {"minExtent": LABELS_PX, "maxExtent": LABELS_PX, "labelLimit": LABELS_PX - 8}
    y = {"field": name, "type": "nominal", "sort": [row[name] for row in rows], "title": None, "axis": labels}
    colour = {"field": "kind", "type": "nominal", "scale": KINDS, "legend": None}
    figures = [
        {
            "mark": {"type": "text", "align": "right", "fontSize": 12, "color": ink},
            "encoding": {"x": {"value": right}, "y": y, "text": {"field": field}},
        }
        for field, right, ink in (("figure", width - 85, INK), ("note", width, GREY))
    ]
    bars = {"mark": {"type": "bar", "height": 15}, "encoding": {"x": x, "y": y, "color": colour}}
    return {"width": width, "height": {"step": 22}, "layer": [bars, *figures]}


def encode_number(field: str, title: str, **options: Any) -> Spec:
    """Encode a numeric field under the title of its axis; ``options`` go to Vega-Lite."""
    return {"field": field, "type": "quantitative", "title": title, **options}


def render_png(spec: Spec, path: Path) -> None:
    """Render a specification into a PNG file, offline; the same specification gives the same bytes."""
    # Read when the first plot is rendered. A machine's font of the same name would take the place of vl-convert's.
    os.environ["FONTCONFIG_FILE"] = str(NO_FONTS)
    # More pixels than points, for screens that have them; the picture is read at 600 pixels' width.
    # pylint: disable-next=no-member  # vl_convert is compiled, and pylint does not look inside
    path.write_bytes(vl_convert.vegalite_to_png(spec, vl_version=VEGALITE_VERSION, scale=1.5))
