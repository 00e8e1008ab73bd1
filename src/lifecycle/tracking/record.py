"""What is recorded of a run: facts in one JSON file, and beside it the files that the run made."""

import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from lifecycle.comparison.changes import flatten
from lifecycle.errors import RefusedError
from lifecycle.lineage import find_pull, merge_params
from lifecycle.paths import DATA, METRICS, MODEL, ONNX, OUT, PLOTS, TEST, VERDICT
from lifecycle.repository import (
    LOCK,
    describe_commit,
    find_entry,
    find_hash,
    hash_content,
    read_at,
    read_lock,
    resolve_revision,
    run_git,
)
from lifecycle.store import fetch_blob

FACTS, FILES, MODELS, EXAMPLE = "record.json", "files", "models", "example.json"
# What GitHub calls the merge of a pull request with its base.
PULL_REF = re.compile(r"refs/pull/(\d+)/(?:merge|head)")
# What every tracker takes as the name of a metric.
UNUSUAL = re.compile(r"[^\w /.-]")
EXAMPLE_ROWS = 5


# A record has as many fields as there are facts.
@dataclass(frozen=True)
class Record:  # pylint: disable=too-many-instance-attributes
    """The facts of a run; what is not known is None, times are in ISO 8601."""

    id: str
    model: str
    title: str
    time: str
    who: str
    commit: str | None
    uncommitted: bool
    pull_request: str | None
    lock_hash: str
    model_hash: str | None
    data: dict[str, Any] | None
    verdict: dict[str, Any] | None
    params: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    slices: list[dict[str, Any]]

    @property
    def is_history(self) -> bool:
        """Tell whether it was written from Git's history, and not by the run."""
        return self.id == f"lock-{self.lock_hash}"

    def list_figures(self) -> dict[str, float]:
        """List each metric, its interval and the baseline's, and the error of each slice, as numbers under a name."""
        figures = {}
        for name, measured in self.metrics.items():
            for part, value in measured.items():
                figures[name if part == "value" else f"{name}_{part}"] = value
        for group in self.slices:
            figures[f"slice/{_clean(group['slice'])}/{_clean(str(group['group']))}"] = group["error"]
        return figures

    def list_params(self) -> dict[str, str]:
        """List the parameters that the stages ran with, as texts under dotted names."""
        return flatten(self.params)

    def list_facts(self) -> dict[str, str]:
        """List what says where the run comes from, as texts; what is not known is left out."""
        facts = {
            "commit": self.commit,
            "uncommitted": str(self.uncommitted).lower(),
            "pull_request": self.pull_request,
            "who": self.who,
            "lock_hash": self.lock_hash,
            "model_hash": self.model_hash,
            "data_hash": (self.data or {}).get("hash"),
            "gate": (self.verdict or {}).get("outcome"),
        }
        return {key: value for key, value in facts.items() if value is not None}


def read_record(folder: Path) -> Record:
    """Read the facts of a record."""
    return Record(**json.loads((folder / FACTS).read_text(encoding="utf-8")))


def write_run(folder: Path, model: str) -> Record:
    """Write the record of the run that the working folder holds.

    Parameters
    ----------
    folder : Path
        An empty one.
    model : str
        The model's name in the registry.

    Returns
    -------
    Record
    """
    lock, now = read_lock(None), datetime.now(UTC)
    for path in (*_list_files(lock), MODEL, ONNX):
        if path.is_file():
            shutil.copyfile(path, _place(folder, path))
    _write_example(folder)
    commit = resolve_revision("HEAD")
    described = describe_commit(commit) if commit else {"subject": ""}
    pull = PULL_REF.fullmatch(os.environ.get("GITHUB_REF", ""))
    verdict = _read_json(VERDICT.read_bytes() if _is_verdict_of_run() else None)
    return _write_facts(
        folder,
        lock,
        {
            "id": f"{now:%Y%m%dT%H%M%S.%fZ}-{uuid4().hex[:8]}",
            "model": model,
            "title": f"{commit[:7] if commit else 'no commit'} {described['subject']}".strip(),
            "time": now.isoformat(timespec="seconds"),
            "who": os.environ.get("GITHUB_ACTOR") or _find_author(),
            "commit": commit,
            "uncommitted": bool(run_git("status", "--porcelain", "--untracked-files=no", "--", ".").stdout),
            "pull_request": f"#{pull[1]}" if pull else find_pull(described["subject"]),
            "verdict": verdict,
        },
    )


