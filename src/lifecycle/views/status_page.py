"""The status page: what serves, how it does, and what happened lately; one page without a script.

Tags, logs, titles and reasons are other people's texts, so each passes through `lifecycle.views.markdown` or
`html.escape`.
"""

import html
from collections.abc import Sequence
from datetime import datetime

from lifecycle.metric_names import is_lower_better
from lifecycle.registry import PRODUCTION
from lifecycle.views.html import frame_page, render_markdown
from lifecycle.views.markdown import (
    NOTHING,
    align_numbers,
    clean_text,
    escape_text,
    quote_code,
    shorten_hash,
    write_table,
)
from lifecycle.views.numbers import format_number, format_share
from lifecycle.views.status_facts import Live, MonitorReport, Promotion, Retraining, Status, Tested, convert_to_utc
from lifecycle.views.status_plot import draw_live_error, list_days, render_svg

STYLE = """
h1 { line-height: 1.2; margin-bottom: 0; }
h2 { margin: 2.2rem 0 0.6rem; }
.written, .note { color: var(--dim); font-size: 0.9rem; margin: 0.2rem 0 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 0.8rem;
  margin: 1.2rem 0; padding: 0; }
.tile { border: 1px solid var(--line); border-left: 5px solid var(--line); border-radius: 6px;
  padding: 0.6rem 0.9rem; }
.tile.good { border-left-color: #1a7f37; }
.tile.doubtful { border-left-color: #bf8700; }
.tile.bad { border-left-color: #d1242f; }
.tile h2 { font-size: 0.9rem; font-weight: normal; color: var(--dim); margin: 0; }
.tile p { margin: 0; }
.tile .value { font-size: 1.35rem; font-weight: 600; line-height: 1.35; }
figure { margin: 0; }
figure svg { width: 100%; height: auto; }
th, td { white-space: nowrap; }
.long { display: inline-block; white-space: normal; min-width: 12rem; max-width: 26rem; }
.narrow { display: none; }
@media (max-width: 44rem) { .wide { display: none; } .narrow { display: block; } }
@media (prefers-color-scheme: dark) {
  figure [fill="#222222"], figure [fill="#222"] { fill: #e6edf3; }
  figure [stroke="#222222"], figure [stroke="#222"] { stroke: #e6edf3; }
  figure [fill="#6B6B6B"] { fill: #9198a1; }
  figure [stroke="#6B6B6B"] { stroke: #9198a1; }
  figure [stroke="#EDEDED"] { stroke: #30363d; }
  figure [fill="#0072B2"] { fill: #4aa8e0; }
  figure [stroke="#0072B2"] { stroke: #4aa8e0; }
}
"""
VERDICTS = {
    "ok": ("ok", "good"),
    "drift": ("drift", "doubtful"),
    "degraded": ("degraded", "bad"),
    "stale": ("stale", "doubtful"),
    "too_little_data": ("too little data", "doubtful"),
}
WIDTHS = {"wide": 880, "narrow": 330}
# Of a table, and of the reports whose drift stands side by side.
MOST_ROWS, MOST_REPORTS = 30, 5
NO_VERSION = "No version is registered yet. To make one: `python -m lifecycle.registry register`"
NO_CHAMPION = (
    "No version was promoted yet. A deploy to production does so, or: `python -m lifecycle.registry promote VERSION`"
)
NO_REPORT = (
    "There is no report of the monitor yet. `make monitor` writes out/monitor.json; with such files in a folder: "
    "`make status MONITOR=folder`"
)
NO_DAYS = "No day has enough labels yet. They come with time: the monitor looks for them each time that it runs."
NO_DRIFT = "The last report measured no drift: it had too few predictions."
NO_RETRAINING = "No model was retrained yet. The workflow Retrain proposes one in a pull request; start it by hand."


