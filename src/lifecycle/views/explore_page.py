"""The page of Explore: what the months hold and where the model errs, each section under what stands out in it.

One page without a script. Names of columns and texts in them are data, so each passes through
`lifecycle.views.elements`.
"""

from collections.abc import Sequence

import numpy as np

from lifecycle.exploration.findings import ColumnFinding, FeatureFinding, Findings
from lifecycle.views.elements import (
    fold_away,
    lay_cards,
    write_bar,
    write_cell,
    write_heat,
    write_note,
    write_table,
    write_text,
)
from lifecycle.views.explore_plots import draw_feature, draw_months
from lifecycle.views.explore_words import (
    About,
    find_target,
    introduce,
    say_column,
    say_columns,
    say_drift,
    say_errors,
    say_features,
    say_groups,
    say_months,
    say_target,
)
from lifecycle.views.html import frame_page
from lifecycle.views.markdown import align_numbers
from lifecycle.views.numbers import format_number, format_share
from lifecycle.views.status_plot import render_svg

DARKER = (
    "The darker a field, the more of its month's clean rows lie there; the outer fields hold what lies beyond. "
    "What is missing or broken is a share of all rows; a row may break several rules."
)
STYLE = """
h1 { line-height: 1.2; margin-bottom: 0.3rem; }
h2 { margin: 2.4rem 0 0.4rem; }
h3 { margin: 0; font-size: 1rem; }
.note { color: var(--dim); font-size: 0.9rem; margin: 0.2rem 0 0.7rem; }
.said { font-size: 1.05rem; margin: 0.3rem 0 0.7rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21.5rem), 1fr)); gap: 1rem; }
.card { border: 1px solid var(--line); border-radius: 6px; padding: 0.6rem 0.8rem; min-width: 0; }
.card p { margin: 0.2rem 0 0.5rem; font-size: 0.9rem; }
figure { margin: 0; background: #fff; border-radius: 4px; }
figure svg { width: 100%; height: auto; max-width: 26rem; display: block; }
th, td { white-space: nowrap; text-align: right; font-variant-numeric: tabular-nums; padding: 0.25rem 0.6rem; }
th:first-child, td:first-child { text-align: left; font-weight: normal; }
td[style] { background-repeat: no-repeat; background-image: linear-gradient(#0072b240, #0072b240); }
.heat td, .heat th { padding: 0.1rem 0.18rem; font-size: 0.8rem; font-weight: normal; }
.heat thead th { writing-mode: vertical-rl; padding: 0.3rem 0.1rem; }
@media (min-width: 44rem) { .heat td, .heat tbody th { padding: 0.15rem 0.6rem; font-size: 0.9rem; } }
.heat .over { font-weight: bold; outline: 2px solid #d55e00; outline-offset: -2px; }
.heat td[style] { background-image: none; }
"""


def render_explore(findings: Findings, about: About) -> str:
    """Write the page.

    Parameters
    ----------
    findings : Findings
    about : About

    Returns
    -------
    str
        HTML with everything in it.
    """
    target = find_target(findings, about)
    sections = [
        ("Months", say_months(findings), _show_months(findings)),
        ("Target", say_target(findings, about), lay_cards([_show_column(target, findings)]) + write_note(DARKER)),
        ("Features", say_features(findings, about), _show_features(findings, about)),
        ("Errors by month", say_errors(findings, about), _show_errors(findings, about)),
        ("Worst predicted", say_groups(findings, about), _show_groups(findings, about)),
        ("Columns", say_columns(findings), _show_columns(findings, about)),
        ("Drift", say_drift(findings, about), _show_drift(findings, about)),
    ]
    body = [f"<h1>{write_text(about.title)}</h1>", f'<p class="note">{write_text(introduce(findings, about))}</p>']
    for heading, said, content in sections:
        body.append(f'<h2>{heading}</h2>\n<p class="said">{write_text(said)}</p>\n{content}')
    return frame_page(f"Explore: {about.title}", "\n".join(body), STYLE)


