"""The report: what the working folder changes against a base revision, as out/report.json, out/report.md and
out/report.html.

It collects facts and decides nothing: the verdict is the gate's.
"""

import argparse
import json
from collections.abc import Sequence

from lifecycle.comparison.changes import collect_facts
from lifecycle.comparison.snapshot import Snapshot, read_snapshot
from lifecycle.errors import RefusedError, run
from lifecycle.folders import name_among_others
from lifecycle.gate import judge
from lifecycle.github.runner import append_to
from lifecycle.params import Params, read_params
from lifecycle.paths import CARD, LOCK_CHECK, METRICS, OUT, PLOTS, REPORT, find_top
from lifecycle.repository import MADE_OF, choose_base, read_git, resolve_revision
from lifecycle.views.files import write_report
from lifecycle.views.report_facts import Report
from lifecycle.views.report_page import render_report


def make_report(revision: str | None, commit: str, params: Params) -> Report:
    """Compare the working folder with a revision; by default with the one that `find_base` finds.

    Parameters
    ----------
    revision : str or None
    commit : str
        What the report calls the working folder: of a pull request's merge, the commit that was pushed.
    params : Params

    Raises
    ------
    MisuseError
        If there is no such revision.
    RefusedError
        If the model is not what dvc.lock names, or a file cannot be read.
    """
    base = choose_base(revision)
    verdict, here = judge(revision, params), read_snapshot(None)
    if not here.metrics:
        raise RefusedError(f"{METRICS} is missing; expected the model's figures. Make them with: make pipeline")
    facts = collect_facts(verdict, read_snapshot(base) if base else Snapshot(), here, params)
    report: Report = {
        "model": name_among_others(),
        "commit": resolve_revision(commit),
        "base_commit": base,
        "uncommitted": bool(read_git("status", "--porcelain", "--untracked-files=no", "--", *MADE_OF)),
        "lock": json.loads(LOCK_CHECK.read_text(encoding="utf-8")) if LOCK_CHECK.exists() else None,
        **facts,  # type: ignore[typeddict-item]
    }
    return report


def main(argv: Sequence[str] | None = None) -> None:
    """Say what the working folder changes against a base revision."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.report", description=main.__doc__)
    parser.add_argument("--base", help="revision to compare with; by default where this work left the main branch")
    parser.add_argument("--commit", default="HEAD", help="revision that the report is about; by default HEAD")
    arguments = parser.parse_args(argv)
    report = make_report(arguments.base, arguments.commit, read_params())
    page = render_report(report)
    verdict = page.splitlines()[0]
    plots = {plot.stem: plot.read_bytes() for plot in sorted(PLOTS.glob("*.png"))}
    card = CARD.read_text(encoding="utf-8")
    write_report(REPORT, report, title=verdict.lstrip("# "), page=page, plots=plots, card=card)
    folder = OUT.absolute().relative_to(find_top()).as_posix()
    append_to("GITHUB_OUTPUT", f"outcome={report['outcome']}\nfolder={folder}\n")
    # A workflow's summary needs no permission to write a comment.
    append_to("GITHUB_STEP_SUMMARY", page)
    print(f"{REPORT.with_suffix('.md')}\n{verdict}")


if __name__ == "__main__":
    run(main)
