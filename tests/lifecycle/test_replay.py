"""A month of the second task, replayed through the handler, and what the monitor's command says of it."""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
from conftest import run_here

from lifecycle.params import read_params
from lifecycle.serve import get_service


def test_replayed_month_of_a_classifier_is_monitored_by_its_own_metrics(workspace, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    params = read_params()
    month = tmp_path / "month.parquet"
    pq.write_table(params.load_domain().generate_month("2025-03", 2000, params.sample.seed), month)
    get_service.cache_clear()
    run_here(workspace, "rehearsal.replay", str(month), str(tmp_path / "log"), "--start", "2026-11-01")
    get_service.cache_clear()

    done = run_here(
        workspace,
        "lifecycle.monitor",
        f"--predictions={tmp_path}/log/predictions",
        f"--labels={tmp_path}/log/labels",
        "--until=2026-11-29T00:00Z",
    )

    report = json.loads(Path("out/monitor.json").read_text(encoding="utf-8"))
    (version,) = report["versions"]
    assert report["verdict"] == "ok", report["reasons"]
    assert {"log_loss", "roc_auc_score", "missed_failures_error"} <= set(version["metrics"])
    assert version["labelled"] > 1500
    assert version["metrics"]["log_loss"]["low"] < version["metrics"]["log_loss"]["tested"]
    assert "verdict: ok" in done.stdout