def _show_months(findings: Findings) -> str:
    """Show each month's rows, and what was left out of them by the first reason that each row gave."""
    most = max(month.survey.rows for month in findings.months)
    reasons = [reason for reason, count in findings.total.left_out.items() if count]
    worst = max((1 - month.survey.clean / max(month.survey.rows, 1) for month in findings.months), default=0) or 1
    rows, causes = [], []
    for month in findings.months:
        survey = month.survey
        left = 1 - survey.clean / max(survey.rows, 1)
        name = month.month + (" (synthetic)" if month.synthetic else "")
        rows.append(
            [
                write_cell(name),
                write_bar(format_number(survey.rows), survey.rows / most),
                write_cell(format_number(survey.clean)),
                write_bar(format_share(left), left / worst),
            ]
        )
        causes.append(
            [write_cell(month.month), *(write_cell(format_number(survey.left_out.get(name, 0))) for name in reasons)]
        )
    table = write_table(["month", "rows", "clean", "left out"], rows)
    return table + (fold_away("Left out by reason", write_table(["month", *reasons], causes)) if reasons else "")


def _show_column(finding: ColumnFinding, findings: Findings) -> str:
    """Show a column by month."""
    months = [month.month for month in findings.months]
    column = finding.column
    what = f"hour of the day of {column.name}" if column.type == "timestamp" else column.name
    unit = "hours" if column.type == "timestamp" else column.unit
    picture = f"<figure>{render_svg(draw_months(finding, months))}</figure>" if finding.bins else ""
    parts = [
        f"<h3>{write_text(what)}</h3>",
        write_note(f"{column.meaning} ({unit})"),
        picture,
        f"<p>{write_text(say_column(finding, months))}</p>",
        fold_away("By month", _show_figures(finding, months)),
    ]
    return f'<section class="card">{"".join(parts)}</section>'


def _show_figures(finding: ColumnFinding, months: Sequence[str]) -> str:
    """Show a column's figures by month."""
    header = ["month", "missing", *finding.broken]
    shares = [finding.missing, *finding.broken.values()]
    cells = [[write_cell(format_share(float(share[place]))) for share in shares] for place in range(len(months))]
    if not np.isnan(finding.means).all():
        header += ["mean", "5th percentile", "median", "95th percentile"]
        steps = [[(one["quantiles"] or [None] * 101)[step] for one in finding.profiles] for step in (5, 50, 95)]
        written = [align_numbers([None if np.isnan(mean) else float(mean) for mean in finding.means])]
        written += [align_numbers(step) for step in steps]
        for place, row in enumerate(zip(*written, strict=True)):
            cells[place] += [write_cell(text) for text in row]
    return write_table(header, [[write_cell(month), *row] for month, row in zip(months, cells, strict=True)])


def _show_columns(findings: Findings, about: About) -> str:
    """Show the columns but the target, which stands above."""
    cards = [_show_column(one, findings) for one in findings.columns if one.column.name != about.target]
    return lay_cards(cards)


def _show_features(findings: Findings, about: About) -> str:
    """Show each feature beside the target and the errors."""
    if not findings.features:
        return ""
    totals = findings.total.columns[about.target].sums
    mean = float(totals[1].sum() / totals[0].sum())
    loss = findings.overall.loss if findings.overall else None
    cards = (
        f'<section class="card"><h3>{write_text(feature.name)}</h3><p>{write_text(_say_feature(feature, about))}</p>'
        f"<figure>{render_svg(draw_feature(feature, about.unit, mean, loss))}</figure></section>"
        for feature in findings.features
    )
    errors = (
        f" Orange: the mean {about.loss}, in months that the model did not learn from." if loss is not None else ""
    )
    return lay_cards(cards) + write_note(
        f"Bars: clean rows. Blue: the mean of {about.target}.{errors} Dashes: the mean of all."
    )


