"""The sentences of the page of Explore: what one sees below each of them, from the figures themselves."""

from dataclasses import dataclass

import numpy as np

from lifecycle.exploration.findings import ColumnFinding, Findings
from lifecycle.views.numbers import format_number, format_share

# A share of rows that is worth a word.
NOTABLE_SHARE = 0.0005
# A difference of shares that is worth one.
NOTABLE_CHANGE = 0.02


@dataclass(frozen=True)
class About:  # pylint: disable=too-many-instance-attributes  # what the page is told beside the figures
    """What the data are called, which model looked at them (None: none did, ``why`` says why), and the limits."""

    title: str
    target: str
    unit: str
    model: str | None
    why: str
    is_classifier: bool
    max_psi: float
    min_rows: int
    confidence: float
    most_groups: int

    @property
    def loss(self) -> str:
        """Say what an error is."""
        return "probability that the true class did not get" if self.is_classifier else "absolute error"

    def write_loss(self, value: float) -> str:
        """Write a mean loss with its unit."""
        return format_number(value) if self.is_classifier else f"{format_number(value)} {self.unit}"


def introduce(findings: Findings, about: About) -> str:
    """Say what was looked at, and with which model."""
    months = findings.months
    synthetic = sum(month.synthetic for month in months)
    kinds = {0: "real", len(months): "synthetic"}
    kind = kinds.get(synthetic, f"{len(months) - synthetic} real and {synthetic} synthetic")
    span = months[0].month if len(months) == 1 else f"{months[0].month} to {months[-1].month}"
    count = f"{len(months)} {kind} month{'s' if len(months) > 1 else ''}, {span}."
    return f"{count} {f'Predicted by {about.model}' if about.model else f'No model looked at them: {about.why}'}"


def say_months(findings: Findings) -> str:
    """Say how many rows keep the contract, and which month lost most."""
    total = findings.total
    left = [1 - month.survey.clean / max(month.survey.rows, 1) for month in findings.months]
    worst = int(np.argmax(left))
    kept = f"{format_number(total.clean)} of {format_number(total.rows)} rows keep the data contract"
    if total.clean == total.rows:
        return f"All {format_number(total.rows)} rows keep the data contract."
    reasons = findings.months[worst].survey.left_out
    reason = max(reasons, key=reasons.__getitem__)
    return (
        f"{kept} ({format_share(total.clean / total.rows)}). {findings.months[worst].month} lost most, "
        f"{format_share(left[worst])} of its rows, mostly by “{reason}”."
    )


def find_target(findings: Findings, about: About) -> ColumnFinding:
    """Find the target among the columns."""
    return next(finding for finding in findings.columns if finding.column.name == about.target)


def say_target(findings: Findings, about: About) -> str:
    """Say how the target's mean moved."""
    means = find_target(findings, about).means
    if np.isnan(means).all():
        return "No clean row has a target."
    low, high = int(np.nanargmin(means)), int(np.nanargmax(means))
    months = [month.month for month in findings.months]
    mean = findings.total.columns[about.target].sums
    whole = f"{about.target} is {format_number(mean[1].sum() / mean[0].sum())} {about.unit} on average"
    if low == high:
        return f"{whole}."
    return (
        f"{whole}: from {format_number(means[low])} in {months[low]} "
        f"to {format_number(means[high])} in {months[high]}."
    )


def say_features(findings: Findings, about: About) -> str:
    """Say which feature tells most of the target, and which bin is predicted worst."""
    if not findings.features:
        return "No clean row has a feature."
    first = findings.features[0]
    said = (
        f"{first.name} tells most of {about.target}: its bins alone hold {format_share(first.explained)} of the "
        "variance."
    )
    errs = [
        (float(np.nanmax(one.loss)), one.name, one.bins.describe(int(np.nanargmax(one.loss))))
        for one in findings.features
        if not np.isnan(one.loss).all()
    ]
    if not errs or findings.overall is None:
        return said
    loss, name, values = max(errs)
    return (
        f"{said} The model errs most where {name} is {values}: by "
        f"{about.write_loss(loss)}, {loss / findings.overall.loss:.1f} times its mean."
    )


