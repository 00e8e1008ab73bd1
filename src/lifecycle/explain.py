"""Explain one prediction: what pushed it up and down, what similar rows did, and where its model came from.

Of a row the inputs are its columns, and the model is the champion; of a logged request they are the features that the
log holds, and the model is the one that answered. Writes out/explain.json.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lifecycle.data.contract import Contract, read_contract, read_request
from lifecycle.data.months import file_name, list_months
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.explanation.inputs import Inputs, compute_matrix, predict_last, take_columns, take_features
from lifecycle.explanation.shapley import share_out
from lifecycle.explanation.training import (
    Neighbours,
    find_neighbours,
    measure_scale,
    sample_rows,
    stream_months,
)
from lifecycle.lineage import describe_lineage
from lifecycle.monitoring.groups import read_predictions
from lifecycle.monitoring.lookup import find_predictions
from lifecycle.params import Params, read_params
from lifecycle.paths import DATA, EXPLANATION, ONNX, ROWS
from lifecycle.predictor import Predictor, load_predictor
from lifecycle.repository import hash_file, is_unchanged_since, read_at
from lifecycle.seam import Domain
from lifecycle.serving.request import RequestError, read_rows
from lifecycle.serving.service import SHADOW
from lifecycle.store import fetch_at
from lifecycle.views.explain_text import format_explanation


@dataclass(frozen=True)
class Asked:
    """What is to be explained: a row of a request, or a line of the log."""

    row: dict[str, Any] | None = None
    line: dict[str, Any] | None = None

    @property
    def model_hash(self) -> str | None:
        """Name the model that answered; None asks for the champion."""
        return self.line["model_hash"] if self.line else None


def read_row(text: str) -> Asked:
    """Read a row as a request to /predict has it."""
    try:
        rows, _ = read_rows(text.encode())
    except RequestError as error:
        raise MisuseError(f"ROW: {error}") from error
    if len(rows) != 1:
        raise MisuseError(f"ROW holds {len(rows)} rows; expected one.")
    return Asked(row=rows[0])


def find_line(address: str, request_id: str, number: int) -> Asked:
    """Find a prediction that was answered.

    Raises
    ------
    RefusedError
        If the log has none of that request and number.
    """
    answered = [line for line in find_predictions(address, request_id) if line.get("variant") != SHADOW]
    if not answered:
        raise RefusedError(
            f"no prediction of request {request_id!r} is in {address}; expected the request_id of an answer, and the "
            "folder or address of its log."
        )
    chosen = next((line for line in answered if line.get("row", 0) == number), None)
    if chosen is None:
        raise RefusedError(f"request {request_id!r} has {len(answered)} predictions, and none is number {number}.")
    lacking = {"model_hash", "model_version", "features", "prediction"} - chosen.keys()
    if lacking:
        raise RefusedError(f"the log's line of request {request_id!r} lacks {', '.join(sorted(lacking))}.")
    return Asked(line=chosen)


def explain(asked: Asked, params: Params) -> dict[str, Any]:
    """Explain a prediction.

    Parameters
    ----------
    asked : Asked
    params : Params

    Returns
    -------
    dict
        Serialisable as JSON.

    Raises
    ------
    RefusedError
        If the model, its code or the months that it learnt from are not here, or its contributions do not add up.
    """
    domain = params.load_domain()
    contract = read_contract(domain.CONTRACT)
    lineage = describe_lineage(params.registry.name, asked.model_hash)
    commit = lineage["commit"]["hash"]
    _require_code(commit, params.domain)
    paths = find_training(lineage, params)
    with tempfile.TemporaryDirectory() as folder:
        predictor = load_predictor(fetch_at(commit, str(ONNX), Path(folder) / ONNX.name))
    background = sample_rows(stream_months(paths, contract, domain), params.explain.background, params.explain.seed)
    inputs = take_inputs(asked, background, contract, predictor, domain)
    if asked.line:
        _check_answer(asked.line, float(inputs.predict(inputs.row[None, :])[0]), params.explain.tolerance)
    shares = share_out(
        inputs.predict, inputs.row, inputs.read(background), params.explain.tolerance, params.explain.seed
    )
    near = find_neighbours(
        stream_months(paths, contract, domain),
        lambda columns: compute_matrix(domain.compute_features, columns, predictor.features),
        inputs.features,
        measure_scale(compute_matrix(domain.compute_features, background, predictor.features)),
        params.explain.neighbours,
    )
    return {
        "request_id": asked.line["request_id"] if asked.line else None,
        "target": contract.target,
        "unit": _name_unit(contract, predictor),
        "prediction": shares.prediction,
        "base": shares.base,
        "background_rows": len(background[contract.target]),
        "kind": "features" if asked.line else "columns",
        "is_exact": shares.is_exact,
        "gap": shares.gap,
        "contributions": list_contributions(inputs, shares.values),
        "similar": list_similar(near, inputs, contract, predictor, domain),
        "searched_rows": near.rows,
        "model_hash": predictor.sha256,
        "lineage": lineage,
    }


def _require_code(commit: str, domain: str) -> None:
    """Refuse to compute a model's features with other code than its own."""
    if not is_unchanged_since(commit, f"src/{domain}"):
        raise RefusedError(
            f"src/{domain} is not what it was at {commit[:7]}, where the model comes from, so its features would be "
            f"others. Explain it there: git worktree add ../then {commit[:7]}"
        )


