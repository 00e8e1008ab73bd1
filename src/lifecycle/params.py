"""Read params.yaml, the one home of tunables; every key is required, unknown keys and wrong types are errors."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from lifecycle.errors import MisuseError, run
from lifecycle.seam import Domain, load_domain

MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
Month = Annotated[str, Field(pattern=f"^{MONTH.pattern}$")]
Share = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A section of params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SampleParams(Section):
    """How the synthetic months are made."""

    months: list[Month]
    rows_per_month: int = Field(gt=0)
    seed: int


class IngestParams(Section):
    """Where months come from, and how many are kept."""

    source: str
    keep_months: int | None = Field(gt=0)


class EnvironmentParams(Section):
    """Which libraries shape the model."""

    libraries: list[str]


class PrepareParams(Section):
    """How many months train and test."""

    train_months: int = Field(gt=0)
    test_months: int = Field(gt=0)


class TrainParams(Section):
    """The fit; ``hyperparameters`` collects the keys of the section that belong to the domain."""

    seed: int
    max_rows: int | None = Field(ge=100)
    folds: int = Field(ge=2)
    threads: int | None = Field(gt=0)
    parity_tolerance: float = Field(gt=0)
    hyperparameters: Any


class EvaluateParams(Section):
    """What is measured, and how surely."""

    seed: int
    metrics: list[str] = Field(min_length=1)
    confidence: Share
    resamples: int = Field(ge=50)
    min_slice_rows: int = Field(gt=0)


class GateParams(Section):
    """What a challenger must hold."""

    tolerance: float = Field(ge=0)
    slice_tolerance: float = Field(ge=0)
    limits: dict[str, float]
    max_latency_ms: float = Field(gt=0)
    max_size_mb: float = Field(gt=0)


class ReproduceParams(Section):
    """How closely another machine must reproduce what is committed."""

    tolerance: float = Field(ge=0)


class RegistryParams(Section):
    """How versions are called."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*[a-z0-9]$")


class InfraParams(Section):
    """How what Terraform makes is called."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,18}[a-z0-9]$")


class DeployParams(Section):
    """How a new version proves itself in front of callers."""

    challenge: bool
    canary_weight: Share
    bake_seconds: float = Field(ge=0)
    poll_seconds: float = Field(gt=0)
    min_requests: int = Field(gt=0)
    max_error_share: float = Field(ge=0, lt=1)
    max_latency_ratio: float = Field(gt=1)
    lease_seconds: float = Field(gt=0)


class RetireParams(Section):
    """How many versions stay beside the one that serves."""

    keep: int = Field(ge=1)


class ServeParams(Section):
    """How a bundle with a challenger serves."""

    mode: Literal["shadow", "split"]
    budget_ms: float = Field(gt=0)
    share: Share
    key: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    salt: str = Field(min_length=1)


class CompareParams(Section):
    """When the labels of live requests decide between champion and challenger."""

    alpha: Share
    min_requests: int = Field(ge=2)
    max_requests: int = Field(gt=0)
    min_gain: float = Field(ge=0, lt=1)


class MonitorParams(Section):
    """When what happens in production is no longer what was tested."""

    window_days: float = Field(gt=0)
    max_silence_hours: float = Field(gt=0)
    min_rows: int = Field(gt=0)
    max_rows: int = Field(gt=0)
    max_distance: float = Field(gt=0)
    max_psi: float = Field(gt=0)
    tolerance: float = Field(ge=0)
    max_broken_share: float = Field(ge=0, lt=1)
    memory_mb: int = Field(ge=100)


class RetrainParams(Section):
    """How often retraining may propose a model, and when that is merged by itself."""

    cooldown_days: int = Field(ge=0)
    max_per_month: int = Field(gt=0)
    merge_margin: float | None = Field(ge=0)


class TuneParams(Section):
    """How hyperparameters are searched."""

    seed: int
    workers: int | None = Field(gt=0)
    startup_trials: int = Field(gt=0)


class ExploreParams(Section):
    """How much the page of the data shows."""

    bins: int = Field(ge=5, le=60)
    groups: int = Field(gt=0)
    predicted_rows: int = Field(gt=0)


class ExplainParams(Section):
    """What one prediction is explained against."""

    seed: int
    background: int = Field(ge=10)
    neighbours: int = Field(gt=0)
    tolerance: float = Field(gt=0)


class StatusParams(Section):
    """How far back the status page looks; GitHub lists a hundred at a time."""

    reports: int = Field(gt=0, le=100)


class ExperimentParams(Section):
    """How many experiments one dispatch may start; GitHub takes 256 jobs."""

    max_jobs: int = Field(gt=0, le=256)


class MachineParams(Section):
    """The machine that trains in place of GitHub's own."""

    instance_type: str = Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")
    disk_gb: int = Field(gt=0)
    idle_seconds: int = Field(gt=0)
    max_hours: float = Field(gt=0)


