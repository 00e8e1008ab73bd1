"""What is different between two states of the repository, fact by fact; pure."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from lifecycle.comparison.snapshot import Snapshot
from lifecycle.comparison.verdict import Verdict
from lifecycle.data.profile import measure_distance, measure_stability
from lifecycle.metric_names import is_lower_better
from lifecycle.params import Params
from lifecycle.paths import DATA, ENVIRONMENT, ONNX, OUT, TEST
from lifecycle.repository import find_entry, find_hash
from lifecycle.views.numbers import round_figure
from lifecycle.views.report_facts import (
    ChangeFacts,
    DriftFacts,
    FoldFacts,
    ImportanceFacts,
    MetricFacts,
    MonthFacts,
    ReasonFacts,
    SliceFacts,
    StageFacts,
)

LIBRARIES = (ENVIRONMENT.as_posix(), "requirements.lock")


def collect_facts(verdict: Verdict, base: Snapshot, here: Snapshot, params: Params) -> dict[str, Any]:
    """Compare two states of the repository.

    Parameters
    ----------
    verdict : Verdict
        The gate's.
    base, here : Snapshot
    params : Params
        Those of the working folder.

    Returns
    -------
    dict
        The fields of a Report, without those of its commits.
    """
    first = next(iter(here.metrics), "")
    comparable = has_same_test_rows(base, here)
    facts = {
        **asdict(verdict),
        "figures": {name: value for name, value in verdict.figures.items() if math.isfinite(value)},
        "same_test_rows": comparable,
        "confidence": params.evaluate.confidence,
        "tolerance": params.gate.tolerance,
        "slice_tolerance": params.gate.slice_tolerance,
        "metrics": compare_metrics(base.metrics, here.metrics, bool(comparable)),
        "slices": compare_slices(first, base.slices, here.slices, bool(comparable)),
        "months": compare_months(base.rows, here.rows),
        "left_out": compare_reasons(base.rows, here.rows),
        "parameters": list_changes(flatten(base.params), flatten(here.params)) if base.params else [],
        "libraries": list_changes(base.environment, here.environment) if base.environment else [],
        "stages": compare_stages(base.lock, here.lock),
        "cross_validation": compare_folds(first, base.cross_validation, here.cross_validation),
        "importance": compare_importance(base.importance, here.importance),
        "drift": compare_profiles(base.profile, here.profile),
    }
    for prefix, side in (("base_", base), ("", here)):
        model = find_entry(side.lock, ONNX.as_posix()) or {}
        facts[f"{prefix}model_bytes"], facts[f"{prefix}model_hash"] = model.get("size"), model.get("md5")
        facts[f"{prefix}data_hash"], facts[f"{prefix}lock_hash"] = side.data_hash, side.lock_hash
    return facts


def _round(value: float | None) -> float | None:
    """Round a figure; None where it is no finite number."""
    return round_figure(value) if value is not None and math.isfinite(value) else None


def has_same_test_rows(base: Snapshot, here: Snapshot) -> bool | None:
    """Tell whether both were measured on the same rows; None where the base was not measured."""
    if not base.metrics:
        return None
    prepared = find_hash(here.lock, TEST.as_posix())
    if prepared and prepared == find_hash(base.lock, TEST.as_posix()):
        return True
    # Another feature transform writes the same rows in another way.
    tested = [{month: row for month, row in side.rows.items() if row.get("part") == "test"} for side in (base, here)]
    return here.data_hash is not None and base.data_hash == here.data_hash and tested[0] == tested[1]


def compare_metrics(base: dict[str, Any], here: dict[str, Any], comparable: bool) -> list[MetricFacts]:
    """Set each metric beside the base's, in the order of params.yaml."""
    facts = []
    for name, figures in here.items():
        value, former = _round(figures["value"]), _round(base.get(name, {}).get("value"))
        row: MetricFacts = {
            "name": name,
            "lower_is_better": is_lower_better(name),
            "value": value,
            "low": _round(figures["low"]),
            "high": _round(figures["high"]),
            "baseline": _round(figures["baseline"]),
            "base": former,
            "difference": _round(value - former) if comparable and None not in (value, former) else None,
        }
        facts.append(row)
    return facts


def compare_slices(metric: str, base: list[Any], here: list[Any], comparable: bool) -> list[SliceFacts]:
    """Set the first metric on each group beside the base's: largest worsenings first, groups of few rows last."""
    sign = 1 if is_lower_better(metric) else -1
    former = {(row["slice"], row["group"]): _round(row["error"]) for row in base}
    facts = []
    for row in here:
        value, before = _round(row["error"]), former.get((row["slice"], row["group"]))
        worse_by = sign * (value - before) / abs(before) if comparable and value is not None and before else None
        kept = {key: row[key] for key in ("slice", "group", "rows", "judged")}
        facts.append(SliceFacts(**kept, value=value, base=before, worse_by=_round(worse_by)))
    return sorted(facts, key=lambda row: _rank_slice(row, sign))


def _rank_slice(row: SliceFacts, sign: int) -> tuple[bool, bool, float]:
    """Rank a group: by its worsening, or by its figure where the base has none."""
    worse_by = row["worse_by"]
    if worse_by is None:
        return not row["judged"], True, -sign * (row["value"] or 0.0)
    return not row["judged"], False, -worse_by