def find_training(lineage: dict[str, Any], params: Params) -> dict[str, Path]:
    """Find the months that a model learnt from, in data/.

    Raises
    ------
    RefusedError
        If one is missing, or not what it was.
    """
    commit = lineage["commit"]["hash"]
    counts = json.loads(read_at(commit, ROWS.as_posix()) or b"{}")
    here = list_months(DATA, file_name(params.ingest.source))
    hashes = {one["name"]: one["hash"] for one in (lineage["data"] or {}).get("sources") or []}
    months = [month for month, count in counts.items() if count["part"] == "train"]
    for month in months:
        if month not in here or hashes.get(here[month].name, "") not in ("", hash_file(here[month])):
            raise RefusedError(
                f"the model of {commit[:7]} learnt from {month}, which is not in data/ as it was then. "
                f"Get it back: git checkout {commit[:7]} data.dvc && dvc checkout data"
            )
    if not months:
        raise RefusedError(f"{ROWS} at {commit[:7]} names no month that the model learnt from.")
    return {month: here[month] for month in months}


def take_inputs(
    asked: Asked, background: dict[str, np.ndarray], contract: Contract, predictor: Predictor, domain: Domain
) -> Inputs:
    """Take a row's columns as the inputs, or a log line's features.

    Raises
    ------
    ContractError
        If the row is not what the contract promises.
    RefusedError
        If the line lacks a feature.
    """
    if asked.row is not None:
        columns = read_request(contract, [asked.row])
        return take_columns(columns, background, contract.known_at_start(), predictor, domain.compute_features)
    logged = asked.line["features"] if asked.line else {}
    lacking = [name for name in predictor.features if name not in logged]
    if lacking:
        raise RefusedError(f"the log's line lacks the model's features {', '.join(lacking)}.")
    values = {name: np.nan if logged[name] is None else float(logged[name]) for name in predictor.features}
    return take_features(values, predictor, domain.compute_features)


def _check_answer(line: dict[str, Any], prediction: float, tolerance: float) -> None:
    """Refuse to explain another prediction than the one that was answered."""
    logged, classes = read_predictions(np.array([json.dumps(line["prediction"])], object))
    answered = float(logged[0] if classes is None else logged[0, -1])
    if not abs(answered - prediction) <= tolerance:
        raise RefusedError(
            f"the log says {answered:g}, and the model predicts {prediction:g} of the logged features; expected them "
            f"to agree to {tolerance:g}. The line is not this model's."
        )


def _name_unit(contract: Contract, predictor: Predictor) -> str:
    """Name the unit of what is explained."""
    if predictor.classes is None:
        return contract.find_column(contract.target).unit
    return f"probability of {predictor.classes[-1]:g}"


def list_contributions(inputs: Inputs, values: Sequence[float]) -> list[dict[str, Any]]:
    """List what each input adds, the largest first."""
    rows = [
        {"input": name, "value": inputs.show(name, number), "contribution": value}
        for name, number, value in zip(inputs.names, inputs.row.tolist(), values, strict=True)
    ]
    return sorted(rows, key=lambda row: -abs(row["contribution"]))


def list_similar(
    near: Neighbours, inputs: Inputs, contract: Contract, predictor: Predictor, domain: Domain
) -> list[dict[str, Any]]:
    """List the similar rows: how far they are, what became of them, and what the model says of them."""
    X = compute_matrix(domain.compute_features, near.columns, predictor.features)
    predicted = predict_last(predictor, X)
    rows = inputs.read(near.columns)
    return [
        {
            "distance": float(near.distance[place]),
            "time": str(near.columns[contract.time][place]),
            "actual": float(near.columns[contract.target][place]),
            "predicted": float(predicted[place]),
            "inputs": {
                name: inputs.show(name, value) for name, value in zip(inputs.names, row.tolist(), strict=True)
            },
        }
        for place, row in enumerate(rows)
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Explain one prediction."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.explain", description=main.__doc__)
    parser.add_argument("--row", help="a row of JSON, as a request to /predict has it")
    parser.add_argument("--request", help="the request_id of an answer; needs --predictions")
    parser.add_argument("--number", type=int, default=0, help="which row of the request, from 0 on")
    parser.add_argument("--predictions", help="folder or address of the prediction log")
    given = parser.parse_args(argv)
    if bool(given.row) == bool(given.request) or (given.request and not given.predictions):
        raise MisuseError(
            "name one prediction: REQUEST=id PREDICTIONS=folder or address of the log, or ROW='{...}' as a request "
            "to /predict."
        )
    asked = read_row(given.row) if given.row else find_line(given.predictions, given.request, given.number)
    explained = explain(asked, read_params())
    EXPLANATION.parent.mkdir(exist_ok=True)
    EXPLANATION.write_text(json.dumps(explained, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    print(format_explanation(explained))


if __name__ == "__main__":
    run(main)