class TrackParams(Section):
    """Who records runs, and how long a run waits for that."""

    backends: dict[str, list[str]]
    answer_seconds: float = Field(gt=0)
    send_seconds: float = Field(gt=0)
    server: str = Field(pattern=r"^mlflow==[0-9.]+$")
    port: int = Field(ge=0, le=65535)


class Params(Section):
    """The whole of params.yaml."""

    domain: str = Field(pattern=r"^[a-z_][a-z0-9_]*$")
    sample: SampleParams
    ingest: IngestParams
    environment: EnvironmentParams
    prepare: PrepareParams
    train: TrainParams
    evaluate: EvaluateParams
    gate: GateParams
    reproduce: ReproduceParams
    registry: RegistryParams
    infra: InfraParams
    serve: ServeParams
    compare: CompareParams
    deploy: DeployParams
    retire: RetireParams
    monitor: MonitorParams
    retrain: RetrainParams
    status: StatusParams
    tune: TuneParams
    experiment: ExperimentParams
    machine: MachineParams
    track: TrackParams
    explore: ExploreParams
    explain: ExplainParams

    def load_domain(self) -> Domain:
        """Import the package that holds the task."""
        return load_domain(self.domain)


def read_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check the parameters.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Params

    Raises
    ------
    MisuseError
        Naming the first key that is missing, unknown or of a wrong type, its value and what was expected.
    """
    try:
        return parse_params(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise MisuseError(f"{path} is missing; start in the folder that holds it.") from error


def parse_params(content: bytes, where: str) -> Params:
    """Check parameters that stand in no file yet, as `read_params` does; ``where`` is what a fault is said of."""
    try:
        return _check_params(yaml.safe_load(content))
    except yaml.YAMLError as error:
        raise MisuseError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise MisuseError(f"{where}: {describe_error(error)}") from error


def _check_params(raw: Any) -> Params:
    """Check the parameters, the domain's own part of ``train`` included."""
    section = raw.get("train") if isinstance(raw, dict) else None
    if not isinstance(section, dict):
        return Params.model_validate(raw)
    fields = set(TrainParams.model_fields) - {"hyperparameters"}
    own = {key: value for key, value in section.items() if key in fields}
    rest = {key: value for key, value in section.items() if key not in fields}
    params = Params.model_validate({**raw, "train": {**own, "hyperparameters": None}})
    hyperparameters = _check_hyperparameters(rest, params.load_domain().Hyperparameters)
    return params.model_copy(update={"train": params.train.model_copy(update={"hyperparameters": hyperparameters})})


def _check_hyperparameters(values: dict[str, Any], record: type) -> Any:
    """Build the domain's record of hyperparameters from its keys of the section ``train``."""
    fields = {field: (kind, ...) for field, kind in record.__annotations__.items()}
    section = create_model("Hyperparameters", __base__=Section, **fields)  # type: ignore[call-overload]
    try:
        checked = section.model_validate(values)
    except ValidationError as error:
        raise MisuseError(f"params.yaml: {describe_error(error, ('train',))}") from error
    return record(**checked.model_dump())


def describe_error(error: ValidationError, prefix: tuple[str, ...] = ()) -> str:
    """Say in one line what pydantic found first."""
    # An unknown key first: it is often the misspelling of the one that is missing.
    first = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in (*prefix, *first["loc"])) or "its top level"
    if first["type"] == "extra_forbidden":
        return f"{key} is unknown; remove it, or correct its spelling."
    if first["type"] == "missing":
        return f"{key} is missing; every key is required."
    return f"{key} is {first['input']!r}; expected: {first['msg'][:1].lower()}{first['msg'][1:]}."


def main(_argv: list[str] | None = None) -> None:
    """Check params.yaml."""
    read_params()


if __name__ == "__main__":
    run(main)
