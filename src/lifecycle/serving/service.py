"""The model as a service: from rows of JSON to predictions, with the features that training used."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from json import loads
from pathlib import Path
from typing import Any

import numpy as np

from lifecycle.data.contract import Contract, describe_range, read_contract, read_request
from lifecycle.errors import ContractError, RefusedError
from lifecycle.paths import CHALLENGER, ONNX
from lifecycle.predictor import Predictor, load_predictor
from lifecycle.seam import Columns, load_domain
from lifecycle.serving.request import RequestError, clean, shorten

MANIFEST = "manifest.json"
# The model's name in the registry follows it, where METRICS_NAMESPACE names no other.
NAMESPACE = "ModelLifecycle"
# What the log calls a challenger: one that answers nobody, and one that answers its share of the callers.
SHADOW, SPLIT = "shadow", "challenger"


@dataclass(frozen=True)
class Service:
    """A model with its manifest, and all that is needed to feed it."""

    manifest: dict[str, Any]
    predictor: Predictor
    contract: Contract
    compute_features: Callable[[Columns], Columns]
    variant: str
    challenger: "Service | None" = None

    @property
    def namespace(self) -> str:
        """Where the metrics go."""
        return os.environ.get("METRICS_NAMESPACE") or f"{NAMESPACE}/{self.manifest['name']}"

    def describe(self, request_id: str) -> dict[str, Any]:
        """Say who answers a request."""
        return {
            "request_id": request_id,
            "model_version": self.manifest["version"],
            "model_hash": self.predictor.sha256,
            "variant": self.variant,
        }

    def predict(self, rows: list[dict[str, Any]], many: bool) -> tuple[dict[str, list[float]], list[Any]]:
        """Predict rows.

        Parameters
        ----------
        rows : list of dict
            By the contract's names.
        many : bool
            Whether an error should say which row it means.

        Returns
        -------
        tuple of dict and list
            Each feature's values, of shape (n_rows,), and the predictions: numbers, or for a classifier objects
            with ``class`` and ``probabilities``.

        Raises
        ------
        RequestError
            If a row breaks the contract, or has a number that is too large for the model (400).
        """
        try:
            columns = read_request(self.contract, rows)
        except ContractError as error:
            raise _find_fault(self.contract, rows, many) from error
        # What overflows is refused below, with its name.
        with np.errstate(over="ignore"):
            features = self.compute_features(columns)
            seen = {name: np.asarray(features[name], np.float32) for name in self.predictor.features}
        _check_finite(seen, many)
        predicted = self.predictor.predict(np.column_stack(list(seen.values()))).tolist()
        return {name: values.tolist() for name, values in seen.items()}, [self._show(one) for one in predicted]

    def _show(self, predicted: Any) -> Any:
        """Give a prediction as it is answered."""
        if self.predictor.classes is None:
            return predicted
        best = max(range(len(predicted)), key=predicted.__getitem__)
        return {
            "class": self.predictor.classes[best],
            "probabilities": dict(zip(name_classes(self.predictor), predicted, strict=True)),
        }


def name_classes(predictor: Predictor) -> list[str]:
    """Name the classes as the keys of a JSON object."""
    return [str(label) for label in predictor.classes or ()]


def load_service() -> Service:
    """Load the model, from the bundle that this module lies in, or else from the working folder.

    Returns
    -------
    Service

    Raises
    ------
    RefusedError
        If there is no model, or it cannot be described.
    """
    folder = Path(__file__).parents[2]
    packed = (folder / MANIFEST).is_file()
    root = folder if packed else Path.cwd()
    manifest = loads((folder / MANIFEST).read_text(encoding="utf-8")) if packed else _describe_here()
    domain = load_domain(manifest["domain"], root)
    service = Service(
        manifest=manifest,
        predictor=load_predictor(root / ONNX.name if packed else ONNX),
        contract=read_contract(domain.CONTRACT),
        compute_features=domain.compute_features,
        variant=os.environ.get("VARIANT") or "champion",
    )
    return add_challenger(service, load_predictor(root / CHALLENGER.name)) if "challenger" in manifest else service


def add_challenger(service: Service, predictor: Predictor) -> Service:
    """Put the challenger that a manifest describes beside the champion; both are fed in the same way.

    Parameters
    ----------
    service : Service
    predictor : Predictor
        The challenger.

    Returns
    -------
    Service
    """
    manifest = {**service.manifest, "version": service.manifest["challenger"]["version"]}
    variant = SHADOW if manifest["serve"]["mode"] == "shadow" else SPLIT
    return replace(service, challenger=replace(service, manifest=manifest, predictor=predictor, variant=variant))


def _describe_here() -> dict[str, Any]:
    """Describe the working folder's model."""
    # In a process of its own: this one holds what production has, and no more.
    done = subprocess.run(
        [sys.executable, "-m", "lifecycle.serving.manifest"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RefusedError(f"the model cannot be described: {said[-1] if said else 'no reason given'}")
    described: dict[str, Any] = loads(done.stdout)
    return described


def _check_finite(features: Columns, many: bool) -> None:
    """Refuse what the contract allows and no 32-bit float holds."""
    for name, values in features.items():
        for place in np.flatnonzero(np.isinf(values)).tolist():
            raise RequestError(
                400,
                f"{f'rows[{place}]: ' if many else ''}a number is too large: the feature {name} would be infinite.",
                {"row": place} if many else {},
            )


def _find_fault(contract: Contract, rows: list[dict[str, Any]], many: bool) -> RequestError:
    """Find the first row and field that break the contract."""
    known = contract.known_at_start()
    for place, row in enumerate(rows):
        where = f"rows[{place}]: " if many else ""
        details = {"row": place} if many else {}
        expected = ", ".join(column.name for column in known)
        for name in (name for name in row if name not in {column.name for column in known}):
            message = f"{where}{shorten(name)} is no field of a request; expected {expected}."
            return RequestError(400, message, {**details, "field": clean(name), "expected": expected})
        for column in known:
            try:
                read_request(replace(contract, columns=(column,)), [{column.name: row.get(column.name)}])
            except ContractError:
                value, expected = shorten(row.get(column.name)), describe_range(column)
                said = value if column.name in row else "missing"
                message = f"{where}{column.name} is {said}; expected {expected}."
                return RequestError(
                    400, message, {**details, "field": column.name, "value": value, "expected": expected}
                )
    raise AssertionError("a row that breaks no rule of its own was refused")
