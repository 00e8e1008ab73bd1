"""Where each thing lies, relative to the folder that the machinery works in."""

from pathlib import Path

PARAMS, PIPELINE = Path("params.yaml"), Path("dvc.yaml")
# Holds a folder for each model but the first one, which lies at the repository's top.
MODELS = Path("models")
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
EXPLORE, EXPLANATION = OUT / "explore.html", OUT / "explain.json"
TUNE, TUNE_JOURNAL = OUT / "tune.json", OUT / "tune.journal"
INCOMING = OUT / "incoming"
TRACKING, TRACKING_STORE = OUT / "tracking.json", OUT / "tracking"
OUTBOX, WANDB = OUT / "outbox", OUT / "wandb"


def find_model(folder: Path | None = None) -> str | None:
    """Find which of the models a folder is, by default the working folder; None for the first one."""
    here = folder or Path.cwd()
    return here.name if here.parent.name == MODELS.name and (here.parents[1] / PARAMS).is_file() else None


def find_top(folder: Path | None = None) -> Path:
    """Find the repository's top from the folder of a model, by default the working folder."""
    here = folder or Path.cwd()
    return here.parents[1] if find_model(here) else here
