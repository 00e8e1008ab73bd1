"""The report: what the working folder changes against a base revision, as out/report.json and out/report.md.

It collects facts and decides nothing: the verdict is the gate's.
"""

import argparse
import json
from collections.abc import Sequence

from lifecycle.comparison.changes import collect_facts
from lifecycle.comparison.snapshot import Snapshot, read_snapshot
from lifecycle.errors import RefusedError, run
from lifecycle.gate import judge
from lifecycle.params import Params, read_params
from lifecycle.paths import METRICS, REPORT
from lifecycle.repository import find_base, read_git, require_revision, resolve_revision
from lifecycle.views.report_facts import Report
from lifecycle.views.report_page import render_report


def make_report(revision: str | None, params: Params) -> Report:
    """Compare the working folder with a revision; by default with the one that `find_base` finds.

    Raises
    ------
    MisuseError
        If there is no such revision.
    RefusedError
        If the model is not what dvc.lock names, or a file cannot be read.
    """
    base = require_revision(revision) if revision else find_base()
    verdict, here = judge(revision, params), read_snapshot(None)
    if not here.metrics:
        raise RefusedError(f"{METRICS} is missing; expected the model's figures. Make them with: make pipeline")
    facts = collect_facts(verdict, read_snapshot(base) if base else Snapshot(), here, params)
    report: Report = {
        "commit": resolve_revision("HEAD"),
        "base_commit": base,
        "uncommitted": bool(read_git("status", "--porcelain", "--untracked-files=no", "--", ".")),
        **facts,  # type: ignore[typeddict-item]
    }
    return report


def main(argv: Sequence[str] | None = None) -> None:
    """Say what the working folder changes against a base revision."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.report", description=main.__doc__)
    parser.add_argument("--base", help="revision to compare with; by default where this work left the main branch")
    report = make_report(parser.parse_args(argv).base, read_params())
    REPORT.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    page, path = render_report(report), REPORT.with_suffix(".md")
    path.write_text(page, encoding="utf-8")
    print(f"{path}\n{page.splitlines()[0]}")


if __name__ == "__main__":
    run(main)
