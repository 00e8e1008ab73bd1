"""A report's three files: for programs, for GitHub, and for a person without a server."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lifecycle.views.html import render_page
from lifecycle.views.plot_style import Spec, render_png


def write_report(  # pylint: disable=too-many-arguments  # what the three files are made of
    path: Path, report: Mapping[str, Any], *, title: str, page: str, plots: Mapping[str, bytes], card: str = ""
) -> None:
    """Write a report as JSON, and beside it as Markdown and as one page with everything in it.

    Parameters
    ----------
    path : Path
        Of the JSON file.
    report : Mapping
    title, page : str
        The HTML's title, and the Markdown.
    plots : mapping of str to bytes
        What each picture shows -> its PNG.
    card : str
        A model card's Markdown, to stand below the report.
    """
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(page, encoding="utf-8")
    path.with_suffix(".html").write_text(render_page(title, page, card, plots), encoding="utf-8")


def render_pngs(specs: Mapping[str, Spec]) -> dict[str, bytes]:
    """Render specifications, each into the bytes of a PNG."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "plot.png"
        pictures = {}
        for name, spec in specs.items():
            render_png(spec, path)
            pictures[name] = path.read_bytes()
    return pictures
