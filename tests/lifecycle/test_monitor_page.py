"""What the monitor's page and its table say, and what a stranger's words in a log cannot do."""

# pylint: disable=unused-argument  # a fixture that only prepares what is there

import json
import re
from pathlib import Path

import pytest
from logs import make_label, make_line, make_week, watch, write_log

from lifecycle.errors import MisuseError
from lifecycle.monitor import publish
from lifecycle.monitoring.files import find_addresses
from lifecycle.views.monitor_page import format_monitor, render_monitor
from lifecycle.views.monitor_plots import draw_monitor


@pytest.fixture(name="drifted")
def fixture_drifted(readings_folder: None, tmp_path: Path) -> dict:
    """The report of a week whose inputs moved."""
    lines, labels = make_week(drift=40)
    return watch(write_log(tmp_path / "p", lines), write_log(tmp_path / "l", labels))


def test_page_says_verdict_reasons_and_figures(drifted) -> None:
    page = render_monitor(drifted)

    assert page.startswith("## 🟠 drift: ")
    assert "> - size drifted" in page
    assert "`r2_score`" in page and "🔴 `size`" in page
    assert "2,000" in page


def test_terminal_has_80_columns(drifted) -> None:
    said = format_monitor(drifted)

    assert "verdict: drift" in said
    assert max(map(len, said.splitlines()[:3])) <= 80


def test_report_is_written_whole_and_told_to_the_runner(drifted, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))

    publish(drifted)

    assert json.loads(Path("out/monitor.json").read_text(encoding="utf-8")) == drifted
    html = Path("out/monitor.html").read_text(encoding="utf-8")
    assert html.count("data:image/png;base64,") == 3
    assert not re.search(r"(src|href)=.https?:", html)
    assert (tmp_path / "output").read_text(encoding="utf-8") == "verdict=drift\n"
    assert (tmp_path / "summary").read_text(encoding="utf-8") == render_monitor(drifted)


def test_page_of_a_log_without_predictions_says_that_alone(readings_folder, tmp_path) -> None:
    report = watch(write_log(tmp_path / "p", []), write_log(tmp_path / "l", []))

    page = render_monitor(report)

    assert page.startswith("## ⚪ stale: nothing was predicted lately\n")
    assert "###" not in page and not draw_monitor(report)
    assert format_monitor(report).splitlines()[0] == "verdict: stale"


def test_page_tells_broken_requests_and_what_was_left_out(readings_folder, tmp_path) -> None:
    lines = [make_line(number) for number in range(10)]
    requests = [
        {"kind": "request", "request_id": f"id-{n}", "time": "2026-11-02T00:00:00Z", "status": 200 if n else 500}
        for n in range(10)
    ]
    report = watch(write_log(tmp_path / "p", [*lines, *requests, "platform"]), write_log(tmp_path / "l", []))

    page = render_monitor(report)

    assert "Of 10 requests 1 broke (10 %), and 0 were refused." in page
    assert "### What was left out" in page and "| log line of the platform | 1 |" in page
    # Without labels there is no error to draw, and of so few predictions no drift.
    assert set(draw_monitor(report)) == {"predictions by day"}


def test_words_of_a_log_stay_words(readings_folder, tmp_path) -> None:
    lines = [make_line(number, variant="<img src=x> | @team") for number in range(30)]

    page = render_monitor(watch(write_log(tmp_path / "p", lines), write_log(tmp_path / "l", [make_label(1)])))

    assert "<img" not in page and "@team" not in page


def test_addresses_come_from_the_target_or_by_name() -> None:
    assert find_addresses(None, "mine", {"logs_bucket": "b"}) == ("s3://b/predictions", "mine")
    with pytest.raises(MisuseError, match="name --predictions and --labels, or --target"):
        find_addresses("mine", None, {})
