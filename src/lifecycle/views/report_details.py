"""The parts of the report's page that only some readers want: the chart, the data, and how the model came about.

As in `lifecycle.views.report_page`, every text passes through `lifecycle.views.markdown`.
"""

from collections.abc import Mapping
from typing import Any

from lifecycle.views.markdown import (
    NOTHING,
    align_numbers,
    escape_text,
    fold_away,
    keep_hash,
    keep_name,
    quote_code,
    quote_label,
    quote_value,
    write_table,
)
from lifecycle.views.numbers import format_number, format_share

MOST_BARS = 10
# Blue bars and an orange line, in light and dark pages alike.
CHART_STYLE = '%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#4c78a8, #f58518"}}}}%%'
Facts = Mapping[str, Any]


def draw_chart(report: Facts) -> list[str]:
    """Draw the first metric overall and by slice: bars after the change, a line before it."""
    first = report["metrics"][0]
    judged = [row for row in report["slices"] if row["judged"] and row["value"] is not None]
    # Stable: without a base in their own order, the worst first.
    largest = sorted(judged, key=lambda row: -abs(row["worse_by"] or 0))[:MOST_BARS]
    shown = [row for row in [first, *largest] if row["value"] is not None]
    if not shown:
        return []
    labels = ["overall" if row is first else f"{row['slice']} {row['group']}" for row in shown]
    has_base = bool(report["same_test_rows"]) and all(row["base"] is not None for row in shown)
    title = f"{first['name']}: bars after, line before" if has_base else f"{first['name']} by slice"
    top = max(abs(row[key]) for row in shown for key in ("value", "base") if row[key] is not None) or 1
    bottom = min(0.0, *(row["value"] for row in shown))
    bars, line = (", ".join(f"{row[key] or 0:.6g}" for row in shown) for key in ("value", "base"))
    lines = [
        f"```mermaid\n{CHART_STYLE}",
        "xychart-beta horizontal",
        f"    title {quote_label(title, 100)}",
        f"    x-axis [{', '.join(quote_label(label) for label in labels)}]",
        f"    y-axis {bottom:.6g} --> {1.1 * top:.6g}",
        f"    bar [{bars}]",
        *([f"    line [{line}]"] if has_base else []),
        "```",
    ]
    return ["\n".join(lines)]


def write_data(report: Facts) -> list[str]:
    """Write the rows by month, and those left out by reason."""
    months = [row for row in report["months"] if row["rows"] is not None]
    if not report["months"]:
        return []
    rows, clean = (sum(row[key] for row in months) for key in ("rows", "clean"))
    made = sum(row["synthetic"] for row in months)
    left = format_share((rows - clean) / rows) if rows else NOTHING
    title = f"Data: {format_number(rows)} rows in {len(months)} months, {left} left out, {made} months synthetic"
    table = [
        [
            escape_text(row["month"]),
            escape_text(row["part"]),
            "synthetic" if row["synthetic"] else "real",
            *(format_number(row[key]) for key in ("base_rows", "rows", "base_clean", "clean")),
        ]
        for row in report["months"]
    ]
    header = ["month", "used to", "", "rows before", "rows after", "kept before", "kept after"]
    reasons = [
        [escape_text(row["reason"]), format_number(row["base_rows"]), format_number(row["rows"])]
        for row in report["left_out"]
    ]
    blocks = [
        write_table("lllrrrr", header, table),
        write_table("lrr", ["left out because", "before", "after"], reasons),
    ]
    return [fold_away(title, *blocks), *_write_drift(report)]


def _write_drift(report: Facts) -> list[str]:
    """Write how far the values moved from the base's."""
    drift = report["drift"]
    if not drift:
        return []
    rows = [
        [
            quote_code(row["name"]),
            format_number(row["distance"]),
            format_number(row["psi"]),
            *(NOTHING if row[key] is None else format_share(row[key]) for key in ("base_missing", "missing")),
        ]
        for row in drift
    ]
    farthest = drift[0]
    title = f"Drift: at most {format_number(farthest['distance'])} standard deviations"
    explained = (
        "Training rows, and the predictions of the test rows, against the base's: Wasserstein distance in the base's "
        "standard deviations, and the population stability index (above 0.25 a population is taken to have shifted)."
    )
    header = ["values of", "distance", "stability index", "missing before", "missing after"]
    return [fold_away(title, explained, write_table("lrrrr", header, rows))]


def write_folds(report: Facts) -> list[str]:
    """Write the first metric fold by fold, forward in time."""
    folds = report["cross_validation"]
    if not folds:
        return []
    values = iter(align_numbers([row[key] for row in folds for key in ("base", "value")]))
    rows = [
        [format_number(row[key]) for key in ("fold", "train_rows", "test_rows")] + [next(values), next(values)]
        for row in folds
    ]
    metric = quote_code(report["metrics"][0]["name"])
    header = ["fold", "training rows", "test rows", "before", "after"]
    return [fold_away("Cross-validation forward in time", f"{metric}:", write_table("lrrrr", header, rows))]


def write_importance(report: Facts) -> list[str]:
    """Write what the model leans on."""
    importance = report["importance"]
    if not importance:
        return []
    values = iter(align_numbers([row[key] for row in importance for key in ("base", "value", "spread")]))
    rows = [[quote_code(row["feature"]), next(values), next(values), f"± {next(values)}"] for row in importance]
    metric = quote_code(report["metrics"][0]["name"])
    return [
        fold_away(
            "What the model leans on",
            f"How much worse {metric} gets when a feature is shuffled:",
            write_table("lrrr", ["feature", "before", "after", "spread"], rows),
        )
    ]


def write_origin(report: Facts) -> list[str]:
    """Say how to get this report again, and which bytes it is about."""
    base = keep_hash(report["base_commit"])
    model = keep_name(report["model"])
    option = f" MODEL={model}" if model else ""
    commands = [
        f"git checkout {keep_hash(report['commit'])}",
        f"make pipeline{option}",
        f"make report{option} BASE={base}" if base else f"make report{option}",
    ]
    script = "\n".join(["```sh", *commands, "```"])
    uncommitted = ["The uncommitted changes are in no commit yet, so these commands miss them."]
    rows = [
        [key.partition("_")[0], quote_value(report[f"base_{key}"]), quote_value(report[key])]
        for key in ("commit", "model_hash", "data_hash", "lock_hash")
    ]
    ran = report["lock"] and ", ".join(quote_code(stage) for stage in report["lock"]["ran"])
    stages = [f"Stages that ran for this report: {ran or 'none; all results stand in the base already'}."]
    hashes = write_table("lll", ["hash of", "before", "after"], rows)
    return [
        fold_away(
            "Reproduce it",
            script,
            *(uncommitted if report["uncommitted"] else []),
            *(stages if report["lock"] else []),
            hashes,
        )
    ]
