"""The table of experiments that were tried at once, in Markdown: best first, beside the champion."""

from collections.abc import Sequence

from lifecycle.experiments.matrix import Matrix
from lifecycle.experiments.settings import Plan
from lifecycle.experiments.tried import Tried
from lifecycle.views.markdown import NOTHING, escape_text, format_table, quote_code
from lifecycle.views.numbers import format_number, format_share
from lifecycle.views.report_facts import MetricFacts, Report
from lifecycle.views.report_page import MARKS

LONGEST_REASON = 300


def render_experiments(tried: Sequence[Tried], matrix: Matrix, most: int) -> str:
    """Write the page.

    Parameters
    ----------
    tried : sequence of Tried
        Best first, as `lifecycle.experiments.tried.read_tried` gives them.
    matrix : Matrix
        What was asked for.
    most : int
        As ``max_jobs`` of params.yaml.

    Returns
    -------
    str
        Markdown.
    """
    report = next((one.report for one in tried if one.report), None)
    parts = [_write_title(tried, report), *_write_table(tried, report)]
    for one in tried:
        if one.fault:
            parts.append(f"- {quote_code(one.plan.said)}: {escape_text(one.fault, LONGEST_REASON)}")
        elif one.report and one.report["reasons"]:
            reasons = escape_text(" ".join(one.report["reasons"]), LONGEST_REASON)
            parts.append(f"- {quote_code(one.plan.said)} is refused: {reasons}")
    if matrix.left_out:
        parts.append(f"\n{_say_left_out(matrix, most)}")
    return "\n".join(parts) + "\n"


def _write_title(tried: Sequence[Tried], report: Report | None) -> str:
    """Say how many experiments were tried, and against what."""
    ended = sum(one.report is not None for one in tried)
    said = f"## {len(tried)} experiment{'s' * (len(tried) != 1)}, {len(tried) - ended} failed\n\n"
    if report is None:
        return f"{said}None came to its end; each job says why.\n"
    metric = report["metrics"][0]
    direction = "lower" if metric["lower_is_better"] else "higher"
    return (
        f"{said}Best first by {quote_code(metric['name'])} ({direction} is better), against the champion "
        f"{escape_text(report['champion'])} on the same rows; in brackets how surely.\n"
    )


def _write_table(tried: Sequence[Tried], report: Report | None) -> list[str]:
    """Write the table, with the champion in its place."""
    if report is None:
        return []
    rows = [_list_cells(one) for one in tried]
    if (champion := _find_champion(tried)) is not None:
        place = sum(one.worse_by < 0 for one in tried)
        rows.insert(place, ["**champion**", format_number(champion), NOTHING, NOTHING, NOTHING, NOTHING])
    share = format_share(report["confidence"])
    header = ["tried", "value", f"{share} interval", "against the champion", "gate", "took"]
    return [format_table("lrrrlr", header, rows), ""]


def _find_champion(tried: Sequence[Tried]) -> float | None:
    """Find the champion's figure."""
    reports = [one.report for one in tried if one.report]
    unchanged = [report["metrics"][0]["value"] for report in reports if report["outcome"] == "unchanged"]
    figures = [report["figures"]["champion"] for report in reports if "champion" in report["figures"]]
    return next(iter([*figures, *unchanged]), None)


def _list_cells(one: Tried) -> list[str]:
    """Write one experiment's row."""
    said = quote_code(one.plan.said)
    if one.report is None or one.run is None:
        return [said, NOTHING, NOTHING, NOTHING, "failed", NOTHING]
    metric, outcome = one.report["metrics"][0], one.report["outcome"]
    ran = escape_text(", ".join(one.run["ran"]) or "nothing")
    return [
        said,
        format_number(metric["value"]),
        _write_interval(metric),
        _write_gain(one.report),
        f"{MARKS[outcome]} {outcome}",
        f"{one.run['seconds']:,.0f} s: {ran}",
    ]


def _write_interval(metric: MetricFacts) -> str:
    """Write a metric's interval."""
    return f"{format_number(metric['low'])} to {format_number(metric['high'])}"


def _write_gain(report: Report) -> str:
    """Say by which share a model is better or worse than the champion, and how surely."""
    figures = report["figures"]
    if not {"worse_by", "low", "high"} <= figures.keys():
        return "equal"
    low, high = sorted(abs(figures[end]) for end in ("low", "high"))
    bounds = f"{format_share(low)} to {format_share(high)}"
    if figures["low"] < 0 < figures["high"]:
        bounds = f"{_write_share(figures['low'])} to {_write_share(figures['high'])}"
    return f"{_write_share(figures['worse_by'])} ({bounds})"


def _write_share(worse_by: float) -> str:
    """Write a share with its direction."""
    return f"{format_share(abs(worse_by))} {'worse' if worse_by > 0 else 'better'}"


def _say_left_out(matrix: Matrix, most: int) -> str:
    """Say how many were asked for and not tried, and why."""
    told = ", ".join(quote_code(plan.said) for plan in matrix.told)
    more = " and others" if matrix.left_out > len(matrix.told) else ""
    return f"Left out: {matrix.left_out:,d} ({told}{more}); `experiment.max_jobs` of params.yaml allows {most}."


def write_body(plan: Plan, report: Report, tried: int) -> str:
    """Write the text of the best one's pull request, which a merge makes the commit's message.

    Parameters
    ----------
    plan : Plan
    report : Report
    tried : int
        How many came to their end.

    Returns
    -------
    str
    """
    metric = report["metrics"][0]
    first = f"{quote_code(metric['name'])}: {format_number(metric['value'])}; against the champion:"
    reasons = [f"- refused: {escape_text(reason, LONGEST_REASON)}" for reason in report["reasons"]]
    return "\n".join(
        [
            f"{first} {_write_gain(report)}",
            "",
            f"- sets: {quote_code(plan.said)}",
            f"- the best of {tried}, by the workflow Experiment",
            *reasons,
        ]
    )


def write_title(plan: Plan) -> str:
    """Write the pull request's title, which is the commit's subject as well."""
    return plan.message if len(plan.message) <= 72 else f"{plan.message[:71]}…"