def render_status(status: Status) -> str:
    """Write the page.

    Parameters
    ----------
    status : Status

    Returns
    -------
    str
        HTML with everything in it.
    """
    title = f"Status of {status.name}"
    sections = [
        ("Live error", _show_live_error(status)),
        ("Champions", _show_promotions(status)),
        ("Versions", _show_versions(status)),
        ("Drift", _show_drift(status.reports)),
        ("Retraining", _show_retrainings(status)),
    ]
    body = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="written">As of {_write_time(status.written)} UTC</p>',
        f'<div class="tiles">{"".join(_show_tiles(status))}</div>',
        *(f"<h2>{heading}</h2>\n{content}" for heading, content in sections),
    ]
    return frame_page(title, "\n".join(body), STYLE)


def _show_tiles(status: Status) -> list[str]:
    """Show the first screen: champion, errors, verdict, last retraining, last release or rollback."""
    return [
        _show_champion(status),
        _show_tested(status),
        _show_live(status.reports),
        _show_verdict(status.reports),
        _show_last_promotion(status.promotions),
        _show_last_retraining(status.retrainings),
    ]


def _show_tile(label: str, value: str, note: str, kind: str = "") -> str:
    """Show one figure; ``kind`` colours it: good, doubtful, bad, or nothing."""
    shown = (html.escape(clean_text(text)) for text in (label, value, note))
    heading, figure, said = shown
    return (
        f'<section class="tile {kind}"><h2>{heading}</h2><p class="value">{figure}</p>'
        f'<p class="note">{said}</p></section>'
    )


def _show_champion(status: Status) -> str:
    """Show which model is in production, and since when."""
    if status.champion is None:
        return _show_tile("Champion", "none", "no model is registered or committed yet")
    if status.champion.version is None:
        return _show_tile("Champion", status.champion.revision[:7], "the model of the main branch; none is promoted")
    last = next((one for one in reversed(status.promotions) if one.version == status.champion.version), None)
    since = f"since {_write_time(last.date)} UTC" if last else "since a time that its tag does not say"
    return _show_tile("Champion", status.champion.version, since)


def _show_tested(status: Status) -> str:
    """Show the champion's first metric in the test."""
    name, tested = find_tested(status)
    if tested is None:
        return _show_tile("Tested error", NOTHING, "no figures are committed with the champion")
    value, baseline = align_numbers([tested.value, tested.baseline])
    note = f"interval {_write_interval(tested)}; baseline {baseline}"
    return _show_tile(f"Tested: {_name(name)}", value, note)


def find_tested(status: Status) -> tuple[str, Tested | None]:
    """Find the champion's first metric, and what it was in the test."""
    figures = status.figures.get(status.champion.revision, {}) if status.champion else {}
    return next(iter(figures.items()), ("", None))


def _show_live(reports: Sequence[MonitorReport]) -> str:
    """Show the first metric on the labels of the last report, against that of the test."""
    last = reports[-1] if reports else None
    judged = last.find_judged() if last else None
    live = judged.metrics.get(last.metric) if last and judged else None
    if last is None or judged is None or live is None or live.value is None:
        return _show_tile("Live error", NOTHING, "no report of the monitor has one yet")
    notes = [f"{judged.version}, interval {_write_interval(live)}"]
    if live.tested:
        gap = (live.value - live.tested) / abs(live.tested)
        is_worse = (gap > 0) == is_lower_better(last.metric)
        than = f"{format_share(abs(gap))} {'worse' if is_worse else 'better'} than tested"
        notes.append(than if gap else "as tested")
    kind = {"ok": "good", "degraded": "bad"}.get(last.verdict, "")
    return _show_tile(f"Live: {_name(last.metric)}", format_number(live.value), "; ".join(notes), kind)


def _show_verdict(reports: Sequence[MonitorReport]) -> str:
    """Show what the monitor concluded last."""
    if not reports:
        return _show_tile("Monitor", NOTHING, "there is no report yet")
    last = reports[-1]
    said, kind = VERDICTS.get(last.verdict, (last.verdict, "doubtful"))
    more = f" (and {len(last.reasons) - 1} more)" if len(last.reasons) > 1 else ""
    reason = f": {clean_text(last.reasons[0], 120)}{more}" if last.reasons else ""
    return _show_tile("Monitor", said, f"{_write_time(last.until)} UTC{reason}", kind)


