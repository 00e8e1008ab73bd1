"""Record runs at an MLflow server: a run, its model in two flavours, and the registry as Git has it."""

import json
import math
import os
import re
import urllib.request
from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from lifecycle.errors import RefusedError
from lifecycle.params import read_params
from lifecycle.paths import CARD
from lifecycle.registry import Version, list_versions
from lifecycle.repository import LOCK, hash_content, read_at
from lifecycle.tracking.backend import run_backend
from lifecycle.tracking.mlflow_registry import Source, follow_registry
from lifecycle.tracking.record import EXAMPLE, FILES, MODELS, Record, write_commit

MODULE = "lifecycle.tracking.mlflow_backend"
RECORD = "record"
SERVED, PICKLED = "model", "model-scikit-learn"
USES = {SERVED: "served", PICKLED: "for people, never served: a pickle runs code when it is opened"}
FINISHED = "FINISHED"
# What the server takes at once, and as the text of a tag.
BATCH, TAG_CHARACTERS = 100, 5000


@cache
def open_client() -> Any:
    """Open a client of the server that the environment names.

    Raises
    ------
    RefusedError
        If it does not answer in time.
    """
    seconds, address = read_params().track.answer_seconds, os.environ["MLFLOW_TRACKING_URI"]
    if urlsplit(address).scheme in ("http", "https"):
        # Importing the client takes seconds, which a run must not wait for a server that is down.
        try:
            with urllib.request.urlopen(f"{_hide(address)}/health", timeout=seconds):
                pass
        except HTTPError:
            # Whoever refuses is there.
            pass
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise RefusedError(f"no answer from {_hide(address)}: {' '.join(str(reason).split())}") from error
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    os.environ |= {"MLFLOW_HTTP_REQUEST_TIMEOUT": f"{math.ceil(seconds)}", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    from mlflow import MlflowClient  # pylint: disable=import-outside-toplevel

    return MlflowClient()


def send(record: Record, folder: Path) -> str:
    """Send a record, unless its run is there; one that was left half done is made anew."""
    client = open_client()
    experiment = _find_experiment(client, record.model)
    if (run := find_run(client, experiment, record)) is None:
        run = _create_run(client, experiment, record)
        client.log_artifacts(run, str(folder / FILES))
        if (card := folder / FILES / CARD.name).is_file():
            client.set_tag(run, "mlflow.note.content", card.read_text(encoding="utf-8")[:TAG_CHARACTERS])
        _send_facts(client, run, record, _send_models(client, run, record, folder))
        client.set_terminated(run, FINISHED)
    address = _hide(os.environ["MLFLOW_TRACKING_URI"])
    return (
        f"{address}/#/experiments/{experiment}/runs/{run}" if address.startswith("http") else f"{address}, run {run}"
    )


def find_run(client: Any, experiment: str, record: Record) -> str | None:
    """Find the run of a record, and delete what a sender that was stopped left of it.

    A record of Git's history is the run of any pipeline that made the same dvc.lock.
    """
    same = f"tags.`{RECORD}` = '{record.id}'"
    runs = client.search_runs([experiment], same)
    if not runs and record.is_history:
        return _find_lock(client, experiment, record.lock_hash)
    for run in runs:
        if run.info.status != FINISHED:
            client.delete_run(run.info.run_id)
    done = [run.info.run_id for run in runs if run.info.status == FINISHED]
    return done[0] if done else None


def _find_lock(client: Any, experiment: str, lock_hash: str) -> str | None:
    """Find the first run that made a dvc.lock."""
    where = f"tags.lock_hash = '{lock_hash}' and attributes.status = '{FINISHED}'"
    runs = client.search_runs([experiment], where, max_results=1, order_by=["attributes.start_time ASC"])
    return str(runs[0].info.run_id) if runs else None


def follow() -> list[str]:
    """Bring the registry there to what Git's says, as `follow_registry` does."""
    name, client = read_params().registry.name, open_client()

    def find_source(version: Version) -> Source:
        """Find run and model of a version; a run that is not there is sent from Git's history."""
        experiment = _find_experiment(client, name)
        run = _find_lock(client, experiment, hash_content(read_at(version.commit, LOCK) or b""))
        if run is None:
            with TemporaryDirectory() as folder:
                record = write_commit(Path(folder), name, version.commit)
                send(record, Path(folder))
            run = str(find_run(client, experiment, record))
        models = client.search_logged_models([experiment], f"source_run_id = '{run}' AND name = '{SERVED}'")
        return run, models[0].model_id if models else None

    return follow_registry(client, name, list_versions(name), find_source)


def _find_experiment(client: Any, name: str) -> str:
    """Find the experiment of a model, or create it; one that somebody deleted comes back."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return str(client.create_experiment(name))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def _create_run(client: Any, experiment: str, record: Record) -> str:
    """Create the run of a record."""
    tags = {
        RECORD: record.id,
        **record.list_facts(),
        "mlflow.user": record.who,
        "mlflow.source.type": "PROJECT",
        "mlflow.source.name": "make pipeline",
        **({"mlflow.source.git.commit": record.commit} if record.commit else {}),
    }
    milliseconds = int(datetime.fromisoformat(record.time).timestamp() * 1000)
    run = client.create_run(experiment, start_time=milliseconds, tags=tags, run_name=record.title[:120])
    return str(run.info.run_id)


def _send_facts(client: Any, run: str, record: Record, model: str | None) -> None:
    """Send parameters, the data's hash, and the figures, as those of the run and of its model."""
    from mlflow import entities  # pylint: disable=import-outside-toplevel

    milliseconds = int(datetime.fromisoformat(record.time).timestamp() * 1000)
    figures = record.list_figures().items()
    metrics = [entities.Metric(key, value, milliseconds, 0, model_id=model) for key, value in figures]
    params = [entities.Param(key, value) for key, value in record.list_params().items()]
    for start in range(0, max(len(metrics), len(params)), BATCH):
        end = start + BATCH
        client.log_batch(run, metrics=metrics[start:end], params=params[start:end])
    if record.data:
        source = json.dumps({"uri": f"dvc:{record.data['hash']}", "size_bytes": record.data["size_bytes"]})
        # The server takes a digest of at most 36 characters, as long as an md5 with DVC's ending for folders.
        dataset = entities.Dataset("data", record.data["hash"], "dvc", source)
        client.log_inputs(run, [entities.DatasetInput(dataset)])


def _send_models(client: Any, run: str, record: Record, folder: Path) -> str | None:
    """Send the model as it is served, and the pickle of the same one for people; give the id of the first one."""
    served, pickled = folder / MODELS / "model.onnx", folder / MODELS / "model.joblib"
    if not served.is_file():
        return None
    # pylint: disable=import-outside-toplevel
    import joblib
    import mlflow
    import onnx
    import sklearn

    def save_served(path: Path, **options: Any) -> None:
        needs = [f"onnx=={onnx.__version__}", "onnxruntime"]
        providers = ["CPUExecutionProvider"]
        options |= {"pip_requirements": needs, "onnx_execution_providers": providers, "save_as_external_data": False}
        mlflow.onnx.save_model(onnx.load(served), path, **options)

    def save_pickled(path: Path, **options: Any) -> None:
        needs = [f"scikit-learn=={sklearn.__version__}", "cloudpickle"]
        options |= {"pip_requirements": needs, "serialization_format": "cloudpickle"}
        mlflow.sklearn.save_model(joblib.load(pickled), path, **options)

    signature, example = _describe_input(served, folder / EXAMPLE)
    described = {"signature": signature, "input_example": example}
    model = _send_model(client, run, record, SERVED, partial(save_served, **described))
    if pickled.is_file():
        _send_model(client, run, record, PICKLED, partial(save_pickled, **described))
    return model


def _send_model(client: Any, run: str, record: Record, name: str, save: Callable[..., None]) -> str:
    """Send one flavour of the model, and give its id.

    Not by MLflow's ``log_model``: that adds the address of the Git remote, which may hold a token, and local paths.
    """
    from mlflow import entities  # pylint: disable=import-outside-toplevel
    from mlflow.models import Model  # pylint: disable=import-outside-toplevel

    tags = {**record.list_facts(), "use": USES[name]}
    experiment = client.get_run(run).info.experiment_id
    model = client.create_logged_model(experiment, name, source_run_id=run, tags=tags)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save(path, mlflow_model=Model(model_id=model.model_id, run_id=run))
        client.log_model_artifacts(model.model_id, str(path))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run, [entities.LoggedModelOutput(model.model_id, 0)])
    return str(model.model_id)


def _describe_input(served: Path, example: Path) -> tuple[Any, Any]:
    """Describe what the model takes and gives, and give rows of the test set, if the record has some."""
    # pylint: disable=import-outside-toplevel
    import numpy as np
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    from lifecycle.predictor import load_predictor

    predictor = load_predictor(served)
    rows = json.loads(example.read_text(encoding="utf-8"))["rows"] if example.is_file() else None
    X = None if rows is None else np.array(rows, np.float32)
    if predictor.classes:
        # Beside a table MLflow lays each output out as one column, which probabilities are not.
        taken = Schema([TensorSpec(np.dtype(np.float32), (-1, len(predictor.features)))])
        return ModelSignature(inputs=taken), X
    taken = Schema([ColSpec("float", name) for name in predictor.features])
    return ModelSignature(inputs=taken), None if X is None else pd.DataFrame(X, columns=list(predictor.features))


def _hide(address: str) -> str:
    """Leave a name and a password out of an address."""
    return re.sub(r"//[^/@]*@", "//", address).rstrip("/")


if __name__ == "__main__":
    run_backend(MODULE, send, follow)
