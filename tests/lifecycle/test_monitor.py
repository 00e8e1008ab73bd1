"""What the monitor counts, what it leaves out and why, and what it concludes."""

# pylint: disable=unused-argument  # a fixture that only prepares the folder

import json
import random
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from logs import START, UNTIL, make_label, make_line, make_week, register_reference, watch, write_log
from readings import CONTRACT

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.monitor import main, read_time
from lifecycle.monitoring.reference import find_reference, read_references
from lifecycle.paths import MONITOR
from rehearsal.remote import call_git

FEW = 40


@pytest.fixture(name="week")
def fixture_week(readings_folder: None, tmp_path: Path) -> tuple[Path, Path]:
    """A few predictions, each with its label."""
    lines = [make_line(number) for number in range(FEW)]
    labels = [make_label(number) for number in range(FEW)]
    return write_log(tmp_path / "predictions", lines), write_log(tmp_path / "labels", labels, "2026-11-03")


def count(report: dict) -> tuple[int, int]:
    """Count the predictions and the labelled ones of the one group."""
    (version,) = report["versions"]
    return version["predictions"], version["labelled"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"kind": "prediction", "request_id": "id-9', "log line cut off"),
        ("START RequestId: 7f Version: 3", "log line of the platform"),
        ('{"type": "platform.report"}', "log line of the platform"),
        ("[1, 2]", "log line of the platform"),
        ("\xff\xfe no text", "log line of the platform"),
        (make_line(99, request_id=None), "log line lacks a field"),
        (make_line(99, time="yesterday"), "log line lacks a field"),
        (make_line(99, prediction=None), "log line lacks a field"),
        (make_line(99, prediction="high"), "log line lacks a field"),
        (make_line(99, prediction={"class": 1}), "log line lacks a field"),
        (make_line(99, model_hash=None), "log line lacks a field"),
        (make_line(7), "log line twice"),
        (make_line(99, request_id="probe-1"), "request of a deploy"),
        ({"kind": "fault", "request_id": "probe-1", "time": "2026-11-02T00:00:00Z"}, "request of a deploy"),
        (make_line(99, model_version="v9.9.9"), "log line of an unknown version"),
        (make_line(99, model_version="../x; --help"), "log line of an unknown version"),
    ],
    ids=str,
)
def test_line_that_is_no_prediction_is_counted_by_its_reason_alone(week, line, reason) -> None:
    predictions, labels = week
    write_log(predictions, [line], name="more.jsonl")

    report = watch(predictions, labels)

    assert report["left_out"] == {reason: 1}
    assert count(report) == (FEW, FEW)


@pytest.mark.parametrize(
    ("line", "left_out", "labelled"),
    [
        ('{"request_id": "id-7", "lab', {"label line cut off": 1}, FEW),
        (make_label(7, None), {"label lacks a field": 1}, FEW),
        (make_label(7, "long"), {"label lacks a field": 1}, FEW),
        (make_label(7, 25.0, request_id=None), {"label lacks a field": 1}, FEW),
        (make_label(7, 0.5), {"label below 1": 1}, FEW),
        (make_label(7, 61), {"label above 60": 1}, FEW),
        (make_label(7, 25.0), {"label twice": 1}, FEW),
        (make_label(7, 26.0), {"labels contradict": 2}, FEW - 1),
        (make_label(99), {"label of no prediction in the window": 1}, FEW),
        (make_label(7, 25.0, row=1), {"label of no prediction in the window": 1}, FEW),
        # Later than the moment that is judged.
        (make_label(7, 26.0, days=20), {}, FEW),
    ],
    ids=str,
)
def test_label_that_cannot_count_is_counted_by_its_reason(week, line, left_out, labelled) -> None:
    predictions, labels = week
    write_log(labels, [line], "2026-11-05", "more.jsonl")

    report = watch(predictions, labels)

    assert report["left_out"] == left_out
    assert count(report) == (FEW, labelled)


def test_log_that_is_delivered_twice_counts_once(week) -> None:
    predictions, labels = week
    shutil.copy(predictions / "day=2026-11-02/a.gz", predictions / "day=2026-11-02/b.gz")
    shutil.copytree(labels / "day=2026-11-03", labels / "day=2026-11-04")

    report = watch(predictions, labels)

    assert report["left_out"] == {"log line twice": FEW, "label twice": FEW}
    assert count(report) == (FEW, FEW)


