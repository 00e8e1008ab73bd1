"""The search: which trials are made, and a journal of them from which a killed search goes on.

One process draws the trials and writes the journal; workers fit them, a fold at a time. The default is the first
trial. From the startup trials on, one that is worse than the median of the others so far is stopped after a fold.
"""

import fcntl
import logging
import math
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from lifecycle.errors import RefusedError
from lifecycle.params import TuneParams
from lifecycle.tuning.space import Space, Values, list_active, suggest_values
from lifecycle.tuning.workers import Setting, open_pool
from lifecycle.views.numbers import format_number

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """When the search ends, whichever comes first; what an earlier run of the same search spent counts."""

    trials: int | None
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """What is searched."""

    space: Space
    default: Values
    metric: str
    folds: int
    params: TuneParams


@dataclass
class Attempt:
    """A trial under way."""

    trial: optuna.Trial
    values: Values
    figures: list[float] = field(default_factory=list)
    seconds: float = 0
    # How long the search took until now.
    at: float = 0


class _Alone:
    """No lock for each line: `open_journal` holds one from its begin to its end."""

    def acquire(self) -> bool:
        """Do nothing."""
        return True

    def release(self) -> None:
        """Do nothing."""


@contextmanager
def open_journal(path: Path) -> Iterator[JournalStorage]:
    """Open the journal for this process alone; a line that a killed run left unfinished is dropped.

    Raises
    ------
    RefusedError
        If another search has it open.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        try:
            # The kernel lets go of it with the process, however that ends.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RefusedError(f"{path} is in use by another search; wait for its end, or stop it.") from error
        _drop_unfinished_line(file)
        yield JournalStorage(JournalFileBackend(str(path), _Alone()))


def _drop_unfinished_line(file: IO[bytes]) -> None:
    """Cut a file after its last line's end."""
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)


def open_study(storage: JournalStorage, name: str, lower_is_better: bool, plan: Plan) -> optuna.Study:
    """Open a search by its name, or begin it; trials that a killed run left behind are drawn once more.

    Parameters
    ----------
    storage : JournalStorage
    name : str
    lower_is_better : bool
    plan : Plan

    Returns
    -------
    Study
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = "minimize" if lower_is_better else "maximize"
    study = optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
    trials = study.get_trials(deepcopy=False)
    # A sampler begins anew with each process: with the same seed it would draw the same again.
    study.sampler = optuna.samplers.TPESampler(
        seed=plan.params.seed + len(trials), n_startup_trials=plan.params.startup_trials
    )
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=plan.params.startup_trials)
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
            # One that was under way twice may be what kills the search.
            if list_counted(study) and "again" not in trial.user_attrs:
                study.enqueue_trial(trial.params, user_attrs={"again": trial.number})
    if not list_counted(study):
        study.enqueue_trial({name: plan.default[name] for name in list_active(plan.space, plan.default)})
    return study


def list_counted(study: optuna.Study) -> list[FrozenTrial]:
    """List the trials that ended, the default first; one that was interrupted counts when it is repeated."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        or (trial.state == TrialState.FAIL and trial.user_attrs.get("fault"))
    ]


def search(study: optuna.Study, plan: Plan, budget: Budget, setting: Setting) -> None:
    """Make trials until the budget is spent; those that are under way then are finished.

    Parameters
    ----------
    study : Study
        As `open_study` gives it.
    plan : Plan
    budget : Budget
    setting : Setting

    Raises
    ------
    RefusedError
        If a worker died, on a cluster several times, or the default cannot be fitted.
    """
    clock = _Clock(study)
    counted = len(list_counted(study))
    if _is_spent(counted, clock, budget):
        return
    shown = tqdm(desc="tune", total=budget.trials, initial=counted, unit=" trials", disable=None)
    with open_pool(setting) as pool, shown as progress:
        pending: dict[Future[tuple[float, float]], Attempt] = {}
        while True:
            # The others are held against the default, so it comes first and alone.
            free = pool.size - len(pending) if counted else 1 - len(pending)
            for _ in range(free):
                if not _is_spent(counted + len(pending), clock, budget):
                    attempt = _draw(study, plan)
                    pending[pool.submit(attempt.values, 0)] = attempt
            if not pending:
                return
            for future in pool.wait(pending):
                attempt = pending.pop(future)
                attempt.at = clock.read()
                if _record(study, plan, attempt, future):
                    pending[pool.submit(attempt.values, len(attempt.figures))] = attempt
                else:
                    counted += 1
                    clock.save()
                    progress.update()
                    progress.set_postfix_str(describe_best(study, plan.metric))