def _show_last_promotion(promotions: Sequence[Promotion]) -> str:
    """Show the last release or rollback."""
    if not promotions:
        return _show_tile("Last release", NOTHING, "no version was promoted yet")
    last = promotions[-1]
    label, kind = ("Last rollback", "doubtful") if last.is_rollback else ("Last release", "")
    value = f"to {last.version}" if last.is_rollback else last.version
    return _show_tile(label, value, f"{_write_time(last.date)} UTC, by {_name_author(last.author)}", kind)


def _show_last_retraining(retrainings: Sequence[Retraining]) -> str:
    """Show the last proposal to retrain."""
    if not retrainings:
        return _show_tile("Last retraining", NOTHING, "no proposal is known")
    last = retrainings[0]
    note = f"{_write_state(last)}, {_write_time(last.created_at)} UTC: {clean_text(last.title, 100)}"
    return _show_tile("Last retraining", f"#{last.number}", note)


def _show_live_error(status: Status) -> str:
    """Show the live error over time, or why there is none."""
    gaps = _list_gaps(status, "monitor")
    rows = list_days(status.reports)
    if not rows:
        return render_markdown("\n\n".join([*gaps, NO_DAYS if status.reports else NO_REPORT]))
    metric = status.reports[-1].metric
    figures = [
        f'<div class="{name}">{render_svg(draw_live_error(rows, status.promotions, metric, width))}</div>'
        for name, width in WIDTHS.items()
    ]
    better = "lower" if is_lower_better(metric) else "higher"
    said = (
        f"Dots: the labelled predictions of a day; {better} is better. "
        "Dashes: the test of the version that answered. Lines: a new champion, orange for a rollback. "
        "The axis does not begin at zero."
    )
    label = f"{_name(metric)} day by day, from {rows[0]['start']:%Y-%m-%d} to {rows[-1]['start']:%Y-%m-%d}"
    picture = f'<figure role="img" aria-label="{html.escape(label)}">{"".join(figures)}</figure>'
    return f'{render_markdown(chr(10).join(gaps))}{picture}\n<p class="note">{said}</p>'


def _show_promotions(status: Status) -> str:
    """Show who became champion, the newest first."""
    gaps = _list_gaps(status, "registry")
    if not status.promotions:
        return render_markdown("\n\n".join([*gaps, NO_CHAMPION]))
    shown = status.promotions[::-1][:MOST_ROWS]
    tested = _write_tested(status, [one.commit for one in shown])
    rows = [
        [
            _write_time(one.date),
            f"{'rolled back to' if one.is_rollback else 'released'} **{escape_text(one.version)}**",
            figure,
            interval,
            escape_text(_name_author(one.author)),
        ]
        for one, (figure, interval) in zip(shown, tested, strict=True)
    ]
    header = ["when (UTC)", "what", "tested", "interval", "by"]
    table = _render_table("llrrl", header, rows, len(status.promotions), gaps)
    name, _ = find_tested(status)
    better = "lower" if is_lower_better(name) else "higher"
    said = f"Tested: {html.escape(_name(name))} on the test rows of its commit; {better} is better." if name else ""
    return f'{table}<p class="note">{said}</p>'


def _show_versions(status: Status) -> str:
    """Show what is registered, the newest first."""
    if not status.versions:
        return render_markdown(NO_VERSION)
    shown = status.versions[:MOST_ROWS]
    tested = _write_tested(status, [one.commit for one in shown])
    rows = [
        [
            f"**{escape_text(one.name)}**",
            "retired" if one.retired else escape_text(", ".join(one.stages).replace(PRODUCTION, "champion")),
            figure,
            interval,
            _write_date(one.date),
            escape_text(_name_author(one.author)),
            shorten_hash(one.commit),
        ]
        for one, (figure, interval) in zip(shown, tested, strict=True)
    ]
    header = ["version", "state", "tested", "interval", "registered (UTC)", "by", "commit"]
    return _render_table("llrrlll", header, rows, len(status.versions), [])


