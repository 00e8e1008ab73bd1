"""Search for better hyperparameters over the training set's folds, and measure the winner once on the test rows.

Writes out/tune.json, out/tune.md and out/tune.html. The journal of all trials is out/tune.journal: a search that was
killed goes on from there, and one with another default, space, data or domain begins anew.
"""

import argparse
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState
from tqdm.contrib.logging import logging_redirect_tqdm

from lifecycle.errors import MisuseError, run
from lifecycle.paths import ENVIRONMENT, TEST, TUNE, TUNE_JOURNAL
from lifecycle.tuning.branch import commit_branch
from lifecycle.tuning.outcome import BETTER, Outcome, measure_outcome
from lifecycle.tuning.search import Budget, Plan, list_counted, open_journal, open_study, search
from lifecycle.tuning.space import Values, read_space, suggest_values
from lifecycle.tuning.workers import Setting, load_setting
from lifecycle.views.files import render_pngs, write_report
from lifecycle.views.numbers import round_figure
from lifecycle.views.tune_page import format_tune, render_tune
from lifecycle.views.tune_plots import draw_tune
from lifecycle.worktree import check_branch

UNITS = {"s": 1, "m": 60, "h": 3600}


def tune(setting: Setting, budget: Budget) -> dict[str, Any]:
    """Search, and say what came of it.

    Parameters
    ----------
    setting : Setting
    budget : Budget

    Returns
    -------
    dict
        The report, serialisable as JSON.

    Raises
    ------
    MisuseError
        If the domain's space is none, or does not hold the default.
    RefusedError
        If another search runs here, a worker died, or a model cannot be measured.
    """
    params = setting.params
    hyperparameters = params.train.hyperparameters
    space = read_space(setting.domain, hyperparameters)
    plan = Plan(space, asdict(hyperparameters), setting.metric.name, params.train.folds, params.tune)
    with open_journal(TUNE_JOURNAL) as storage:
        study = open_study(storage, name_search(setting, plan), setting.metric.lower_is_better, plan)
        search(study, plan, budget, setting)
        winner = suggest_values(study.best_trial, space, plan.default)
        looks = count_looks(study)
        outcome = measure_outcome(setting, plan.default, winner, looks, TEST)
        return describe_search(study, plan, winner, outcome)


def name_search(setting: Setting, plan: Plan) -> str:
    """Name a search after all that its trials' figures depend on."""
    params, source = setting.params, Path(str(vars(setting.domain)["__file__"]))
    sources = sorted(source.parent.rglob("*.py")) if source.name == "__init__.py" else [source]
    described = {
        "default": plan.default,
        "space": {name: dimension.model_dump() for name, dimension in plan.space.items()},
        "metric": plan.metric,
        "train": [params.train.seed, params.train.folds],
        "tune": [params.tune.seed, params.tune.startup_trials],
        "rows": [hashlib.sha256(part.tobytes()).hexdigest() for part in (setting.rows.X, setting.rows.y)],
        "domain": [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources],
        "environment": ENVIRONMENT.read_text(encoding="utf-8") if ENVIRONMENT.exists() else None,
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def count_looks(study: optuna.Study) -> int:
    """Count the winners of a search that were measured on the test rows, the present one included."""
    seen = study.user_attrs.get("measured", [])
    if study.best_trial.number not in seen:
        seen = [*seen, study.best_trial.number]
        study.set_user_attr("measured", seen)
    return len(seen)


def describe_search(study: optuna.Study, plan: Plan, winner: Values, outcome: Outcome) -> dict[str, Any]:
    """Write down everything of a search, each trial included: the winner is the luckiest of all of them."""
    trials = list_counted(study)
    default = trials[0]
    spent = round_figure(study.user_attrs["seconds"])
    return {
        "verdict": outcome.verdict,
        "sentence": outcome.sentence,
        "search": study.study_name,
        "metric": plan.metric,
        "seconds": spent,
        "seed": plan.params.seed,
        "looks": len(study.user_attrs["measured"]),
        "default": {"values": plan.default, "folds": round_figure(default.value or 0.0)},
        "winner": {"trial": study.best_trial.number, "values": winner, "folds": round_figure(study.best_value)},
        "test": {name: round_figure(value) for name, value in outcome.figures.items()},
        "importance": rank_importance(study, plan),
        "choices": compare_choices(study, plan),
        "trials": [_describe_trial(trial, plan) for trial in trials],
    }


def _is_complete(trial: FrozenTrial) -> bool:
    """Tell whether a trial has all folds; the value of one that was stopped early is its last report."""
    return bool(trial.state == TrialState.COMPLETE)


def _describe_trial(trial: FrozenTrial, plan: Plan) -> dict[str, Any]:
    """Describe a trial."""
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "value": round_figure(trial.value) if _is_complete(trial) else None,
        "folds": [round_figure(figure) for figure in trial.user_attrs["figures"]],
        "values": {name: suggest_values(trial, plan.space, plan.default)[name] for name in trial.params},
        "seconds": round_figure(trial.user_attrs["seconds"]),
        "at_seconds": round_figure(trial.user_attrs["at"]),
        "fault": trial.user_attrs["fault"],
    }


