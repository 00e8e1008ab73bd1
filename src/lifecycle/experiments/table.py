"""The experiments that this clone holds, beside the champion."""

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from lifecycle.comparison.changes import compare_stages, flatten, has_same_test_rows, list_changes
from lifecycle.comparison.snapshot import Snapshot, read_snapshot
from lifecycle.metric_names import is_lower_better
from lifecycle.repository import MADE_OF, is_unchanged_since, read_git, write_note
from lifecycle.views.numbers import format_number, format_share
from lifecycle.views.terminal import align_columns

# DVC keeps an experiment under the commit that it started from.
REF = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(?P<name>.+)")
NOTES = "experiments"
WIDTH = 80
# What compare_stages says beside the cause.
CONSEQUENCES = ("params", "earlier stage", "other results of the same inputs")


@dataclass(frozen=True)
class Experiment:
    """One that ran; ``seconds`` is None and ``ran`` empty where another command ran it."""

    name: str
    commit: str
    seconds: float | None
    ran: tuple[str, ...]


def list_experiments(everything: bool = False) -> list[Experiment]:
    """List the experiments of the working folder's model, or everything that this clone holds; newest first."""
    listed = read_git("for-each-ref", "--sort=-committerdate", "--format=%(objectname) %(refname)", "refs/exps")
    found = []
    for line in listed.splitlines():
        commit, _, ref = line.partition(" ")
        match = REF.fullmatch(ref)
        if match and (everything or not is_unchanged_since(f"{commit}^", *MADE_OF, to=commit)):
            found.append(Experiment(match["name"], commit, *_read_note(commit)))
    return found


def _read_note(commit: str) -> tuple[float | None, tuple[str, ...]]:
    """Read how long an experiment took, and which stages ran."""
    try:
        note = json.loads(read_git("notes", f"--ref={NOTES}", "show", commit))
        return float(note["seconds"]), tuple(map(str, note["ran"]))
    except (ValueError, KeyError, TypeError):
        return None, ()


def keep_run(commit: str, seconds: float, ran: Sequence[str]) -> None:
    """Keep how long an experiment took, and which stages ran; errors as of `write_note`."""
    write_note(NOTES, commit, json.dumps({"seconds": round(seconds, 1), "ran": list(ran)}), "add", "--force")


def format_experiments(
    experiments: Sequence[Experiment], champion: tuple[str, Snapshot], metric: str, share: float
) -> str:
    """Lay experiments and champion out as a table of at most 80 columns, best first.

    Parameters
    ----------
    experiments : sequence of Experiment
    champion : tuple of str and Snapshot
        Its name, and what its commit says.
    metric : str
        The one that decides.
    share : float
        Coverage of the intervals.

    Returns
    -------
    str
    """
    title, base = champion
    # None stands for the champion.
    sides: list[tuple[Experiment | None, Snapshot]] = [(None, base)] if base.metrics else []
    sides += [(experiment, read_snapshot(experiment.commit)) for experiment in experiments]
    sign = 1 if is_lower_better(metric) else -1
    sides.sort(key=lambda side: sign * side[1].metrics.get(metric, {}).get("value", sign * inf))
    rows = [("experiment", "value", f"{format_share(share)} interval", "vs champion")]
    rows += [_list_cells(experiment, here, base, metric) for experiment, here in sides]
    header, *lines = align_columns(rows)
    direction = "lower" if sign > 0 else "higher"
    said = f"{metric}: {direction} is better; best first. Champion: {title}"
    text = [*textwrap.wrap(said, WIDTH), "", header[:WIDTH]]
    for line, (experiment, here) in zip(lines, sides, strict=True):
        text.append(line[:WIDTH])
        if experiment:
            said = f"{_describe_difference(base, here)}; {_describe_run(experiment)}"
            text += textwrap.wrap(said, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(text)


def _list_cells(experiment: Experiment | None, here: Snapshot, base: Snapshot, metric: str) -> tuple[str, ...]:
    """Write the cells of one row."""
    figures = here.metrics.get(metric) or {}
    low, high = (format_number(figures.get(end)) for end in ("low", "high"))
    name = experiment.name if experiment else "* champion"
    against = _describe_gain(here, base, metric) if experiment else ""
    return name, format_number(figures.get("value")), f"{low} to {high}", against


def _describe_run(experiment: Experiment) -> str:
    """Say which stages ran, and how long all took."""
    if experiment.seconds is None:
        return "run by another command"
    return f"ran {', '.join(experiment.ran) or 'nothing'} in {experiment.seconds:.1f} s"


def _describe_gain(here: Snapshot, base: Snapshot, metric: str) -> str:
    """Say by which share an experiment is better or worse than the champion, where both met the same rows."""
    value, former = ((side.metrics.get(metric) or {}).get("value") for side in (here, base))
    if value is None or not former:
        return "–"
    if not has_same_test_rows(base, here):
        return "other rows"
    gain = (former - value if is_lower_better(metric) else value - former) / abs(former)
    return f"{format_share(abs(gain))} {'better' if gain > 0 else 'worse'}" if gain else "equal"


def _describe_difference(base: Snapshot, here: Snapshot) -> str:
    """Say what an experiment has other than the champion: parameters, data, code, libraries."""
    changes = list_changes(flatten(base.params), flatten(here.params))
    said = [f"{change['name']} {change['base']} → {change['value']}" for change in changes]
    causes = {
        f"{fact['cause']} ({', '.join(fact['what'])})" if fact["cause"] == "code" else fact["cause"]
        for fact in compare_stages(base.lock, here.lock)
        if fact["cause"] not in CONSEQUENCES
    }
    return ", ".join([*said, *sorted(causes)]) or "as the champion"
