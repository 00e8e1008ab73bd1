"""The monitor: what production predicted and what came true, against what was trained on and tested.

Writes out/monitor.json, out/monitor.md and out/monitor.html. It judges the version that answered last as champion;
challengers and shadows are measured beside it.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import boto3
import duckdb
from botocore.exceptions import BotoCoreError, ClientError

from lifecycle.cluster import map_tasks
from lifecycle.data.profile import Profile
from lifecycle.deploy import read_target
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.metrics import load_metrics
from lifecycle.monitoring.drift import Drift, measure_drift
from lifecycle.monitoring.files import add_addresses, find_addresses
from lifecycle.monitoring.groups import count_requests, list_groups, read_inputs, read_pairs
from lifecycle.monitoring.live import Live, describe_version
from lifecycle.monitoring.log import Window, count_left_out, open_log
from lifecycle.monitoring.reference import Reference, find_reference, list_features, read_references
from lifecycle.monitoring.verdict import decide
from lifecycle.params import Params, read_params
from lifecycle.paths import MONITOR
from lifecycle.report import append_to
from lifecycle.seam import Columns
from lifecycle.views.files import render_pngs, write_report
from lifecycle.views.monitor_page import format_monitor, render_monitor
from lifecycle.views.monitor_plots import draw_monitor

CHAMPION = "champion"


@dataclass(frozen=True)
class Observed:
    """What a log holds: its groups, the one that is judged and what that one saw, and what was counted."""

    lives: list[Live]
    judged: Live | None
    inputs: Columns
    requests: dict[str, Any]
    left_out: dict[str, int]


def monitor(
    predictions: str, labels: str, until: datetime, params: Params, references: Mapping[str, Reference]
) -> dict[str, Any]:
    """Measure what happened in the days before a moment, and judge it.

    Parameters
    ----------
    predictions, labels : str
        Addresses, as `lifecycle.monitoring.files.list_files` takes them.
    until : datetime
        In UTC, without saying so; later predictions and labels are not looked at.
    params : Params
    references : mapping of str to Reference
        By version.

    Returns
    -------
    dict
        The report, serialisable as JSON.

    Raises
    ------
    RefusedError
        If a log cannot be read.
    """
    window = Window(until - timedelta(days=params.monitor.window_days), until)
    with open_log(predictions, labels, window, list_features(references), params) as log:
        seen = observe(log, references, params.monitor.max_rows)
    metrics = load_metrics(params.evaluate.metrics, params.load_domain())
    versions = [describe_version(live, metrics, live is seen.judged, params.evaluate) for live in seen.lives]
    drifts = measure_drifts(seen, params)
    judged = next((version for version in versions if version["judged"]), None)
    verdict, reasons = decide(until, judged, drifts, seen.requests["broken_share"], params.monitor)
    return {
        "verdict": verdict,
        "reasons": reasons,
        "until": until.isoformat(timespec="seconds"),
        "window": {"since": window.since.isoformat(timespec="seconds"), "days": params.monitor.window_days},
        "confidence": params.evaluate.confidence,
        "metric": metrics[0].name,
        "versions": versions,
        "drift": [asdict(drift) for drift in drifts],
        "requests": seen.requests,
        "left_out": seen.left_out,
    }


def observe(log: duckdb.DuckDBPyConnection, references: Mapping[str, Reference], max_rows: int) -> Observed:
    """Read what is measured from the log.

    Parameters
    ----------
    log : DuckDBPyConnection
        As `lifecycle.monitoring.log.open_log` gives it.
    references : mapping of str to Reference
    max_rows : int
        Of each group.
    """
    left_out, lives = count_left_out(log), []
    for group in list_groups(log):
        if reference := find_reference(group.version, references):
            lives.append(Live(group, *read_pairs(log, group, max_rows), reference))
        else:
            reason = "log line of an unknown version"
            left_out[reason] = left_out.get(reason, 0) + group.predictions
    judged = next((live for live in lives if live.group.variant == CHAMPION), None)
    inputs = read_inputs(log, judged.group, max_rows) if judged else {}
    return Observed(lives, judged, inputs, count_requests(log), left_out)


def measure_drifts(seen: Observed, params: Params) -> list[Drift]:
    """Measure how far what the judged version saw and predicted lies from its reference; nothing of too few rows.

    The confidence is shared out among the values (Bonferroni), so that many of them do not make a false alarm likely.
    """
    if seen.judged is None or seen.judged.group.predictions < params.monitor.min_rows:
        return []
    profile = seen.judged.reference.profile
    shared = {name: values for name, values in seen.inputs.items() if name in profile}
    confidence = 1 - (1 - params.evaluate.confidence) / max(len(shared), 1)
    measure = partial(measure_each, profile, shared, confidence, params)
    return list(map_tasks(measure, list(shared)))


def measure_each(
    profile: Mapping[str, Profile], inputs: Columns, confidence: float, params: Params, names: Sequence[str]
) -> Iterator[Drift]:
    """Measure the drift of some values; on a cluster each is a task."""
    for name in names:
        yield measure_drift(name, profile[name], inputs[name], confidence, params.monitor, params.evaluate.seed)


def publish(report: dict[str, Any]) -> None:
    """Write the report's files, and tell the runner of the verdict."""
    page = render_monitor(report)
    title = f"Monitor: {report['verdict']}"
    write_report(MONITOR, report, title=title, page=page, plots=render_pngs(draw_monitor(report)))
    append_to("GITHUB_OUTPUT", f"verdict={report['verdict']}\n")
    append_to("GITHUB_STEP_SUMMARY", page)


def main(argv: Sequence[str] | None = None) -> None:
    """Watch what the model does in production."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.monitor", description=main.__doc__)
    add_addresses(parser)
    parser.add_argument("--namespace", help="where CloudWatch is to find the live error; by default the target's")
    parser.add_argument("--until", type=read_time, help="as of then, such as 2026-11-20T00:00Z; by default now")
    given = parser.parse_args(argv)
    target = read_target(given.target) if given.target else {}
    predictions, labels = find_addresses(given.predictions, given.labels, target)
    params = read_params()
    until = given.until or datetime.now(UTC).replace(tzinfo=None)
    report = monitor(predictions, labels, until, params, read_references(params.registry.name))
    publish(report)
    print(format_monitor(report))
    if namespace := given.namespace or target.get("metric_namespace"):
        report_error(report, namespace)


def report_error(report: Mapping[str, Any], namespace: str) -> None:
    """Report the judged version's first metric to CloudWatch, where an alarm hears it; nothing while it is unknown.

    Raises
    ------
    RefusedError
        If CloudWatch does not take it.
    """
    judged = next((row for row in report["versions"] if row["judged"]), None)
    value = judged["metrics"].get(report["metric"], {}).get("value") if judged else None
    if value is None:
        return
    point = {"MetricName": "live_error", "Timestamp": datetime.now(UTC), "Value": value}
    try:
        boto3.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[point])
    except (BotoCoreError, ClientError) as error:
        raise RefusedError(f"live_error could not be reported to CloudWatch: {error}.") from error
    print(f"live_error={value:g} namespace={namespace}")


def read_time(text: str) -> datetime:
    """Read a time; one without an offset is in UTC, as the result is without saying so."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise MisuseError(f"--until is {text!r}; expected a time such as 2026-11-20T00:00Z.") from error
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


if __name__ == "__main__":
    run(main)