def rank_importance(study: optuna.Study, plan: Plan) -> dict[str, float]:
    """Rank what the winner searches by its share of the error's variance, among the trials that searched the same.

    Source: Hutter, Hoos and Leyton-Brown, An Efficient Approach for Assessing Hyperparameter Importance, 2014.
    """
    alike = [
        trial
        for trial in list_counted(study)
        if _is_complete(trial) and trial.params.keys() == study.best_trial.params.keys()
    ]
    if len({trial.value for trial in alike}) < 3:
        return {}
    part = optuna.create_study(direction=study.direction)
    part.add_trials(alike)
    ranked = get_param_importances(part, evaluator=FanovaImportanceEvaluator(seed=plan.params.seed))
    return {name: round_figure(share) for name, share in ranked.items() if share > 0}


def compare_choices(study: optuna.Study, plan: Plan) -> list[dict[str, Any]]:
    """List for each choice how many trials had it, and the best figure of those that ran to their end."""
    best = min if study.direction == optuna.study.StudyDirection.MINIMIZE else max
    rows = []
    for name, dimension in plan.space.items():
        for choice in dimension.choices:
            had = [trial for trial in list_counted(study) if trial.params.get(name) == choice]
            values = [trial.value for trial in had if _is_complete(trial)]
            found = round_figure(best(values)) if values else None
            rows.append({"name": name, "choice": choice, "trials": len(had), "best": found})
    return rows


def parse_time(text: str) -> float:
    """Read a time such as 90s, 10m or 2h; return seconds.

    Raises
    ------
    MisuseError
        If it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not match or not float(match[1]):
        raise MisuseError(f"BUDGET is {text!r}; expected a time such as 90s, 10m or 2h.")
    return float(match[1]) * UNITS[match[2]]


def parse_trials(text: str) -> int:
    """Read a number of trials.

    Raises
    ------
    MisuseError
        If it is no positive whole number.
    """
    if not re.fullmatch(r"0*[1-9]\d*", text):
        raise MisuseError(f"TRIALS is {text!r}; expected a whole number above 0, such as 40.")
    return int(text)


def main(argv: Sequence[str] | None = None) -> None:
    """Search for better hyperparameters."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.tune", description=main.__doc__)
    parser.add_argument("--trials", help="how many, those of an interrupted search included")
    parser.add_argument("--budget", help="90s, 10m or 2h, the time of an interrupted search included")
    parser.add_argument("--branch", help="commit the winner's params.yaml there, if it is better")
    given = parser.parse_args(argv)
    if not (given.trials or given.budget):
        raise MisuseError("neither trials nor a time is given; expected TRIALS=40 or BUDGET=10m.")
    if given.branch:
        check_branch(given.branch)
    trials = parse_trials(given.trials) if given.trials else None
    budget = Budget(trials, parse_time(given.budget) if given.budget else None)
    # The bar stays below the lines.
    with logging_redirect_tqdm():
        report = tune(load_setting(), budget)
    plots = render_pngs(draw_tune(report))
    write_report(TUNE, report, title=f"Tune: {report['verdict']}", page=render_tune(report), plots=plots)
    print(format_tune(report))
    if given.branch and report["verdict"] == BETTER:
        commit_branch(given.branch, report)
        print(f"params.yaml is changed on the branch {given.branch}; push it, or: git merge {given.branch}")


if __name__ == "__main__":
    run(main)
