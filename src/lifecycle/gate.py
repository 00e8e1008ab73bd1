"""The gate: may the challenger replace the champion? A decision, not a stage, because the champion moves.

Both predict the same test rows, and are compared pair by pair. The outcome is ``pass``, ``refuse`` (with reasons) or
``unchanged``. Exit code 0, or 1 when refused.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from lifecycle.comparison.verdict import REFUSE, UNCHANGED, Verdict
from lifecycle.errors import RefusedError, run
from lifecycle.metric_names import is_lower_better
from lifecycle.params import Params, read_params
from lifecycle.paths import METRICS, ONNX, VERDICT
from lifecycle.registry import find_champion
from lifecycle.repository import find_hash, hash_file, read_lock
from lifecycle.views.numbers import format_number
from lifecycle.views.terminal import align_columns

BASELINE = "baseline"


def judge(base: str | None, params: Params) -> Verdict:
    """Compare out/model.onnx with the champion, or with the baseline where there is none."""
    md5 = find_hash(read_lock(None), str(ONNX))
    if not ONNX.exists() or hash_file(ONNX) != md5:
        raise RefusedError(f"{ONNX} is not what dvc.lock names ({md5}). Make or fetch it with: make pipeline")
    champion = find_champion(params.registry.name, base)
    if champion and champion.model_hash == md5:
        return Verdict(UNCHANGED, champion.name)
    # Most runs of the pipeline change no model; only the others pay for what a comparison imports.
    from lifecycle.comparison.decision import decide_promotion  # pylint: disable=import-outside-toplevel
    from lifecycle.comparison.evidence import gather_evidence  # pylint: disable=import-outside-toplevel

    metrics, evidence = gather_evidence(champion, params)
    return decide_promotion(metrics, evidence, params.gate, params.evaluate, champion.name if champion else BASELINE)


def format_metrics(measured: dict[str, dict[str, float]]) -> str:
    """Lay the model's figures out beside the baseline's, for a terminal of 80 columns."""
    rows = [("metric", "", "model", "interval", "baseline")]
    for name, figures in measured.items():
        interval = f"{format_number(figures['low'])} to {format_number(figures['high'])}"
        arrow = "↓" if is_lower_better(name) else "↑"
        rows.append((name, arrow, format_number(figures["value"]), interval, format_number(figures["baseline"])))
    return "\n".join(align_columns(rows))


def format_verdict(verdict: Verdict) -> str:
    """Say the verdict, its reasons and its notes, a line each."""
    lines = [f"gate: {verdict.outcome} (against {verdict.champion})"]
    return "\n".join([*lines, *(f"  - {line}" for line in (*verdict.reasons, *verdict.notes))])


def main(argv: Sequence[str] | None = None) -> int:
    """Judge out/model.onnx; exit 1 when it is refused."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.gate", description=main.__doc__)
    parser.add_argument("--base", help="revision whose model is the champion while none is registered")
    arguments = parser.parse_args(argv)
    params = read_params()
    print(format_metrics(json.loads(METRICS.read_text(encoding="utf-8"))))
    verdict = judge(arguments.base, params)
    print(format_verdict(verdict))
    VERDICT.write_text(json.dumps(asdict(verdict), indent=2) + "\n", encoding="utf-8")
    return 1 if verdict.outcome == REFUSE else 0


if __name__ == "__main__":
    run(main)