def write_commit(folder: Path, model: str, commit: str) -> Record:
    """Write the record of what a commit's dvc.lock names.

    Files whose bytes neither DVC's cache nor its remote has are left out, and so is the scikit-learn model: it is a
    pickle, and those of the past are not opened again.
    """
    lock = read_lock(commit)
    for path in (*_list_files(lock), ONNX):
        content = read_at(commit, str(path))
        if content is not None:
            _place(folder, path).write_bytes(content)
        elif md5 := find_hash(lock, str(path)):
            _fetch(md5, _place(folder, path))
    described = describe_commit(commit)
    facts = {
        "id": f"lock-{hash_content(read_at(commit, LOCK) or b'')}",
        "model": model,
        "title": f"{commit[:7]} {described['subject']}",
        "time": described["date"],
        "who": described["author"].partition(" <")[0],
        "commit": commit,
        "uncommitted": False,
        "pull_request": find_pull(described["subject"]),
        "verdict": None,
    }
    return _write_facts(folder, lock, facts)


def _write_facts(folder: Path, lock: Mapping[str, Any], facts: dict[str, Any]) -> Record:
    """Complete the facts by what the record's own files say, and write them."""
    entry = find_entry(lock, str(DATA))
    record = Record(
        **facts,
        lock_hash=hash_content((folder / FILES / LOCK).read_bytes()),
        model_hash=find_hash(lock, str(ONNX)),
        data={"hash": entry.get("md5"), "size_bytes": entry.get("size")} if entry else None,
        params=merge_params(dict(lock)),
        metrics=_read_copy(folder, METRICS) or {},
        slices=_read_copy(folder, PLOTS / "slices.json") or [],
    )
    (folder / FACTS).write_text(json.dumps(asdict(record), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return record


def _list_files(lock: Mapping[str, Any]) -> list[Path]:
    """List the small files of a run: what its stages made but folders and the model, and what says how."""
    stages = (lock.get("stages") or {}).values()
    made = [Path(entry["path"]) for stage in stages for entry in stage.get("outs") or []]
    folders = {Path(e["path"]) for stage in stages for e in stage.get("outs") or [] if e["md5"].endswith(".dir")}
    return [Path(LOCK), Path("params.yaml"), *(path for path in made if path not in {MODEL, ONNX, *folders})]


def _place(folder: Path, path: Path) -> Path:
    """Find the place of a file's copy in a record."""
    kind = MODELS if path in (MODEL, ONNX) else FILES
    copy = folder / kind / (path.relative_to(OUT) if path.is_relative_to(OUT) else path)
    copy.parent.mkdir(parents=True, exist_ok=True)
    return copy


def _fetch(md5: str, destination: Path) -> None:
    """Fetch bytes by their hash, where they can be had."""
    with suppress(RefusedError):
        fetch_blob(md5, destination)


def _write_example(folder: Path) -> None:
    """Write the features of some rows of the test set; nothing where no prepared rows lie."""
    if not any(TEST.glob("*.arrow")):
        return
    # Only a run that is recorded pays for this import.
    from lifecycle.data.rows import read_rows  # pylint: disable=import-outside-toplevel

    rows = read_rows(TEST)
    values = [[None if math.isnan(value) else value for value in row] for row in rows.X[:EXAMPLE_ROWS].tolist()]
    (folder / EXAMPLE).write_text(json.dumps({"columns": rows.features, "rows": values}), encoding="utf-8")


def _is_verdict_of_run() -> bool:
    """Tell whether the gate's verdict is no older than the figures: it may have ended before it wrote one."""
    return VERDICT.is_file() and METRICS.is_file() and VERDICT.stat().st_mtime >= METRICS.stat().st_mtime


def _find_author() -> str:
    """Find in whose name Git would commit."""
    done = run_git("var", "GIT_AUTHOR_IDENT")
    return done.stdout.decode(errors="replace").partition(" <")[0] if done.returncode == 0 else "unknown"


def _read_copy(folder: Path, path: Path) -> Any:
    """Read a JSON file of a record; None where there is none."""
    copy = _place(folder, path)
    return _read_json(copy.read_bytes() if copy.is_file() else None)


def _read_json(content: bytes | None) -> Any:
    """Read JSON; None for nothing."""
    return None if content is None else json.loads(content)


def _clean(name: str) -> str:
    """Make a text part of a metric's name: a slash would begin a part of its own, dots alone a folder."""
    return UNUSUAL.sub("_", name).replace("/", "_").strip(". ") or "_"
