"""The space that a search goes through, as the domain declares it beside its hyperparameters."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from optuna.trial import BaseTrial
from pydantic import Field, ValidationError, model_validator

from lifecycle.errors import MisuseError
from lifecycle.params import Section, describe_error
from lifecycle.seam import Domain

Number = int | float
Value = bool | int | float | str
Values = dict[str, Any]


class Dimension(Section):
    """What one hyperparameter may be: one of ``choices``, or a number from ``low`` to ``high``."""

    choices: list[Value] = Field(default=[], min_length=2)
    low: Number | None = None
    high: Number | None = None
    # Draw the number's logarithm evenly.
    log: bool = False
    # Searched only where hyperparameters named before have one of these values; elsewhere it stays as it is.
    when: dict[str, list[Value]] = {}

    @model_validator(mode="after")
    def _check_kind(self) -> "Dimension":
        """Check that it is one kind, and not empty."""
        if bool(self.choices) == (self.low is not None or self.high is not None):
            raise ValueError("either choices, or low and high")
        if not self.choices and (self.low is None or self.high is None or self.low >= self.high):
            raise ValueError("low below high")
        if self.log and (self.low is None or self.low <= 0):
            raise ValueError("low above 0, for its logarithm")
        return self

    def suggest(self, trial: BaseTrial, name: str) -> Value:
        """Draw a value; a number is kept to three digits, so that params.yaml can say exactly what was measured."""
        if self.low is None or self.high is None:
            choice: Value = trial.suggest_categorical(name, self.choices)
            return choice
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return float(f"{trial.suggest_float(name, self.low, self.high, log=self.log):.3g}")

    def holds(self, value: Any) -> bool:
        """Tell whether a value lies in it."""
        if self.low is None or self.high is None:
            return value in self.choices
        return bool(self.low <= value <= self.high)


Space = dict[str, Dimension]


def read_space(domain: Domain, hyperparameters: Any) -> Space:
    """Read the domain's space, and hold the default against it.

    Parameters
    ----------
    domain : Domain
    hyperparameters : dataclass
        The default, which is the first trial.

    Returns
    -------
    dict of str to Dimension

    Raises
    ------
    MisuseError
        If there is no space, it names what is no hyperparameter, or the default lies outside of it.
    """
    default, space = asdict(hyperparameters), {}
    for name, described in getattr(domain, "SPACE", {}).items():
        try:
            space[name] = Dimension.model_validate(described)
        except ValidationError as error:
            raise MisuseError(f"the domain's SPACE: {describe_error(error, (name,))}") from error
        for known in (name, *space[name].when):
            if known not in default:
                raise MisuseError(f"the domain's SPACE names {known!r}; expected one of {', '.join(default)}.")
    if not space:
        raise MisuseError("the domain declares no SPACE; say in it what each hyperparameter may be.")
    for name in list_active(space, default):
        if not space[name].holds(default[name]):
            raise MisuseError(
                f"params.yaml: train.{name} is {default[name]!r}, outside of the domain's SPACE; widen it."
            )
    return space


def list_active(space: Space, values: Mapping[str, Any]) -> list[str]:
    """List the hyperparameters that are searched where the others have these values."""
    return [
        name
        for name, dimension in space.items()
        if all(values[other] in allowed for other, allowed in dimension.when.items())
    ]


def suggest_values(trial: BaseTrial, space: Space, default: Mapping[str, Any]) -> Values:
    """Draw a trial's hyperparameters, or read those of a trial that was drawn before.

    Parameters
    ----------
    trial : BaseTrial
    space : dict of str to Dimension
    default : mapping of str to value
        What those have that the trial does not search.

    Returns
    -------
    dict of str to value
        Of every hyperparameter.
    """
    values = dict(default)
    for name in space:
        if name in list_active(space, values):
            drawn = space[name].suggest(trial, name)
            values[name] = default[name] if trial.params[name] == default[name] else drawn
    return values
