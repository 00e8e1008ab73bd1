"""Record runs with Weights & Biases; without an account, or where WANDB_MODE says so, offline in out/wandb."""

import os
import shutil
from pathlib import Path

from lifecycle.paths import WANDB
from lifecycle.tracking.backend import run_backend
from lifecycle.tracking.record import FACTS, FILES, MODELS, Record

MODULE = "lifecycle.tracking.wandb_backend"


def send(record: Record, folder: Path) -> str:
    """Send a record; a run of this id that was left half done is made anew."""
    WANDB.mkdir(parents=True, exist_ok=True)
    # All that it keeps lies in one folder, and not in the person's home.
    os.environ |= {f"WANDB_{kind}_DIR": str(WANDB.resolve() / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true", "DO_NOT_TRACK": "true"}
    import wandb  # pylint: disable=import-outside-toplevel

    is_offline = os.environ.get("WANDB_MODE") == "offline" or not os.environ.get("WANDB_API_KEY")
    for half in WANDB.glob(f"wandb/*run-*-{record.id}") if is_offline else []:
        shutil.rmtree(half)
    # What a run knows is in its record; nothing of the machine and nothing of the code goes along.
    quiet = {"console": "off", "disable_git": True, "disable_code": True, "save_code": False}
    quiet |= {"x_disable_meta": True, "x_disable_stats": True, "x_disable_machine_info": True}
    quiet |= {"x_save_requirements": False}
    run = wandb.init(
        project=record.model,
        id=record.id,
        name=record.title[:120],
        dir=WANDB,
        mode="offline" if is_offline else "online",
        resume=None if is_offline else "allow",
        config={"params": record.list_params(), **record.list_facts()},
        settings=wandb.Settings(**quiet),
    )
    run.summary.update(record.list_figures())
    # Offline, its own file can be read by its own program alone.
    run.save(shutil.copy(folder / FACTS, run.dir), base_path=run.dir, policy="now")
    if record.data:
        data = wandb.Artifact("data", "dataset", metadata=record.data)
        data.add_reference(f"dvc:{record.data['hash']}", "data", checksum=False)
        run.log_artifact(data)
    made = wandb.Artifact(record.model, "model", metadata={"model_hash": record.model_hash})
    made.add_dir(str(folder / FILES), FILES)
    if (served := folder / MODELS / "model.onnx").is_file():
        made.add_file(str(served))
    run.log_artifact(made)
    where = run.url or run.dir
    run.finish()
    return str(where)


if __name__ == "__main__":
    run_backend(MODULE, send)