def _is_spent(trials: int, clock: "_Clock", budget: Budget) -> bool:
    """Tell whether no further trial may begin; the default always may."""
    by_trials = budget.trials is not None and trials >= budget.trials
    by_time = budget.seconds is not None and clock.read() >= budget.seconds
    return trials > 0 and (by_trials or by_time)


def _draw(study: optuna.Study, plan: Plan) -> Attempt:
    """Begin the next trial."""
    trial = study.ask()
    return Attempt(trial, suggest_values(trial, plan.space, plan.default))


def _record(study: optuna.Study, plan: Plan, attempt: Attempt, future: Future[tuple[float, float]]) -> bool:
    """Record a fold; tell whether the trial goes on with the next one."""
    trial, state, fault = attempt.trial, None, None
    try:
        figure, seconds = future.result()
    except RefusedError:
        raise
    except BrokenProcessPool as broken:
        raise RefusedError("a worker died, perhaps for want of memory; run the same again to go on.") from broken
    # Whatever a library says of values that it cannot take belongs to the trial.
    except Exception as raised:  # pylint: disable=broad-exception-caught
        figure, seconds, fault = math.nan, 0.0, " ".join(f"{type(raised).__name__}: {raised}".split())
    attempt.seconds += seconds
    if math.isfinite(figure):
        attempt.figures.append(figure)
        trial.report(_measure_gap(study, attempt.figures), len(attempt.figures))
        if len(attempt.figures) == plan.folds:
            state = TrialState.COMPLETE
        elif trial.should_prune():
            state = TrialState.PRUNED
    else:
        state, fault = TrialState.FAIL, fault or f"{plan.metric} is no finite number"
    if state is None:
        return True
    _end(study, plan, attempt, state, fault)
    return False


def _measure_gap(study: optuna.Study, figures: list[float]) -> float:
    """Measure how far a trial lies from the default over its folds so far, some of which are harder than others."""
    default = next((trial.user_attrs["figures"] for trial in list_counted(study)), figures)
    return sum(figure - other for figure, other in zip(figures, default, strict=False)) / len(figures)


def _end(study: optuna.Study, plan: Plan, attempt: Attempt, state: TrialState, fault: str | None) -> None:
    """Write a trial's end into the journal."""
    trial, figures = attempt.trial, attempt.figures
    if fault and not list_counted(study):
        raise RefusedError(f"the default cannot be measured: {fault}. Correct the section train of params.yaml.")
    said = {"seconds": attempt.seconds, "at": attempt.at, "fault": fault, "figures": figures}
    for key, value in said.items():
        trial.set_user_attr(key, value)
    mean = sum(figures) / plan.folds if state == TrialState.COMPLETE else None
    study.tell(trial, mean, state=state)
    log.info(
        "tune trial=%d state=%s folds=%d %s=%s seconds=%.3g%s",
        trial.number,
        state.name.lower(),
        len(figures),
        plan.metric,
        format_number(mean),
        attempt.seconds,
        f" fault={fault!r}" if fault else "",
    )


def describe_best(study: optuna.Study, metric: str) -> str:
    """Say what the best trial and the default have."""
    default = list_counted(study)[0]
    return f"best {metric} {format_number(study.best_value)}, default {format_number(default.value)}"


class _Clock:
    """How long a search took, its earlier runs included."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._earlier = study.user_attrs.get("seconds", 0.0)
        self._start = time.monotonic()

    def read(self) -> float:
        """Return the seconds so far."""
        return float(self._earlier + time.monotonic() - self._start)

    def save(self) -> None:
        """Write them into the journal."""
        self._study.set_user_attr("seconds", self.read())
