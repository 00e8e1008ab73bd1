"""The loop's parts: months of a world that shifts, callers and their labels, and what counts as a fallen error."""

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from waiting import wait_for

from lifecycle.data.months import is_sample
from lifecycle.errors import MisuseError
from lifecycle.params import Params, read_params
from lifecycle.sample import mark_sample
from rehearsal.cloud.monitoring import Delivery
from rehearsal.cloud.server import Cloud, serve_cloud
from rehearsal.commands import DEPLOYING, MONITORING, RETRAINING, stands_in
from rehearsal.life.callers import ROWS, Callers
from rehearsal.life.months import Months, unmark
from rehearsal.life.turns import Turn, format_turns, is_surely_better, read_turn
from tests.rehearsal.clouds import create_function, make_client

ROOT = Path(__file__).parents[2]
TURN = Turn("retrained", "v1.10.0", 1234, 12345, 12.345, 12.123, 12.456, 12.345, "degraded")
REPORT: dict[str, Any] = {
    "verdict": "ok",
    "metric": "mean_absolute_error",
    "versions": [
        {
            "version": "v1.0.0",
            "labelled": 7,
            "metrics": {"mean_absolute_error": {"value": 2.0, "low": 1.0, "high": 3.0, "tested": 2.5}},
        },
        {"version": "v1.1.0", "labelled": 0, "metrics": {}},
    ],
}
# It logs each row of a request that has an even number, and fails on the others.
HANDLER = """
import json

def answer(event, context):
    request_id = event["headers"]["x-request-id"]
    if int(request_id.rpartition("-")[2]) // %d %% 2:
        return {"statusCode": 500}
    for row in range(len(json.loads(event["body"])["rows"])):
        print(json.dumps({"request_id": request_id, "row": row, "prediction": 0}))
    return {"statusCode": 200}
"""


def make_months(folder: Path) -> Months:
    """Make small months, of which the second is the first shifted one."""
    params = read_params()
    sample = params.sample.model_copy(update={"months": ["2024-11"], "rows_per_month": 60})
    return Months(folder, params.model_copy(update={"sample": sample}), 2)


def generate(params: Params, month: str, seed: int) -> Any:
    """Generate a month of a seed, without the sample's mark."""
    table = params.load_domain().generate_month(month, params.sample.rows_per_month, seed)
    return table.replace_schema_metadata(None)


def test_world_is_the_samples_until_it_shifts(tmp_path: Path) -> None:
    months = make_months(tmp_path)
    seed = months.params.sample.seed

    names = [months.name(place) for place in (1, 2, 3)]
    written = [pq.read_table(months.write(name, tmp_path)) for name in names]

    assert names == ["2024-12", "2025-01", "2025-02"]
    seeds = [seed, seed + 1, seed + 1]
    assert written == [generate(months.params, *made) for made in zip(names, seeds, strict=True)]


def test_synthetic_months_count_as_real_ones_and_real_ones_are_refused(tmp_path: Path) -> None:
    path = make_months(tmp_path).write("2024-12", tmp_path)
    pq.write_table(mark_sample(pq.read_table(path)), path)

    unmark(tmp_path)

    assert not is_sample(path)
    with pytest.raises(MisuseError, match=f"{path.name} is no month of the sample"):
        unmark(tmp_path)


def test_labels_are_told_under_the_ids_that_callers_asked_with(tmp_path: Path) -> None:
    months = make_months(tmp_path)
    replay = months.read("2024-12").choose(np.arange(2 * ROWS + 3))
    target = {"function_name": "model", "alias_name": "live", "logs_bucket": "logs"}
    with serve_cloud(tmp_path / "cloud", delivery=Delivery("logs"), in_background=False) as cloud:
        functions, store = create_function(cloud, "model", HANDLER % ROWS), make_client(cloud, "s3")
        functions.create_alias(FunctionName="model", Name="live", FunctionVersion="1")
        store.create_bucket(Bucket="logs", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        callers = Callers(functions, store, target)

        asked = callers.ask(replay, "month")
        # A function's lines arrive a moment after its answer.
        wait_for(lambda: count_delivered(cloud, store) == ROWS + 3)
        callers.tell(replay, "month")

        predictions, labels = (read_lines(store, kind) for kind in ("predictions", "labels"))
    assert asked == (3, 1)
    told = {(line["request_id"], line["row"]): line["label"] for line in labels}
    assert list(told.values()) == replay.target.tolist()
    assert {(line["request_id"], line["row"]) for line in predictions} == {
        (request, row) for request, row in told if request != f"month-{ROWS}"
    }


def count_delivered(cloud: Cloud, store: Any) -> int:
    """Deliver what was predicted, and count what lies in the bucket by now."""
    cloud.deliver_predictions()
    return len(read_lines(store, "predictions"))


def read_lines(store: Any, kind: str) -> list[dict[str, Any]]:
    """Read the lines of today's objects of a kind."""
    listed = store.list_objects_v2(Bucket="logs", Prefix=f"{kind}/day={datetime.now(UTC):%Y-%m-%d}/").get(
        "Contents", []
    )
    bodies = [store.get_object(Bucket="logs", Key=found["Key"])["Body"].read() for found in listed]
    return [json.loads(line) for body in bodies for line in gzip.decompress(body).splitlines()]


@pytest.mark.parametrize(
    ("where", "command", "known"),
    [
        (RETRAINING, ("lifecycle.retrain",), True),
        (RETRAINING, ("dvc", "push"), True),
        (DEPLOYING, ("lifecycle.deploy", "--target", "elsewhere"), True),
        (DEPLOYING, ("lifecycle.github.versions", "promote", "v1.0.0"), True),
        (MONITORING, ("lifecycle.compare", "--waiting"), True),
        (MONITORING, ("lifecycle.retrain",), False),
        (MONITORING, ("lifecycle.github.issue", "hide"), False),
    ],
)
def test_command_must_stand_where_the_timeline_says(where: str, command: tuple[str, ...], known: bool) -> None:
    assert stands_in(ROOT, where, command) == known


def test_turn_is_read_from_the_monitors_report() -> None:
    turns = [read_turn(REPORT, "quiet", 3, version) for version in ("v1.0.0", "v1.1.0", "v9.9.9")]

    assert turns[0] == Turn("quiet", "v1.0.0", 3, 7, 2.0, 1.0, 3.0, 2.5, "ok")
    assert [(turn.labelled, turn.live) for turn in turns[1:]] == [(0, None), (0, None)]
    assert read_turn(REPORT, "shadow", 3, "v1.1.0", "promote").verdict == "promote"


@pytest.mark.parametrize(
    ("metric", "low", "high", "better"),
    [
        ("mean_absolute_error", 11.0, 12.1, True),
        ("mean_absolute_error", 11.0, 12.2, False),
        ("mean_absolute_error", 12.5, 13.0, False),
        ("r2_score", 12.5, 13.0, True),
        ("r2_score", 12.4, 13.0, False),
        ("mean_absolute_error", None, 12.1, False),
    ],
)
def test_error_has_fallen_when_the_whole_interval_lies_on_the_better_side(
    metric: str, low: float | None, high: float, better: bool
) -> None:
    assert is_surely_better(replace(TURN, low=low, high=high), TURN, metric) == better


def test_table_of_the_loop_fits_on_a_terminal() -> None:
    table = format_turns([TURN, replace(TURN, live=None, low=None, high=None, tested=None)])

    assert max(map(len, table.splitlines())) <= 80
    assert "- to -" in table
