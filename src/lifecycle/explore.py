"""Explore: write out/explore.html, a page of the months in data/, and of where the champion errs in them.

Reads each month once, batch by batch, so memory does not grow with the rows.
"""

import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lifecycle.data.contract import read_contract
from lifecycle.data.months import file_name, list_months
from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.exploration.findings import Findings, find_all
from lifecycle.exploration.survey import Model, Month, survey_month
from lifecycle.params import Params, read_params
from lifecycle.paths import DATA, EXPLORE, ONNX, ROWS
from lifecycle.predictor import load_predictor
from lifecycle.registry import find_champion
from lifecycle.repository import is_unchanged_since, read_at
from lifecycle.store import fetch_at
from lifecycle.views.explore_page import render_explore
from lifecycle.views.explore_words import About

log = logging.getLogger(__name__)


def find_model(params: Params) -> tuple[Model | None, str]:
    """Find the model to look at the data with: the champion, or else that of the working folder.

    Returns
    -------
    Model or None
    str
        Why it is not the champion; empty if it is.
    """
    why = "there is no champion."
    try:
        if champion := find_champion(params.registry.name):
            if is_unchanged_since(champion.revision, f"src/{params.domain}"):
                with tempfile.TemporaryDirectory() as folder:
                    path = fetch_at(champion.revision, str(ONNX), Path(folder) / ONNX.name)
                    rows = read_at(champion.revision, ROWS.as_posix())
                    return Model(load_predictor(path), f"the champion, {champion.name}.", _list_learnt(rows)), ""
            why = f"src/{params.domain} changed since the champion, {champion.name}."
    except (MisuseError, RefusedError) as error:
        why = str(error)
    if not ONNX.is_file():
        return None, f"{why} {ONNX} is missing as well; make it with: make pipeline"
    rows = ROWS.read_bytes() if ROWS.is_file() else None
    return Model(load_predictor(ONNX), f"{ONNX} of this folder, for {why}", _list_learnt(rows)), why


def _list_learnt(rows: bytes | None) -> tuple[str, ...]:
    """List the months that a model learnt from, by the rows.json beside it."""
    return tuple(month for month, count in json.loads(rows or b"{}").items() if count["part"] == "train")


def survey_months(params: Params, model: Model | None) -> list[Month]:
    """Survey the months in data/.

    Raises
    ------
    MisuseError
        If there is none.
    ContractError
        If one cannot be read as the contract says.
    """
    domain = params.load_domain()
    months = []
    for month, path in list_months(DATA, file_name(params.ingest.source)).items():
        months.append(survey_month(path, month, domain, model, params.explore.predicted_rows))
        log.info("explore month=%s rows=%d clean=%d", month, months[-1].survey.rows, months[-1].survey.clean)
    if not months:
        raise MisuseError("data/ holds no month; bring some with: make data MONTHS=...")
    return months


def describe(params: Params, model: Model | None, why: str) -> About:
    """Collect what the page is told beside the figures."""
    contract = read_contract(params.load_domain().CONTRACT)
    return About(
        title=contract.title,
        target=contract.target,
        unit=contract.find_column(contract.target).unit,
        model=model.name if model else None,
        why=why,
        is_classifier=model is not None and model.predictor.classes is not None,
        max_psi=params.monitor.max_psi,
        min_rows=params.evaluate.min_slice_rows,
        confidence=params.evaluate.confidence,
        most_groups=params.explore.groups,
    )


def explore(params: Params) -> tuple[Findings, About]:
    """Survey the months in data/, and find what stands out."""
    model, why = find_model(params)
    contract = read_contract(params.load_domain().CONTRACT)
    months = survey_months(params, model)
    found = find_all(
        months, contract, params.explore.bins, params.evaluate.min_slice_rows, params.evaluate.confidence
    )
    return found, describe(params, model, why)


def main(_argv: Sequence[str] | None = None) -> None:
    """Write out/explore.html."""
    page = render_explore(*explore(read_params()))
    EXPLORE.parent.mkdir(exist_ok=True)
    EXPLORE.write_text(page, encoding="utf-8")
    print(f"{EXPLORE}  {len(page) / 1e6:.1f} MB, opens in any browser")


if __name__ == "__main__":
    run(main)
