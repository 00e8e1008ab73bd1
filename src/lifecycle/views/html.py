"""The report as one page that needs no server: its Markdown as HTML, with the plots and the model card."""

import base64
import html
from collections.abc import Mapping
from pathlib import Path

from markdown_it import MarkdownIt

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1f2328; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border: 1px solid #d1d9e0; padding: 0.3rem 0.7rem; }
code, pre { background: #f6f8fa; border-radius: 4px; padding: 0.1rem 0.3rem; }
pre { padding: 0.7rem; overflow-x: auto; }
blockquote { border-left: 4px solid #d1242f; margin-left: 0; padding-left: 1rem; }
img { max-width: 100%; }
details { margin: 0.7rem 0; }
"""
# GitHub's own Markdown, which other renderers do not know: alerts become words, and charts give way to the plots.
ALERTS = {"[!CAUTION]": "**Caution**\n>", "[!NOTE]": "**Note**\n>"}


def render_page(title: str, page: str, card: str, plots: Mapping[str, Path]) -> str:
    """Write a report as HTML with everything in it.

    Parameters
    ----------
    title : str
    page : str
        The report's Markdown, as `lifecycle.views.report_page.render_report` writes it.
    card : str
        The model card's Markdown, whose pictures are left out.
    plots : mapping of str to Path
        Name -> PNG file.

    Returns
    -------
    str
    """
    for alert, words in ALERTS.items():
        page = page.replace(alert, words)
    # The report escapes foreign text itself, and its own HTML are the folds.
    renderer = MarkdownIt("commonmark", {"html": True}).enable("table")
    pictures = "\n".join(_embed(name, path) for name, path in plots.items())
    body = renderer.render(_drop_fences(page, "```mermaid"))
    described = MarkdownIt("commonmark", {"html": False}).enable("table").render(_drop_pictures(card))
    head = f'<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n<style>{STYLE}</style>'
    body = f"{body}\n<h2>Plots</h2>\n{pictures}\n<hr>\n{described}"
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def _embed(name: str, path: Path) -> str:
    """Write a picture into the page."""
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(name)}" src="data:image/png;base64,{content}">'


def _drop_fences(page: str, opening: str) -> str:
    """Drop fenced blocks of one kind."""
    kept: list[str] = []
    inside = False
    for line in page.splitlines():
        if line.startswith(opening):
            inside = True
        if not inside:
            kept.append(line)
        elif line == "```":
            inside = False
    return "\n".join(kept)


def _drop_pictures(card: str) -> str:
    """Drop the lines that show a picture: it stands above already."""
    return "\n".join(line for line in card.splitlines() if not line.lstrip().startswith("!["))
