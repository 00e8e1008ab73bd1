"""Champion or challenger? Decide by the labels of live requests, and keep the decision next to the version.

The outcome is ``promote``, ``keep`` (the challenger is worse), ``undecided`` (the comparison is over, and the
champion stays) or ``continue``. A decision stands: looking again, with more labels, changes none.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from lifecycle.comparison.pairs import MODES, Losses, measure_losses, read_pairs
from lifecycle.comparison.record import NOTES, describe_decision, find_last, find_same, write_decision
from lifecycle.comparison.sequential import CONTINUE, Decision, Rule, compare_paired, compare_split
from lifecycle.deploy import read_target
from lifecycle.errors import MisuseError, run
from lifecycle.github.runner import append_to
from lifecycle.monitoring.files import add_addresses, find_addresses
from lifecycle.monitoring.log import Window, count_left_out, open_log
from lifecycle.params import Params, read_params
from lifecycle.paths import DECISION
from lifecycle.registry import Version, find_promoted, list_versions
from lifecycle.views.numbers import format_number, round_figure


def decide(losses: Losses, rule: Rule) -> Decision:
    """Hold the losses against the rule, in the way that fits how they were gathered."""
    values = losses.values
    if losses.mode == "shadow":
        return compare_paired(values["champion"].to_numpy(), values["challenger"].to_numpy(), rule)
    answered = values["champion"].fillna(values["challenger"]).to_numpy()
    return compare_split(answered, values["challenger"].notna().to_numpy(), rule)


def compare(rows: pd.DataFrame, params: Params) -> dict[str, Any]:
    """Decide between champion and challenger.

    Parameters
    ----------
    rows : DataFrame
        Predictions joined with their labels, as `lifecycle.comparison.pairs.read_pairs` gives them.
    params : Params

    Returns
    -------
    dict
        The record of the decision, serialisable as JSON; figures of a comparison too short for any are None.

    Raises
    ------
    MisuseError
        If the rule can never decide.
    RefusedError
        If no challenger or no champion is among the rows.
    """
    rule = Rule(**params.compare.model_dump())
    if rule.max_requests < rule.min_requests:
        raise MisuseError(
            f"compare.max_requests is {rule.max_requests}; expected at least min_requests, {rule.min_requests}."
        )
    losses = measure_losses(rows, choose_loss(params.evaluate.metrics[0]))
    decision, times = decide(losses, rule), losses.values["time"]
    figures = {name: getattr(decision, name) for name in ("gain", "low", "high")}
    return {
        "name": params.registry.name,
        "decision": decision.outcome,
        "mode": losses.mode,
        "champion": asdict(losses.champion),
        "challenger": asdict(losses.challenger),
        "requests": decision.requests,
        **{key: round_figure(value) if math.isfinite(value) else None for key, value in figures.items()},
        "loss": losses.loss,
        "rule": asdict(rule),
        "from": times.min().isoformat() if len(times) else None,
        "until": times.max().isoformat() if len(times) else None,
        "left_out": losses.left_out,
        "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def choose_loss(metric: str) -> str:
    """Choose the loss of a number that belongs to the metric which decides at the gate."""
    return "absolute_error" if "absolute" in metric else "squared_error"


def keep_decision(record: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Keep a decision next to the challenger's version, unless one stands there already.

    Parameters
    ----------
    record : dict
        As `compare` gives it.

    Returns
    -------
    tuple of dict and str
        The decision that stands, and where it is kept.

    Raises
    ------
    RefusedError
        If Git cannot write it.
    """
    version = _find_version(record)
    if version is None:
        return record, f"{record['challenger']['version']} is no registered version: kept in {DECISION} alone."
    if known := find_same(record, version.commit):
        return known, "This decision stands already; nothing changed."
    if record["decision"] == CONTINUE:
        return record, "Nothing is decided yet; look again when more labels have come."
    write_decision(version.commit, record)
    return record, f"Wrote a note on commit {version.commit[:7]}. To share it: git push origin {NOTES}"


def find_waiting(params: Params) -> Version | None:
    """Find the version that serves beside the champion and waits for a decision, by what the registry says.

    Returns
    -------
    Version or None
        The newest one, if it is not in production and no decision against the one in production stands; None also
        where new versions do not serve beside the champion first.
    """
    versions = [version for version in list_versions(params.registry.name) if not version.retired]
    champion = find_promoted(versions)
    if not params.deploy.challenge or champion in (None, versions[0]):
        return None
    return None if find_last(params.registry.name, versions[0].commit, champion.name) else versions[0]


def _find_version(record: dict[str, Any]) -> Version | None:
    """Find the challenger in the registry."""
    named = record["challenger"]["version"]
    return next((one for one in list_versions(record["name"]) if one.name == named), None)


def format_record(record: dict[str, Any]) -> str:
    """Say a decision and its figures in two lines."""
    gain, low, high = (format_number(record[key]) for key in ("gain", "low", "high"))
    return (
        f"compare: {record['challenger']['version']}: {describe_decision(record)}\n"
        f"  gain in {record['loss'].replace('_', ' ')} {gain} ({low} to {high})"
    )


def record_decision(addresses: tuple[str, str], params: Params, waiting: Version | None) -> str:
    """Read the log, decide, and keep the decision next to the version and in out/decision.json.

    Parameters
    ----------
    addresses : tuple of str and str
        Of predictions and labels.
    params : Params
    waiting : Version or None
        The challenger, of which the log may hold nothing yet; by default the newest one of the log.

    Returns
    -------
    str
        The outcome.
    """
    # A comparison goes on for as long as it takes.
    since = datetime.fromisoformat(waiting.date).astimezone(UTC) if waiting else datetime(1970, 1, 1, tzinfo=UTC)
    window = Window(since.replace(tzinfo=None), datetime.now(UTC).replace(tzinfo=None))
    with open_log(*addresses, window, [], params) as log:
        rows, left_out = read_pairs(log), count_left_out(log)
    if waiting and not (rows["variant"].isin(MODES) & (rows["model_version"] == waiting.name)).any():
        print(f"compare: {waiting.name} waits; the log holds no prediction of it yet.")
        return CONTINUE
    record = compare(rows, params)
    record, kept = keep_decision({**record, "left_out": {**left_out, **record["left_out"]}})
    DECISION.parent.mkdir(exist_ok=True)
    DECISION.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{format_record(record)}\n{kept}")
    return str(record["decision"])


def main(argv: Sequence[str] | None = None) -> None:
    """Decide between champion and challenger; write out/decision.json, and a note once it is decided."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.compare", description=main.__doc__)
    add_addresses(parser)
    parser.add_argument("--waiting", action="store_true", help="only if a registered version waits for its decision")
    given, params = parser.parse_args(argv), read_params()
    target = read_target(given.target) if given.target else {}
    addresses = find_addresses(given.predictions, given.labels, target)
    waiting = find_waiting(params) if given.waiting else None
    if given.waiting and waiting is None:
        print("compare: no version waits for a decision.")
        return
    decision = record_decision(addresses, params, waiting)
    if decision != CONTINUE:
        append_to("GITHUB_OUTPUT", f"decision={decision}\n")


if __name__ == "__main__":
    run(main)
