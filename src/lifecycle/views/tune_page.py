"""What came of a search for hyperparameters, in Markdown and in a table for a terminal."""

from collections.abc import Mapping
from typing import Any

from lifecycle.metric_names import is_lower_better
from lifecycle.tuning.outcome import AS_GOOD, BASELINE, BETTER, DEFAULT, WORSE
from lifecycle.views.markdown import NOTHING, align_numbers, escape_text, quote_code, write_table
from lifecycle.views.numbers import format_number, format_share
from lifecycle.views.terminal import align_columns

MARKS = {BETTER: "✅", AS_GOOD: "⚪", DEFAULT: "⚪", WORSE: "🟠", BASELINE: "🔴"}
BEST_SHOWN = 10
Report = Mapping[str, Any]


def render_tune(report: Report) -> str:
    """Write the page.

    Parameters
    ----------
    report : Mapping
        As `lifecycle.tune.tune` makes it.

    Returns
    -------
    str
        Markdown, whose first line is the verdict.
    """
    sections = [
        f"## {MARKS[report['verdict']]} {escape_text(report['sentence'], 500)}",
        count_trials(report),
        _write_figures(report),
        explain_figures(report),
        *_write_values(report),
        *_write_importance(report),
        *_write_choices(report),
        *_write_trials(report),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def count_trials(report: Report) -> str:
    """Say how many trials there were, and what became of them."""
    states = [trial["state"] for trial in report["trials"]]
    parts = [
        f"{format_number(states.count(state))} {word}"
        for state, word in (("complete", "complete"), ("pruned", "stopped early"), ("fail", "failed"))
        if state in states
    ]
    minutes, seconds = divmod(round(report["seconds"]), 60)
    return f"{format_number(len(states))} trials in {minutes} min {seconds} s: {', '.join(parts)}."


def _write_figures(report: Report) -> str:
    """Write the first metric over the folds and on the test rows."""
    folds = align_numbers([None, report["default"]["folds"], report["winner"]["folds"]])
    # Each by itself: beside the baseline's decimals, default and winner would often look the same.
    test = [format_number(report["test"][name]) for name in ("baseline", "default", "winner")]
    arrow = "↓" if is_lower_better(report["metric"]) else "↑"
    rows = [list(row) for row in zip(("baseline", "default", "winner"), folds, test, strict=True)]
    return write_table("lrr", [f"{quote_code(report['metric'])} {arrow}", "over the folds", "on the test rows"], rows)


def explain_figures(report: Report) -> str:
    """Say what the two columns are worth."""
    looks = report["looks"]
    looked = (
        "The search never saw the test rows, and its winner was measured there once."
        if looks == 1
        else f"The search never saw the test rows; {looks} winners of it were measured there, and the interval is "
        "as much wider."
    )
    return f"Over the folds the winner is the luckiest of all {len(report['trials'])} trials. {looked}"


def _write_values(report: Report) -> list[str]:
    """Write the hyperparameters of default and winner."""
    default, winner = report["default"]["values"], report["winner"]["values"]
    rows = [
        [quote_code(name), quote_code(value), quote_code(winner[name]) if winner[name] != value else NOTHING]
        for name, value in default.items()
    ]
    return ["### Hyperparameters", write_table("lll", ["name", "default", "winner, where it differs"], rows)]


def _write_importance(report: Report) -> list[str]:
    """Write which hyperparameters the error depends on."""
    if not report["importance"]:
        return []
    rows = [[quote_code(name), format_share(share)] for name, share in report["importance"].items()]
    return [
        "### What mattered",
        write_table("lr", ["hyperparameter", "share of the variance"], rows),
        "Among the trials that searched what the winner searched (fANOVA).",
    ]


def _write_choices(report: Report) -> list[str]:
    """Write the best of each choice."""
    if not report["choices"]:
        return []
    best = align_numbers([row["best"] for row in report["choices"]])
    rows = [
        [quote_code(row["name"]), quote_code(row["choice"]), format_number(row["trials"]), value]
        for row, value in zip(report["choices"], best, strict=True)
    ]
    return ["### Choices", write_table("llrr", ["name", "choice", "trials", "best over the folds"], rows)]


def _write_trials(report: Report) -> list[str]:
    """Write the best trials; all of them are in the JSON file."""
    sign = 1 if is_lower_better(report["metric"]) else -1
    ended = [trial for trial in report["trials"] if trial["value"] is not None]
    ranked = sorted(ended, key=lambda trial: sign * trial["value"])[:BEST_SHOWN]
    figures = align_numbers([trial["value"] for trial in ranked])
    rows = [
        [
            format_number(trial["number"]),
            figure,
            f"{trial['seconds']:.1f}",
            ", ".join(quote_code(f"{name}={value}") for name, value in trial["values"].items()),
        ]
        for trial, figure in zip(ranked, figures, strict=True)
    ]
    return ["### Best trials", write_table("rrrl", ["trial", "over the folds", "seconds", "values"], rows)]


def format_tune(report: Report) -> str:
    """Write the figures and the sentence for a terminal of 80 columns."""
    names = ("baseline", "default", "winner")
    folds = align_numbers([None, report["default"]["folds"], report["winner"]["folds"]])
    test = [format_number(report["test"][name]) for name in names]
    rows = [[report["metric"], "folds", "test"], *(list(row) for row in zip(names, folds, test, strict=True))]
    changed = {
        name: value
        for name, value in report["winner"]["values"].items()
        if value != report["default"]["values"][name]
    }
    found = [f"winner: {' '.join(f'{name}={value}' for name, value in changed.items())}"] if changed else []
    return "\n".join([*align_columns(rows), count_trials(report), *found, f"tune: {report['sentence']}"])