def compare_months(base: dict[str, Any], here: dict[str, Any]) -> list[MonthFacts]:
    """Count the rows of each month that either side has."""
    facts = []
    for month in sorted({*base, *here}):
        row, former = here.get(month, {}), base.get(month, {})
        facts.append(
            MonthFacts(
                month=month,
                part=(row or former)["part"],
                synthetic=(row or former)["synthetic"],
                rows=row.get("rows"),
                clean=row.get("clean"),
                base_rows=former.get("rows"),
                base_clean=former.get("clean"),
            )
        )
    return facts


def compare_reasons(base: dict[str, Any], here: dict[str, Any]) -> list[ReasonFacts]:
    """Count the rows left out of all months by reason, the most frequent first."""
    counts, former = _sum_reasons(here.values()), _sum_reasons(base.values())
    facts = [
        ReasonFacts(reason=reason, rows=counts.get(reason, 0), base_rows=former.get(reason, 0) if base else None)
        for reason in {**counts, **former}
    ]
    return sorted(facts, key=lambda row: -row["rows"])


def _sum_reasons(months: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Add the months' counts by reason up."""
    total: dict[str, int] = {}
    for month in months:
        for reason, rows in month["left_out"].items():
            total[reason] = total.get(reason, 0) + rows
    return total


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Write nested sections as one: ``section.key`` -> the value's text."""
    if isinstance(value, dict) and (value or not prefix):
        parts = [flatten(part, f"{prefix}.{key}" if prefix else str(key)) for key, part in value.items()]
        return {key: text for part in parts for key, text in part.items()}
    return {prefix: value if isinstance(value, str) else json.dumps(value, default=str)}


def list_changes(base: dict[str, str], here: dict[str, str]) -> list[ChangeFacts]:
    """List what was added, removed or changed."""
    return [
        ChangeFacts(name=name, base=base.get(name), value=here.get(name))
        for name in {**here, **base}
        if base.get(name) != here.get(name)
    ]


def compare_stages(base: dict[str, Any], here: dict[str, Any]) -> list[StageFacts]:
    """Say which stages' entries in dvc.lock are other ones, and why; nothing where the base has no lock."""
    former, stages = base.get("stages") or {}, here.get("stages") or {}
    facts = []
    for name in {**stages, **former} if former else ():
        if name not in stages or name not in former:
            facts.append(StageFacts(stage=name, cause="new stage" if name in stages else "removed stage", what=[]))
        else:
            causes = _list_causes(former[name], stages[name])
            facts += [StageFacts(stage=name, cause=cause, what=what) for cause, what in causes.items()]
    return facts


def _list_causes(former: dict[str, Any], stage: dict[str, Any]) -> dict[str, list[str]]:
    """Find what made a stage's entry another one: cause -> names of what changed."""
    causes: dict[str, list[str]] = {}
    for change in list_changes(_list_hashes(former, "deps"), _list_hashes(stage, "deps")):
        causes.setdefault(_name_cause(change["name"]), []).append(change["name"])
    for change in list_changes(_flatten_params(former), _flatten_params(stage)):
        causes.setdefault("params", []).append(change["name"])
    if former.get("cmd") != stage.get("cmd"):
        causes["command"] = [str(stage.get("cmd"))]
    if not causes:
        made = list_changes(_list_hashes(former, "outs"), _list_hashes(stage, "outs"))
        return {"other results of the same inputs": [change["name"] for change in made]} if made else {}
    return causes


def _list_hashes(stage: dict[str, Any], kind: str) -> dict[str, str]:
    """List the hashes of what a stage reads (``deps``) or makes (``outs``)."""
    return {entry["path"]: str(entry.get("md5")) for entry in stage.get(kind) or []}


def _flatten_params(stage: dict[str, Any]) -> dict[str, str]:
    """Write the parameters that a stage ran with as `flatten` does."""
    return {key: text for section in (stage.get("params") or {}).values() for key, text in flatten(section).items()}


def _name_cause(path: str) -> str:
    """Name what a changed dependency is."""
    if path in LIBRARIES:
        return "libraries"
    if path == DATA.as_posix():
        return "data"
    return "earlier stage" if path.startswith(f"{OUT.as_posix()}/") else "code"


def compare_folds(metric: str, base: list[Any], here: list[Any]) -> list[FoldFacts]:
    """Set the first metric on each fold beside the base's."""
    former = {row["fold"]: row.get(metric) for row in base}
    return [
        FoldFacts(
            fold=row["fold"],
            train_rows=row["train_rows"],
            test_rows=row["test_rows"],
            value=_round(row.get(metric)),
            base=_round(former.get(row["fold"])),
        )
        for row in here
    ]


def compare_importance(base: list[Any], here: list[Any]) -> list[ImportanceFacts]:
    """Set each feature's importance beside the base's, the most important first."""
    former = {row["feature"]: row["importance"] for row in base}
    facts = [
        ImportanceFacts(
            feature=row["feature"],
            value=_round(row["importance"]),
            spread=_round(row["spread"]),
            base=_round(former.get(row["feature"])),
        )
        for row in here
    ]
    return sorted(facts, key=lambda row: -(row["value"] or 0.0))


def compare_profiles(base: dict[str, Any], here: dict[str, Any]) -> list[DriftFacts]:
    """Measure how far the values lie from the base's, the farthest first; nothing where nothing moved."""
    facts = []
    for name in here if here != base else ():
        if name in base:
            facts.append(
                DriftFacts(
                    name=name,
                    distance=_round(measure_distance(base[name], here[name])),
                    psi=_round(measure_stability(base[name], here[name])),
                    missing=here[name]["missing"],
                    base_missing=base[name]["missing"],
                )
            )
    return sorted(facts, key=lambda row: -(row["distance"] or 0.0))
