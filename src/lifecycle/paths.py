"""Where each thing lies, relative to the folder that the machinery works in."""

from pathlib import Path

DATA = Path("data")
OUT = Path("out")
# Written by the stages, in their order.
ENVIRONMENT = OUT / "environment.json"
TRAIN, TEST, ROWS = OUT / "train", OUT / "test", OUT / "rows.json"
MODEL, ONNX, CROSS_VALIDATION = OUT / "model.joblib", OUT / "model.onnx", OUT / "cross_validation.json"
METRICS, PROFILE = OUT / "metrics.json", OUT / "profile.json"
PLOTS, CARD = OUT / "plots", OUT / "model_card.md"
# Written by the commands around them.
LOCK_CHECK = OUT / "lock.json"
VERDICT = OUT / "verdict.json"
DECISION = OUT / "decision.json"
CHAMPION, CHALLENGER = OUT / "champion.onnx", OUT / "challenger.onnx"
BUNDLE, BUNDLE_FACTS, BUNDLE_MATERIALS = OUT / "bundle.zip", OUT / "bundle.json", OUT / "sbom.json"
REPORT = OUT / "report.json"
MONITOR = OUT / "monitor.json"
STATUS = OUT / "status.html"
TUNE, TUNE_JOURNAL = OUT / "tune.json", OUT / "tune.journal"
INCOMING = OUT / "incoming"