def say_errors(findings: Findings, about: About) -> str:
    """Say how far the model errs, and in which month it errs most."""
    measured = [month for month in findings.months if month.predicted[0]]
    if not measured:
        return f"{'No row was predicted, so' if about.model else 'Without a model'} there are no errors to show."
    if findings.overall is None:
        return "The model learnt from every month here, so its errors say little."
    unseen = [month for month in measured if not month.trained_on]
    worst = max(unseen, key=lambda month: month.predicted[2] / month.predicted[0])
    said = (
        f"On the {len(unseen)} month{'s' if len(unseen) > 1 else ''} that it did not learn from, the model errs by "
        f"{about.write_loss(findings.overall.loss)} on average"
    )
    if len(unseen) == 1:
        return f"{said} ({worst.month})."
    return f"{said}; most in {worst.month}, by {about.write_loss(worst.predicted[2] / worst.predicted[0])}."


def say_groups(findings: Findings, about: About) -> str:
    """Say which group is surely predicted worst."""
    if findings.overall is None:
        return "Without errors there is no worst group."
    if not findings.groups:
        return f"No group has {about.min_rows} predicted rows."
    worst = findings.groups[0]
    side = f"{format_number(abs(worst.error))} too {'high' if worst.error > 0 else 'low'}"
    return (
        f"{worst.kind} {worst.label} is predicted worst: off by {about.write_loss(worst.loss)} on average, "
        f"{worst.loss / findings.overall.loss:.1f} times the mean of all, and {side}."
    )


def say_columns(findings: Findings) -> str:
    """Say which column lacks its value most, and which one breaks the contract most."""
    said = []
    missing = max(findings.columns, key=lambda one: one.missing.max())
    if missing.missing.max() > 0:
        place = int(missing.missing.argmax())
        said.append(
            f"{missing.column.name} is missing most: in {format_share(missing.missing[place])} of the rows of "
            f"{findings.months[place].month}."
        )
    broken = [
        (float(shares.max()), findings.months[int(shares.argmax())].month, reason)
        for one in findings.columns
        for reason, shares in one.broken.items()
    ]
    if broken:
        share, month, reason = max(broken)
        said.append(f"The contract is broken most by “{reason}”: in {format_share(share)} of the rows of {month}.")
    return " ".join(said) or "Nothing is missing, and nothing breaks the contract."


def say_column(finding: ColumnFinding, months: list[str]) -> str:
    """Say what is missing or broken in a column, and between which months it moved most."""
    said = []
    if finding.missing.max() > 0:
        place = int(finding.missing.argmax())
        least = format_share(finding.missing.min())
        said.append(
            f"Missing in {least} to {format_share(finding.missing[place])} of the rows, most in {months[place]}."
        )
    for reason, shares in finding.broken.items():
        if shares.max() > NOTABLE_SHARE and not reason.endswith(" missing"):
            what = reason.removeprefix(f"{finding.column.name} ").capitalize()
            said.append(f"{what}: up to {format_share(shares.max())}, in {months[int(shares.argmax())]}.")
    if pair := finding.find_farthest():
        moved = f"Moved most from {months[pair[0]]} to {months[pair[1]]}: stability index"
        said.append(f"{moved} {finding.stability[pair]:.3f}.")
    return " ".join(said) or "Nothing is missing, broken or moved."


def say_drift(findings: Findings, about: About) -> str:
    """Say which column moved most, between which months, and how many moved more than the limit."""
    pairs = [(one, pair) for one in findings.columns if (pair := one.find_farthest())]
    if not pairs:
        return "There are no two months that differ."
    finding, pair = max(pairs, key=lambda found: found[0].stability[found[1]])
    over = sum(bool(np.nanmax(one.stability) > about.max_psi) for one, _ in pairs)
    base, later = (findings.months[place].month for place in pair)
    distance = finding.distance[pair]
    far = "" if np.isnan(distance) else f", and {distance:.3f} standard deviations of {base}"
    gone, there = (finding.missing[place] for place in pair)
    if abs(gone - there) > NOTABLE_CHANGE:
        far += f"; it is missing in {format_share(gone)} of the rows, then in {format_share(there)}"
    how_far = f"stability index {finding.stability[pair]:.3f}{far}"
    return (
        f"{finding.column.name} moved most, from {base} to {later}: {how_far}. "
        f"{over} of {len(findings.columns)} columns moved by more than {about.max_psi:g} between some two months."
    )