def test_label_that_comes_days_late_finds_its_prediction(week, tmp_path) -> None:
    predictions, _ = week
    late = write_log(tmp_path / "late", [make_label(number, days=6) for number in range(FEW)], "2026-11-07")

    before, after = watch(predictions, late, UNTIL - timedelta(days=2)), watch(predictions, late)

    assert (count(before), count(after)) == ((FEW, 0), (FEW, FEW))
    assert after["versions"][0]["label_lag_hours"] == pytest.approx(144)


def test_row_may_be_absent_from_a_label(week, tmp_path) -> None:
    predictions, _ = week
    label = make_label(7)
    del label["row"]

    assert count(watch(predictions, write_log(tmp_path / "one", [label]))) == (FEW, 1)


def test_file_that_is_cut_off_is_counted_and_the_others_are_read(week) -> None:
    predictions, labels = week
    whole = (predictions / "day=2026-11-02/a.gz").read_bytes()
    (predictions / "day=2026-11-02/cut.gz").write_bytes(whole[: len(whole) // 2])

    report = watch(predictions, labels)

    assert report["left_out"] == {"file cannot be read": 1}
    assert count(report) == (FEW, FEW)


def test_log_of_which_no_file_can_be_read_is_refused(week) -> None:
    predictions, labels = week
    (predictions / "day=2026-11-02/a.gz").write_bytes(b"no gzip")

    with pytest.raises(RefusedError, match=r"none of the 1 files in .*predictions can be read; .*a\.gz: "):
        watch(predictions, labels)


def test_folder_that_does_not_exist_is_refused(week) -> None:
    _, labels = week

    with pytest.raises(RefusedError, match=r"nowhere cannot be read \(FileNotFoundError: .*expected folders day="):
        watch("nowhere", labels)


def test_variants_are_measured_apart_and_share_their_labels(week) -> None:
    predictions, labels = week
    shadow = [make_line(number, variant="shadow", prediction=30.0) for number in range(FEW)]
    write_log(predictions, shadow, name="shadow.gz")

    versions = {row["variant"]: row for row in watch(predictions, labels)["versions"]}

    assert {name: (row["predictions"], row["labelled"]) for name, row in versions.items()} == {
        "champion": (FEW, FEW),
        "shadow": (FEW, FEW),
    }
    assert [name for name, row in versions.items() if row["judged"]] == ["champion"]


def test_requests_that_broke_are_a_share_of_all(week) -> None:
    predictions, labels = week
    stamp = {"_aws": {"Timestamp": 1793541600000}, "kind": "request"}
    requests = [{**stamp, "request_id": f"id-{n}", "status": 200 if n else 500} for n in range(10)]
    fault = {"kind": "fault", "request_id": "id-0", "time": "2026-11-01T12:00:00+00:00", "error": "ValueError"}
    write_log(predictions, [*requests, requests[3], fault], name="requests.jsonl")

    report = watch(predictions, labels, START + timedelta(days=1))

    assert report["requests"] == {"total": 10, "broken": 1, "refused": 0, "broken_share": 0.1}
    assert report["verdict"] == "degraded"
    assert report["reasons"][0] == "10 % of the requests broke; at most 1 % is allowed"


def test_order_of_lines_and_files_changes_nothing(readings_folder, tmp_path) -> None:
    lines, labels = make_week()
    first = watch(write_log(tmp_path / "p1", lines), write_log(tmp_path / "l1", labels))
    random.Random(1).shuffle(lines)
    random.Random(2).shuffle(labels)
    for half, name in enumerate(("b.gz", "a.jsonl")):
        write_log(tmp_path / "p2", lines[half::2], f"2026-11-0{3 + half}", name)

    assert watch(tmp_path / "p2", write_log(tmp_path / "l2", labels)) == first


@pytest.mark.parametrize(
    ("week_of", "until", "verdict", "reason"),
    [
        ({}, UNTIL, "ok", None),
        ({"drift": 40}, UNTIL, "drift", "size drifted: "),
        ({"error": 8}, UNTIL, "degraded", "r2_score is "),
        ({}, UNTIL + timedelta(days=2), "stale", "the last prediction is "),
        ({}, UNTIL + timedelta(days=30), "stale", "no prediction of a known version in the last 7 days"),
        ({"rows": 15}, START + timedelta(days=1), "too_little_data", "15 predictions say too little of drift"),
    ],
)
def test_verdict_follows_what_happened(readings_folder, tmp_path, week_of, until, verdict, reason) -> None:
    lines, labels = make_week(**week_of)

    report = watch(write_log(tmp_path / "p", lines), write_log(tmp_path / "l", labels), until)

    assert report["verdict"] == verdict
    assert (report["reasons"][0].startswith(reason)) if reason else not report["reasons"]


def test_command_judges_the_registered_version_and_says_so(readings_folder, tmp_path, capsys) -> None:
    register_reference(tmp_path)
    lines, labels = make_week(drift=40)
    write_log(tmp_path / "p", lines)
    write_log(tmp_path / "l", labels)

    main(["--predictions", "p", "--labels", "l", "--until", UNTIL.isoformat()])

    report = json.loads(MONITOR.with_suffix(".json").read_text(encoding="utf-8"))
    assert report["verdict"] == "drift" and report["versions"][0]["metrics"]["r2_score"]["tested"] == 0.9
    said = capsys.readouterr().out
    assert "v1.0.0 *" in said and "\nverdict: drift\n- size drifted: " in said
    # Nobody named a place for it.
    assert "live_error" not in said


def test_reference_that_is_no_json_is_refused(readings_folder, tmp_path) -> None:
    register_reference(tmp_path)
    (tmp_path / "out/profile.json").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    call_git(tmp_path, "commit", "--quiet", "--all", "--message", "Forget a conflict")

    with pytest.raises(RefusedError, match=r"out/profile\.json at [0-9a-f]{7} is no JSON: .*make pipeline"):
        read_references("readings")


def test_version_that_is_named_by_its_commit_has_that_commits_reference(readings_folder, tmp_path) -> None:
    register_reference(tmp_path)
    former = call_git(tmp_path, "rev-parse", "HEAD")
    call_git(tmp_path, "rm", "--quiet", "-r", "out")
    call_git(tmp_path, "commit", "--quiet", "--message", "Lose the figures")

    references = read_references("readings")

    assert set(references) == {"v1.0.0"}
    assert find_reference(former[:7], references) == references["v1.0.0"]
    assert find_reference("HEAD", references) is find_reference("0" * 40, references) is None


def test_label_beyond_every_bound_counts_where_the_contract_has_none(week, monkeypatch) -> None:
    predictions, labels = week
    target = CONTRACT["columns"][-1]
    for bound in ("minimum", "maximum"):
        monkeypatch.delitem(target, bound)
    write_log(labels, [make_label(FEW, 0.5), make_label(FEW + 1, 61)], name="more.gz")
    write_log(predictions, [make_line(FEW), make_line(FEW + 1)], name="more.gz")

    report = watch(predictions, labels)

    assert not report["left_out"] and count(report) == (FEW + 2, FEW + 2)


def test_folder_of_no_day_is_passed_over(week) -> None:
    predictions, labels = week
    for name in ("2026-11-31", "yesterday"):
        write_log(predictions, [make_line(FEW)], name)

    assert count(watch(predictions, labels)) == (FEW, FEW)


def test_feature_that_is_missing_altogether_drifted_and_has_no_index(readings_folder, tmp_path) -> None:
    lines, labels = make_week()
    lines = [line | {"features": {"size": None}} for line in lines]

    report = watch(write_log(tmp_path / "p", lines), write_log(tmp_path / "l", labels))

    assert report["verdict"] == "drift"
    assert report["reasons"][0] == "size drifted: 100 % missing, 0 % in training"


def test_unreadable_time_is_misuse() -> None:
    with pytest.raises(MisuseError, match="--until is 'soon'; expected a time such as 2026-11-20T00:00Z"):
        read_time("soon")
    assert read_time("2026-11-20T02:00+02:00") == datetime(2026, 11, 20)
