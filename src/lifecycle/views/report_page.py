"""The report's page, in Markdown as GitHub shows it: a person decides from its first screen.

It is made of the report's facts alone, which may come from a stranger's fork: every text passes through
`lifecycle.views.markdown`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lifecycle.comparison.lock import DIFFERENT, STALE, UNAVAILABLE, write_mend
from lifecycle.repository import LOCK
from lifecycle.views.markdown import (
    NOTHING,
    align_numbers,
    escape_text,
    fold_away,
    keep_name,
    quote_code,
    quote_value,
    shorten_hash,
    write_table,
)
from lifecycle.views.numbers import format_number, format_share
from lifecycle.views.report_details import draw_chart, write_data, write_folds, write_importance, write_origin

# GitHub takes 65,536 characters; the rest is for what a bot puts around the page.
MOST_CHARACTERS = 60_000
MOST_WORSE, MOST_LINES = 8, 6
LOCK_WORDS = {
    STALE: "is stale",
    DIFFERENT: "is different from what a run makes",
    UNAVAILABLE: "names bytes that are unavailable",
}
FIGURES = ("base", "value", "low", "high", "baseline")
MARKS = {"pass": "✅", "refuse": "❌", "unchanged": "⚪"}
Facts = Mapping[str, Any]


def render_report(report: Facts) -> str:
    """Write the page.

    Parameters
    ----------
    report : Mapping
        As `lifecycle.views.report_facts.Report` describes it.

    Returns
    -------
    str
        Markdown of less than 60,000 characters, whose first line is the verdict with both commits.
    """
    changed = report["outcome"] != "unchanged"
    sections = [
        write_verdict(report),
        *_write_alerts(report),
        *_write_metrics(report),
        *(_write_slices(report) if changed else []),
        *_write_changes(report),
        *(draw_chart(report) if changed else []),
        *(part for write in (write_data, write_folds, write_importance) if changed for part in write(report)),
        *write_origin(report),
    ]
    return _fit(sections)


def _fit(sections: Sequence[str]) -> str:
    """Join as many sections as a comment can hold."""
    page, left_out = "", 0
    for section in sections:
        if len(page) + len(section) > MOST_CHARACTERS - 200:
            left_out += 1
        else:
            page += f"{section}\n\n"
    return page + (f"_{left_out} parts are left out, they are too long; see report.json._\n" if left_out else "")


def write_verdict(report: Facts) -> str:
    """Write the first line: the model where there are several, the verdict, and both commits."""
    outcome = report["outcome"]
    said = {
        "pass": "the challenger may replace the champion",
        "refuse": escape_text(next(iter(report["reasons"]), "")),
        "unchanged": "the model is the champion, byte for byte",
    }
    commits = f"{shorten_hash(report['base_commit'])} → {shorten_hash(report['commit'])}"
    uncommitted = " with uncommitted changes" if report["uncommitted"] else ""
    mark, words = MARKS.get(outcome, "❔"), said.get(outcome, "this is no verdict")
    model = f"{escape_text(report['model'])}: " if report["model"] else ""
    return f"## {mark} {model}{escape_text(outcome)}: {words} ({commits}{uncommitted})"


def _write_alerts(report: Facts) -> list[str]:
    """Write what failed, then what a person should know."""
    notes = [escape_text(note) for note in report["notes"]]
    if not _has_base(report):
        notes.append("The base has no metrics: everything is new, and is compared with the baseline.")
    elif not report["same_test_rows"]:
        notes.append(
            "Before and after were measured on different test rows, so the tables cannot say what got better. "
            "The gate compares both models on the same rows."
        )
    lock = report["lock"]
    mend = write_mend(lock["state"], keep_name(report["model"])) if lock else None
    faults = [escape_text(reason) for reason in report["reasons"]]
    if lock and mend:
        why = "; ".join(escape_text(reason) for reason in lock["reasons"][:MOST_LINES])
        faults.append(f"{quote_code(LOCK)} {LOCK_WORDS[lock['state']]}, so this cannot be merged as it is: {why}")
    elif lock:
        notes += [escape_text(reason) for reason in lock["reasons"]]
    how = f"Mend {quote_code(LOCK)} with the label `reproduce` on the pull request, or by hand:"
    return [
        *_write_alert("CAUTION", faults),
        *([f"{how}\n\n```sh\n{mend}\n```"] if mend else []),
        *_write_alert("NOTE", notes),
    ]


def _write_alert(kind: str, lines: Sequence[str]) -> list[str]:
    """Write a coloured block of list items."""
    shown = [f"> - {line}" for line in lines[:MOST_LINES]]
    more = [f"> - {len(lines) - MOST_LINES} more are in report.json."] if len(lines) > MOST_LINES else []
    return ["\n".join([f"> [!{kind}]", *shown, *more])] if lines else []


def _has_base(report: Facts) -> bool:
    """Tell whether the base was measured."""
    return any(row["base"] is not None for row in report["metrics"])


def _write_metrics(report: Facts) -> list[str]:
    """Write the metrics: the first one decides and comes first, then what got worse."""
    has_base, (first, *others) = _has_base(report), report["metrics"]
    ordered = [first, *sorted(others, key=lambda row: (_compute_worsening(row, has_base) or 0) <= 0)]
    rows = []
    for row in ordered:
        base, value, low, high, baseline = align_numbers([row[key] for key in FIGURES])
        name = f"{'↓' if row['lower_is_better'] else '↑'} {quote_code(row['name'])}"
        before = [base] if has_base else []
        change = describe_change(row, has_base, report["tolerance"])
        rows.append([name, *before, f"**{value}**", f"{low} to {high}", change, baseline])
    names = ["before", "after"] if has_base else ["model"]
    interval, change = f"{format_share(report['confidence'])} interval", "change" if has_base else "to the baseline"
    table = write_table(f"l{'r' * len(names)}rlr", ["metric", *names, interval, change, "baseline"], rows)
    if report["outcome"] == "unchanged" and all(row["difference"] == 0 for row in ordered):
        return [fold_away("Metrics: as before", table)]
    return [f"{table}\n\n{_explain_metrics(report)}"]


def _explain_metrics(report: Facts) -> str:
    """Say how to read the metrics, and what the model costs."""
    sizes = [report[key] for key in ("base_model_bytes", "model_bytes")]
    former, size = (f"{format_number(size / 1e6)} MB" if size else NOTHING for size in sizes)
    latency = report["figures"].get("latency_ms")
    tolerance, champion = format_share(report["tolerance"]), quote_code(report["champion"])
    sentences = [
        f"↓ lower is better, ↑ higher is better; 🟢 better, 🔴 worse by more than {tolerance}.",
        f"The gate compared with {champion}; the baseline is the trivial model.",
        f"The model has {size} (before: {former}).",
        *([f"One prediction takes {format_number(latency)} ms."] if latency is not None else []),
    ]
    return " ".join(sentences)


def _compute_worsening(row: Facts, has_base: bool) -> float | None:
    """Compute how much worse a metric is than the base's, or else the baseline's; None if that cannot be said."""
    gap = row["difference"]
    if not has_base and None not in (row["value"], row["baseline"]):
        gap = row["value"] - row["baseline"]
    return gap if gap is None or row["lower_is_better"] else -gap


def describe_change(row: Facts, has_base: bool, tolerance: float) -> str:
    """Say how a metric stands against the base's value, or the baseline's where there is no base.

    Parameters
    ----------
    row : Mapping
        A metric's facts.
    has_base : bool
    tolerance : float
        Share of the former value; a larger change gets a mark.

    Returns
    -------
    str
    """
    worsening, former = _compute_worsening(row, has_base), row["base" if has_base else "baseline"]
    if worsening is None:
        return "new" if former is None else "other rows"
    if worsening == 0:
        return "same"
    gap = align_numbers([worsening if row["lower_is_better"] else -worsening, row["value"], former])[0]
    # A share makes sense of an error; a score has no zero to count from.
    share = f" ({format_share(abs(worsening / former))})" if row["lower_is_better"] and former else ""
    mark = ("🔴 " if worsening > 0 else "🟢 ") if abs(worsening) > tolerance * abs(former) else ""
    return f"{mark}{'' if gap.startswith('-') else '+'}{gap}{share} {'worse' if worsening > 0 else 'better'}"


def _write_slices(report: Facts) -> list[str]:
    """Write the slices folded away, and before them openly those that are much worse."""
    slices, tolerance = report["slices"], report["slice_tolerance"]
    if not slices:
        return []
    table = _tabulate_slices(slices, tolerance)
    worse = [row for row in slices if _is_slice_worse(row, tolerance)]
    words = f"{len(worse) or 'none'} of {len(slices)} worse by more than {format_share(tolerance)}"
    title = f"By slice: {words}" if report["same_test_rows"] else "By slice"
    metric = quote_code(report["metrics"][0]["name"])
    folded = [fold_away(title, f"{metric} by slice:", table)]
    if not worse:
        return folded
    opened = _tabulate_slices(worse[:MOST_WORSE], tolerance)
    return [
        f"### For whom it is worse\n\n{metric} by slice, the worst {len(worse[:MOST_WORSE])}:\n\n{opened}",
        *folded,
    ]


def _tabulate_slices(slices: Sequence[Facts], tolerance: float) -> str:
    """Lay slices out as a table."""
    has_base = any(row["base"] is not None for row in slices)
    values = iter(align_numbers([row[key] for row in slices for key in ("base", "value")]))
    rows = []
    for row in slices:
        before, after = next(values), next(values)
        name = f"{escape_text(row['slice'])}: {escape_text(row['group'])}"
        before_ = [before] if has_base else []
        rows.append([name, format_number(row["rows"]), *before_, after, _describe_slice(row, tolerance)])
    names = ["before", "after"] if has_base else ["model"]
    return write_table(f"lr{'r' * len(names)}l", ["slice", "test rows", *names, "change" if has_base else ""], rows)


def _is_slice_worse(row: Facts, tolerance: float) -> bool:
    """Tell whether a slice with enough rows is worse than the tolerance."""
    return bool(row["judged"] and row["worse_by"] is not None and row["worse_by"] > tolerance)


def _describe_slice(row: Facts, tolerance: float) -> str:
    """Say how a slice changed, and whether that can be judged."""
    words, share = [] if row["judged"] else ["too few rows to judge"], row["worse_by"]
    if share is not None:
        change = f"{format_share(abs(share))} {'worse' if share > 0 else 'better'}" if share else "same"
        words.insert(0, f"🔴 {change}" if _is_slice_worse(row, tolerance) else change)
    return ", ".join(words)


def _write_changes(report: Facts) -> list[str]:
    """Write what was changed, and which stages that reaches."""
    changes = [("", row) for row in report["parameters"]] + [("library ", row) for row in report["libraries"]]
    rows = [
        [f"{kind}{quote_code(row['name'])}", quote_value(row["base"]), quote_value(row["value"])]
        for kind, row in changes
    ]
    if report["base_data_hash"] not in (None, report["data_hash"]):
        rows.append(["data", shorten_hash(report["base_data_hash"]), shorten_hash(report["data_hash"])])
    former, months = (_list_months(report, side) for side in ("base_rows", "rows"))
    if former not in (NOTHING, months):
        rows.append(["months", former, months])
    stages = [
        [quote_code(row["stage"]), escape_text(row["cause"]), ", ".join(quote_code(name) for name in row["what"][:6])]
        for row in report["stages"]
    ]
    blocks = [write_table("lll", ["what", "before", "after"], rows)] if rows else []
    blocks += [write_table("lll", ["stage", "ran because of", "namely"], stages)] if stages else []
    return ["\n\n".join(["### What was changed", *blocks])] if blocks else []


def _list_months(report: Facts, side: str) -> str:
    """Write the months that one side has, as a range where they are many."""
    months = [escape_text(row["month"]) for row in report["months"] if row[side] is not None] or [NOTHING]
    return ", ".join(months) if len(months) < 4 else f"{months[0]} to {months[-1]} ({len(months)})"