def _show_drift(reports: Sequence[MonitorReport]) -> str:
    """Show how far each input lies from training, over the last reports; what drifted last comes first."""
    if not reports:
        return render_markdown(NO_REPORT)
    if not reports[-1].drift:
        return render_markdown(NO_DRIFT)
    shown = reports[: -MOST_REPORTS - 1 : -1]
    drifts = [{drift.name: drift for drift in report.drift} for report in shown]
    ranked = sorted(reports[-1].drift, key=lambda drift: (not drift.drifted, -(drift.distance or 0)))
    rows = []
    for drift in ranked[:MOST_ROWS]:
        cells = []
        for by_name in drifts:
            one = by_name.get(drift.name)
            effect = _write_effect(one.distance if one else None)
            cells.append(f"**{effect}** ⚠" if one and one.drifted else effect)
        last = [_write_effect(drift.distance_noise), _write_effect(drift.psi)]
        rows.append([quote_code(drift.name), *cells, *last])
    header = ["input", *(f"{report.until:%d %b}" for report in shown), "by chance", "stability index"]
    table = _render_table(f"l{'r' * (len(header) - 1)}", header, rows, len(ranked), [])
    said = (
        "Distance from training, in its standard deviations, by report; ⚠ drifted, which a changed share of missing "
        "values may do alone. By chance and stability index (PSI): of the last report."
    )
    return f'{table}<p class="note">{said}</p>'


def _show_retrainings(status: Status) -> str:
    """Show the proposals to retrain, the newest first."""
    gaps = _list_gaps(status, "retraining")
    if not status.retrainings:
        return render_markdown("\n\n".join(gaps or [NO_RETRAINING]))
    rows = [
        [
            f"#{one.number}",
            f'<span class="long">{escape_text(one.title)}</span>',
            _write_state(one),
            _write_time(one.created_at),
        ]
        for one in status.retrainings[:MOST_ROWS]
    ]
    header = ["pull request", "title", "state", "opened (UTC)"]
    return _render_table("rlll", header, rows, len(status.retrainings), gaps)


def _render_table(
    align: str, header: Sequence[str], rows: Sequence[Sequence[str]], total: int, gaps: Sequence[str]
) -> str:
    """Render a table, with what could not be read above it and how much it leaves out below."""
    left_out = [f"{format_number(total - len(rows))} more are not shown."] if total > len(rows) else []
    return render_markdown("\n\n".join([*gaps, write_table(align, header, rows), *left_out]))


def _list_gaps(status: Status, part: str) -> list[str]:
    """List what could not be read for a part, a paragraph each."""
    return [f"⚠ {escape_text(gap)}" for gap in status.gaps.get(part, ())]


def _write_tested(status: Status, commits: Sequence[str]) -> list[tuple[str, str]]:
    """Write what the champion's first metric was at each of some commits, and its interval."""
    name, _ = find_tested(status)
    found = [status.figures.get(commit, {}).get(name) for commit in commits]
    values = align_numbers([one and one.value for one in found])
    return [(value, _write_interval(one)) for value, one in zip(values, found, strict=True)]


def _write_interval(figure: Tested | Live | None) -> str:
    """Write the interval of a figure, with the decimals that the figure itself would have."""
    if figure is None or figure.low is None or figure.high is None:
        return NOTHING
    _, low, high = align_numbers([figure.value, figure.low, figure.high])
    return f"{low} to {high}"


def _write_effect(value: float | None) -> str:
    """Write an effect size: what lies behind its thousandths matters to nobody."""
    return NOTHING if value is None else f"{value:.3f}"


def _write_state(retraining: Retraining) -> str:
    """Write what became of a proposal."""
    if retraining.merged_at:
        return "merged"
    return "open" if retraining.state == "open" else "closed"


def _write_time(time: datetime) -> str:
    """Write a time of UTC."""
    return f"{time:%Y-%m-%d %H:%M}"


def _write_date(text: str) -> str:
    """Write a tag's date as a time of UTC, or as it stands where it is none."""
    try:
        return _write_time(convert_to_utc(datetime.fromisoformat(text)))
    except ValueError:
        return escape_text(text)


def _name(metric: str) -> str:
    """Write a metric's name as words."""
    return clean_text(metric.replace("_", " "))


def _name_author(author: str) -> str:
    """Name a tag's author without the address, which need not be on a public page."""
    return author.partition(" <")[0]
