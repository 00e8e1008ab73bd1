"""The monitor's page, in Markdown as GitHub shows it, and its table for a terminal.

Versions, variants and reasons come from a log, so every text passes through `lifecycle.views.markdown`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lifecycle.metric_names import is_lower_better
from lifecycle.views.markdown import NOTHING, align_numbers, escape_text, quote_code, write_table
from lifecycle.views.numbers import format_number, format_share
from lifecycle.views.terminal import align_columns

SAID = {
    "ok": "✅ ok: production is as it was tested",
    "drift": "🟠 drift: what the model sees has moved",
    "degraded": "🔴 degraded: the model does worse than it was tested",
    "stale": "⚪ stale: nothing was predicted lately",
    "too_little_data": "⚪ too little data: nothing can be concluded",
}
Report = Mapping[str, Any]


def render_monitor(report: Report) -> str:
    """Write the page.

    Parameters
    ----------
    report : Mapping
        As `lifecycle.monitor.monitor` makes it.

    Returns
    -------
    str
        Markdown, whose first line is the verdict.
    """
    until, days = datetime.fromisoformat(report["until"]), report["window"]["days"]
    sections = [
        f"## {SAID[report['verdict']]}",
        f"{days:g} days until {until:%Y-%m-%d %H:%M} UTC.",
        "\n".join(["> [!CAUTION]", *(f"> - {escape_text(reason)}" for reason in report["reasons"])])
        if report["reasons"]
        else "",
        *_write_metrics(report),
        *_write_versions(report),
        *_write_drift(report),
        *_write_left_out(report),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _write_metrics(report: Report) -> list[str]:
    """Write the judged version's metrics beside those of the test."""
    judged = next((row for row in report["versions"] if row["judged"]), None)
    if not judged or not judged["metrics"]:
        return []
    rows = []
    for name, row in judged["metrics"].items():
        live, low, high, tested = align_numbers([row[key] for key in ("value", "low", "high", "tested")])
        arrow = "↓" if is_lower_better(name) else "↑"
        rows.append([f"{arrow} {quote_code(name)}", f"**{live}**", f"{low} to {high}", tested])
    interval = f"{format_share(report['confidence'])} interval"
    measured = f"{format_number(judged['measured'])} of {format_number(judged['labelled'])} labelled predictions"
    return [
        f"### How well {quote_code(judged['version'])} does",
        write_table("lrrr", ["metric", "live", interval, "tested"], rows),
        f"Measured on {measured}; ↓ lower is better, ↑ higher is better. The first metric decides.",
    ]


def _write_versions(report: Report) -> list[str]:
    """Write what each version did: how much, how far from the truth, how fast, and since when."""
    if not report["versions"]:
        return []
    rows = [
        [
            f"{quote_code(row['version'])} {escape_text(row['variant'])}",
            format_number(row["predictions"]),
            format_number(row["labelled"]),
            _write_interval(row["metrics"].get(report["metric"])),
            _write_latency(row["latency_ms"]),
            row["last"].replace("T", " ")[:16],
            NOTHING if row["label_lag_hours"] is None else f"{format_number(row['label_lag_hours'])} h",
        ]
        for row in report["versions"]
    ]
    header = ["version", "predictions", "labelled", report["metric"], "p50, p99 ms", "last", "labels come after"]
    requests = report["requests"]
    broken = "The log holds predictions alone, so broken requests are not counted."
    if requests["total"]:
        broken = (
            f"Of {format_number(requests['total'])} requests {format_number(requests['broken'])} broke "
            f"({format_share(requests['broken_share'])}), and {format_number(requests['refused'])} were refused."
        )
    return ["### What each version did", write_table("lrrrrll", header, rows), broken]


def _write_interval(row: Mapping[str, float | None] | None) -> str:
    """Write a figure with its interval."""
    if not row:
        return NOTHING
    value, low, high = align_numbers([row[key] for key in ("value", "low", "high")])
    return f"{value} ({low} to {high})"


def _write_latency(latency: Mapping[str, float | None]) -> str:
    """Write the median and the 99th percentile."""
    return ", ".join(format_number(latency[key]) for key in ("p50", "p99"))


def _write_drift(report: Report) -> list[str]:
    """Write how far each value lies from training, and how far chance takes it; the farthest first."""
    if not report["drift"]:
        return []
    rows = [
        [
            f"{'🔴 ' if row['drifted'] else ''}{quote_code(row['name'])}",
            *(write_effect(row[key]) for key in ("distance", "distance_noise", "psi", "psi_noise")),
            *(format_share(row[key]) for key in ("missing", "base_missing")),
        ]
        for row in rank_drift(report)
    ]
    header = ["value", "distance", "by chance", "stability index", "by chance", "missing", "in training"]
    return [
        "### What it sees, against what it was trained on",
        write_table("lrrrrrr", header, rows),
        "Distance: Wasserstein's, in standard deviations of training. Stability index: PSI over tenths. "
        "By chance: what as many rows of training itself may reach. Predictions are held against those of the test.",
    ]


def write_effect(value: float | None) -> str:
    """Write an effect size: what lies behind its thousandths matters to nobody."""
    return NOTHING if value is None else f"{value:.3f}"


def rank_drift(report: Report) -> list[Mapping[str, Any]]:
    """Rank the values: those that drifted first, then by their distance."""
    return sorted(report["drift"], key=lambda row: (not row["drifted"], -(row["distance"] or 0)))


def _write_left_out(report: Report) -> list[str]:
    """Write what was left out, and why."""
    if not report["left_out"]:
        return []
    rows = [[escape_text(reason), format_number(count)] for reason, count in report["left_out"].items()]
    return ["### What was left out", write_table("lr", ["because", "count"], rows)]


def format_monitor(report: Report) -> str:
    """Write the verdict, the versions and the reasons for a terminal of 80 columns."""
    header = ["version", "variant", "predictions", "labelled", "live", "tested"]
    rows = [
        [
            f"{row['version'][:16]}{' *' if row['judged'] else ''}",
            row["variant"][:12],
            *(format_number(row[key]) for key in ("predictions", "labelled")),
            *(format_number(row["metrics"].get(report["metric"], {}).get(key)) for key in ("value", "tested")),
        ]
        for row in report["versions"]
    ]
    lines = align_columns([header, *rows]) if rows else []
    note = [f"* judged, by {report['metric']}"] if rows else []
    reasons = [f"- {reason}" for reason in report["reasons"]]
    return "\n".join([*lines, *note, f"verdict: {report['verdict']}", *reasons])
