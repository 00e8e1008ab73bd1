"""Pages that need no server: Markdown as HTML, with all that belongs to it inside."""

import base64
import html
from collections.abc import Mapping

from markdown_it import MarkdownIt

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --dim: #59636e; --paper: #fff; --line: #d1d9e0; --wash: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --dim: #9198a1; --paper: #0d1117; --line: #3d444d; --wash: #161b22; }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--ink); background: var(--paper); overflow-wrap: anywhere; }
table { border-collapse: collapse; display: block; overflow-x: auto; overflow-wrap: normal; }
th, td { border: 1px solid var(--line); padding: 0.3rem 0.7rem; }
code, pre { background: var(--wash); border-radius: 4px; padding: 0.1rem 0.3rem; }
pre { padding: 0.7rem; overflow-x: auto; }
blockquote { border-left: 4px solid #d1242f; margin-left: 0; padding-left: 1rem; }
img { max-width: 100%; }
details { margin: 0.7rem 0; }
"""
# Nothing is loaded and no script runs, whatever a text should smuggle in.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# GitHub's own Markdown, which other renderers do not know: alerts become words, and charts give way to the plots.
ALERTS = {"[!CAUTION]": "**Caution**\n>", "[!NOTE]": "**Note**\n>"}


def render_page(title: str, page: str, card: str, plots: Mapping[str, bytes]) -> str:
    """Write a report as HTML with everything in it.

    Parameters
    ----------
    title : str
    page : str
        The report's Markdown, as `lifecycle.views.report_page.render_report` writes it.
    card : str
        The model card's Markdown, whose pictures are left out.
    plots : mapping of str to bytes
        Name -> PNG.

    Returns
    -------
    str
    """
    for alert, words in ALERTS.items():
        page = page.replace(alert, words)
    pictures = "\n".join(_embed(name, picture) for name, picture in plots.items())
    body = render_markdown(_drop_fences(page, "```mermaid"))
    described = MarkdownIt("commonmark", {"html": False}).enable("table").render(_drop_pictures(card))
    return frame_page(title, f"{body}\n<h2>Plots</h2>\n{pictures}\n<hr>\n{described}")


def render_markdown(page: str) -> str:
    """Render Markdown whose foreign text is escaped already, and whose HTML is our own."""
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(page)


def frame_page(title: str, body: str, style: str = "") -> str:
    """Write a page around its body, which needs nothing from elsewhere."""
    head = "\n".join(
        [
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            # Or else a browser asks for one.
            '<link rel="icon" href="data:,">',
            f"<title>{html.escape(title)}</title>",
            f"<style>{STYLE}{style}</style>",
        ]
    )
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def _embed(name: str, picture: bytes) -> str:
    """Write a picture into the page."""
    content = base64.b64encode(picture).decode()
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
