"""How the bundle serves under AWS's runtime client, beside the same model as a pickled scikit-learn pipeline."""

import json
import statistics
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lifecycle.bundle import HANDLER, build_bundle
from lifecycle.data.contract import Contract, read_contract
from lifecycle.params import Params
from lifecycle.paths import MODEL
from lifecycle.serving.archive import MAX_UNZIPPED_BYTES, MAX_ZIPPED_BYTES
from lifecycle.serving.openapi import make_example
from rehearsal.cloud.process import Event, Process, link_runtime, unpack
from tests.bench.line import Line

STARTS = 5
ROUNDS = 1000
# A float of 32 bits holds seven digits.
SAME = 1e-5

# The pipeline does less than the bundle: it checks no contract, and writes no log.
PIPELINE = """
import json, os, sys
sys.path += json.loads(os.environ["LIBRARIES"])
import joblib
import pandas as pd
from importlib import import_module
compute_features = import_module(os.environ["DOMAIN"]).compute_features
TIMES = json.loads(os.environ["TIMES"])
model = joblib.load(os.environ["MODEL"])

def handle(event, context):
    frame = pd.DataFrame([json.loads(event["body"])])
    for name in TIMES:
        frame[name] = pd.to_datetime(frame[name])
    features = pd.DataFrame(compute_features({name: frame[name].to_numpy() for name in frame}))
    predict = getattr(model, "predict_proba", model.predict)
    return {"statusCode": 200, "body": json.dumps({"predictions": predict(features.to_numpy()).tolist()})}
"""


def measure_serving(folder: Path, params: Params) -> Iterator[Line]:
    """Pack the model, and compare its bundle with the pickled pipeline: size, start, warm predictions."""
    facts, _ = build_bundle(folder / "bundle.zip")
    for what, key, limit in (
        ("size", "size_bytes", MAX_ZIPPED_BYTES),
        ("unzipped", "unzipped_bytes", MAX_UNZIPPED_BYTES),
    ):
        yield Line(f"bundle: {what}, MB", facts[key] / 1e6, ceiling=limit / 1e6, note="AWS Lambda takes no more")
    unpack((folder / "bundle.zip").read_bytes(), folder / "bundle")
    link_runtime(folder / "runtime")
    contract = read_contract(params.load_domain().CONTRACT)
    event = make_event(contract)

    def start_bundle() -> Process:
        return start(folder, "bundle", HANDLER, {"AWS_LAMBDA_FUNCTION_NAME": "bundle"})

    def start_pipeline() -> Process:
        return start(folder, "pipeline", "pipeline.handle", describe_pipeline(contract, params))

    (folder / "pipeline").mkdir()
    (folder / "pipeline/pipeline.py").write_text(PIPELINE, encoding="utf-8")
    yield compare_starts(start_bundle, start_pipeline, event)
    yield from compare_warm(start_bundle, start_pipeline, event)


def describe_pipeline(contract: Contract, params: Params) -> dict[str, str]:
    """Tell the pipeline's process where things are, and which columns are times."""
    times = [column.name for column in contract.known_at_start() if column.type == "timestamp"]
    libraries = [sysconfig.get_path("purelib"), str(Path("src").resolve())]
    return {
        "DOMAIN": params.domain,
        "LIBRARIES": json.dumps(libraries),
        "MODEL": str(MODEL.resolve()),
        # One row is too little to share; threads that wait for one another would only make it slower.
        "OMP_NUM_THREADS": "1",
        "TIMES": json.dumps(times),
    }


def make_event(contract: Contract) -> Event:
    """Make the event that asks for one prediction."""
    content = {
        "version": "2.0",
        "rawPath": "/predict",
        "requestContext": {"http": {"method": "POST"}},
        "headers": {},
        "body": json.dumps(make_example(contract)),
        "isBase64Encoded": False,
    }
    return Event("bench", json.dumps(content).encode(), "arn:aws:lambda:eu-central-1:0:function:bench", 60)


def start(folder: Path, name: str, handler: str, environment: dict[str, str]) -> Process:
    """Start a function's process."""
    return Process(folder / name, folder / "runtime", handler, environment, lambda line: None)


def ask(process: Process, event: Event) -> tuple[float, Any]:
    """Ask for a prediction; return the milliseconds that it took, and the prediction."""
    outcome = process.run(event)
    answer = json.loads(outcome.payload)
    if outcome.error or answer["statusCode"] != 200:
        raise RuntimeError(f"a process of the benchmark answered {answer}")
    return outcome.milliseconds, json.loads(answer["body"])["predictions"][0]


def compare_starts(start_bundle: Callable[[], Process], start_pipeline: Callable[[], Process], event: Event) -> Line:
    """Compare the time from the start of a process to its first answer."""

    def measure(begin: Callable[[], Process]) -> float:
        started = time.perf_counter()
        process = begin()
        ask(process, event)
        seconds = time.perf_counter() - started
        process.stop()
        return seconds

    # The first round fills the machine's caches.
    rounds = [(measure(start_bundle), measure(start_pipeline)) for _ in range(STARTS + 1)][1:]
    bundle, pipeline = (statistics.median(times) for times in zip(*rounds, strict=True))
    note = f"{1000 * bundle:.0f} ms against {1000 * pipeline:,.0f} ms; AWS's runtime client is part of both"
    return Line(
        "bundle: start to first prediction, in times of the pickled pipeline", pipeline / bundle, 4, note=note
    )


def compare_warm(
    start_bundle: Callable[[], Process], start_pipeline: Callable[[], Process], event: Event
) -> Iterator[Line]:
    """Compare warm predictions, one at a time and in turns."""
    bundle, pipeline = start_bundle(), start_pipeline()
    try:
        check_same(ask(bundle, event)[1], ask(pipeline, event)[1])
        rounds = [(ask(bundle, event)[0], ask(pipeline, event)[0]) for _ in range(ROUNDS)]
    finally:
        bundle.stop()
        pipeline.stop()
    for share, floor in ((50, 5), (99, 1.5)):
        ours, theirs = np.percentile(rounds, share, axis=0)
        note = f"{ours:.2f} ms against {theirs:.2f} ms; AWS's runtime client is part of both"
        what = f"bundle: a warm prediction, p{share}, in times of the pickled pipeline"
        yield Line(what, theirs / ours, floor, note=note)


def check_same(predicted: Any, expected: Any) -> None:
    """Check that both predict the same: a number, or the probabilities of a classifier."""
    found = list(predicted["probabilities"].values()) if isinstance(predicted, dict) else predicted
    if not np.allclose(found, expected, rtol=SAME, atol=SAME):
        raise RuntimeError(f"the bundle predicts {found}, the pipeline {expected}; expected the same")