def _say_feature(feature: FeatureFinding, about: About) -> str:
    """Say how much a feature tells, and where the model errs most."""
    said = f"Holds {format_share(feature.explained)} of the variance of {about.target}."
    if np.isnan(feature.loss).all():
        return said
    place = int(np.nanargmax(feature.loss))
    return f"{said} Worst predicted at {feature.bins.describe(place)}: {about.write_loss(feature.loss[place])}."


def _show_errors(findings: Findings, about: About) -> str:
    """Show the mean loss by month."""
    measured = [month for month in findings.months if month.predicted[0]]
    if not measured:
        return ""
    losses = [float(month.predicted[2] / month.predicted[0]) for month in measured]
    sides = [float(month.predicted[4] / month.predicted[0]) for month in measured]
    rows = [
        [
            write_cell(month.month + (" (learnt from)" if month.trained_on else "")),
            write_bar(loss, value / max(losses)),
            write_cell(side),
            write_cell(format_number(int(month.predicted[0]))),
        ]
        for month, loss, value, side in zip(
            measured, align_numbers(losses), losses, align_numbers(sides), strict=True
        )
    ]
    note = f"Error: the mean {about.loss}. Lean: the mean of prediction less truth. Predicted: rows, evenly chosen."
    return write_table(["month", "error", "lean", "predicted"], rows) + write_note(note)


def _show_groups(findings: Findings, about: About) -> str:
    """Show the groups that are predicted worst."""
    if findings.overall is None or not findings.groups:
        return ""
    shown = [*findings.groups[: about.most_groups], findings.overall]
    errors = align_numbers([figure for one in shown for figure in (one.loss, one.margin)])
    columns = [align_numbers([getattr(one, key) for one in shown]) for key in ("error", "target")]
    most = max(group.loss for group in shown)
    rows = [
        [
            write_cell("all rows" if group is findings.overall else f"{group.kind} {group.label}"),
            write_bar(f"{loss} ± {margin}", group.loss / most),
            write_cell(format_number(group.rows)),
            write_cell(lean),
            write_cell(target),
        ]
        for group, loss, margin, lean, target in zip(shown, errors[::2], errors[1::2], *columns, strict=True)
    ]
    table = write_table(["group", "error", "predicted", "lean", f"mean {about.target}"], rows)
    return table + write_note(
        f"The {len(shown) - 1} worst of {len(findings.groups)} groups of at least {about.min_rows} predicted rows, "
        f"ordered by the lower end of the {format_share(about.confidence)} interval: slices, and features of whole "
        "numbers by number. Lean: the mean of prediction less truth. Only months that the model did not learn from."
    )


def _show_drift(findings: Findings, about: About) -> str:
    """Show how far each column lies apart between any two months; the one that moved most is open."""
    months = [month.month for month in findings.months]
    if len(months) < 2:
        return ""
    ranked = sorted(findings.columns, key=lambda one: -np.nan_to_num(one.stability).max())
    parts = []
    for place, finding in enumerate(ranked):
        most = float(np.nan_to_num(finding.stability).max())
        title = f"{finding.column.name}: up to {most:.3f}"
        parts.append(fold_away(title, _show_matrix(finding, months, about), place == 0))
    return "".join(parts) + write_note(
        "Population stability index from the month on the left to the one above; outlined: more than the monitor's "
        f"limit, {about.max_psi:g}. Of times, the hour of the day."
    )


def _show_matrix(finding: ColumnFinding, months: Sequence[str], about: About) -> str:
    """Show a column's stability index between any two months."""
    rows = []
    for base, month in enumerate(months[:-1]):
        cells = (write_heat(float(value), about.max_psi) for value in finding.stability[base, 1:])
        rows.append([f"<th>{write_text(month)}</th>", *cells])
    return write_table(["", *months[1:]], rows, "heat")
