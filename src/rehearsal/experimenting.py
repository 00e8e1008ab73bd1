"""What the workflow that tries settings makes of a grid, of a list in which one fails, and of text that is none."""

from typing import Any

import rehearsal.github_pulls  # noqa: F401  pylint: disable=unused-import
from rehearsal import events
from rehearsal.outcome import Run
from rehearsal.retraining import change_main, list_branches, rehearse_checks
from rehearsal.stage import Stage

CAP = 3
BEST, SECOND, THIRD, LEFT_OUT = (
    f"train.max_iter={trees} train.learning_rate={rate}" for trees in (80, 5) for rate in (0.1, 0.06)
)
GRID = "train.max_iter=80,5 train.learning_rate=0.1,0.06"
FAILING = "prepare.test_months=9; train.max_iter=60"
# Were it ever given to a shell, a file would be there.
HOSTILE = "train.seed=1$(touch ${STAND_IN_STORE}/obeyed); `touch ${STAND_IN_STORE}/obeyed` && exit 0"


def dispatch(stage: Stage, title: str, settings: str, expected: str, propose: bool = False) -> Run:
    """Start the workflow by hand."""
    stage.remote.check_out("origin/main")
    inputs: dict[str, Any] = {"settings": settings, "open": propose}
    event = events.workflow_dispatch(stage.github.full_name, "experiment.yml", inputs)
    return stage.play(title, "experiment.yml", event, expected)


def rehearse_experiment(stage: Stage) -> None:
    """A grid is cut to what is allowed, compared in one table, and its best becomes a pull request."""
    stage.github.remote = stage.remote.bare
    change_main(stage, {"experiment": {"max_jobs": CAP}})
    rehearse_hostile(stage)
    rehearse_failing(stage)
    pulls, main = len(stage.github.pulls), stage.remote.find("main")
    run = dispatch(stage, "grid of four", GRID, "success " * (CAP + 3), propose=True)
    table = run.find_job("compare").summary
    order = [table.find(f"`{said}`") for said in (BEST, SECOND, THIRD)]
    stage.expect("the table has all that ran, best first", -1 < order[0] < order[1] < order[2])
    stage.expect("the champion stands between them", order[1] < table.find("**champion**") < order[2])
    stage.expect("it says what was left out", f"Left out: 1 (`{LEFT_OUT}`)" in table)
    opened = stage.github.pulls[pulls:]
    stage.expect("one pull request was opened", len(opened) == 1)
    (pull,) = opened
    stage.expect("it has the best one's settings", BEST in pull["title"] and BEST in pull["body"])
    stage.expect(
        "it has its label, and is no draft", pull["labels"] == [{"name": "experiment"}] and not pull["draft"]
    )
    branch = pull["head"]["ref"]
    checks = [(one["workflow"], one["ref"]) for one in stage.github.dispatches[-2:]]
    stage.expect("its checks were started", checks == [("check.yml", branch), ("train.yml", branch)])
    stage.expect("main is as it was", stage.remote.find("main") == main)
    rehearse_checks(stage, pull, "branch of the best")


def rehearse_hostile(stage: Stage) -> None:
    """Text that is no setting starts nothing."""
    run = dispatch(stage, "text that is no setting", HOSTILE, "failure skipped skipped skipped", propose=True)
    stage.expect("the log says why", "MisuseError: " in run.find_job("plan").log)
    stage.expect("no shell obeyed it", not (stage.folder / "store/obeyed").exists())


def rehearse_failing(stage: Stage) -> None:
    """One of a list fails, and the other comes to its end; without the tick nothing is proposed."""
    branches = list_branches(stage)
    run = dispatch(stage, "list in which one fails", FAILING, "success success failure success skipped")
    table = run.find_job("compare").summary
    stage.expect("the table has both", "`train.max_iter=60`" in table and "| failed |" in table)
    stage.expect("no branch was made", list_branches(stage) == branches)
