"""The borders between the rooms: who may import whom, and which words stay in the domain."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml

from lifecycle.data.contract import Column, read_contract
from lifecycle.folders import derive_pipeline, list_models
from lifecycle.seam import load_domain

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
DOMAIN = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["domain"]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
MACHINERY = [
    *(SOURCE / "lifecycle").rglob("*.py"),
    *(ROOT / ".github").rglob("*.y*ml"),
    *(ROOT / "infra").rglob("*.tf"),
    *(ROOT / name for name in ("Makefile", "dvc.yaml", ".ci/run", "infra/Dockerfile")),
]

# Words of the task that the template comes with; a fork may put its own here.
WORDS = "trip taxi zone pickup dropoff duration borough green nyc passenger fare ride cab vendor weekday"
# Modules that cannot change a stage's result: parameters, names of files, messages and the seam.
SHARED = {f"lifecycle.{name}" for name in ("errors", "params", "paths", "seam")}
# What serving imports, and what it must do without.
SERVING = (
    "lifecycle.predictor",
    "lifecycle.serve",
    "lifecycle.data.contract",
    f"{DOMAIN}.contract",
    f"{DOMAIN}.features",
)
NOT_IN_SERVING = {"pandas", "pyarrow", "sklearn"}

TOP_LEVEL = {"pyproject.toml", "README.md", "Makefile", "params.yaml", "dvc.yaml", "data.dvc", "dvc.lock"}
TOP_LEVEL |= {"requirements.lock", "LICENSE", "src", "tests", "out"}


def split_words(text: str) -> str:
    """Write the words of a text, and of the identifiers in it, in lower case and each between spaces."""
    return f" {' '.join(re.findall(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+', text)).lower()} "


def find_words(text: str, words: set[str]) -> list[str]:
    """Find those of the words that a text holds, in the singular or the plural, wherever an identifier has them."""
    split = split_words(text)
    return sorted(word for word in words if re.search(f"{split_words(word).rstrip()}s? ", split))


@cache
def list_domain_words() -> set[str]:
    """List the task's words: those above, and the names that the domain gives to columns, features and slices."""
    domain = load_domain(DOMAIN, ROOT)
    contract = read_contract(domain.CONTRACT)
    row = {column.name: make_value(column) for column in contract.known_at_start()}
    names = {name for column in contract.columns for name in (column.name, *column.spellings)}
    names |= {*domain.compute_features(row), *domain.compute_slices(row)}
    # A name of one word, such as hour, may be plain English, to which the machinery has a right as well.
    return {*WORDS.split(), *(name for name in names if len(split_words(name).split()) > 1)}


def make_value(column: Column) -> np.ndarray:
    """Make an array of shape (1,) of what a column may hold."""
    if column.type == "timestamp":
        return np.array(["2024-01-31T08:30:00"], "datetime64[us]")
    if column.type == "text":
        return np.array([column.values[0] if column.values else ""], object)
    return np.array([column.minimum or 0], np.float64)


def is_dynamic_import(node: ast.AST) -> bool:
    """Tell whether a node imports a module by a name that is made when it runs."""
    named = isinstance(node, ast.Call) and (getattr(node.func, "id", "") or getattr(node.func, "attr", ""))
    return named in ("import_module", "__import__")


def list_imports(path: Path) -> Iterator[str]:
    """List the modules that a file imports, anywhere in it, and the packages that hold them."""
    package = path.parts[path.parts.index("src", len(ROOT.parts)) + 1 : -1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            start = ".".join([*above, *filter(None, [node.module])])
            names = [f"{start}.{alias.name}" for alias in node.names]
        elif is_dynamic_import(node):
            names = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
        for name in names:
            parts = str(name).split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def find_module(name: str) -> Path | None:
    """Find the file of a module under src; None for other names, and for packages that hold only a docstring."""
    path = SOURCE / name.replace(".", "/")
    if path.is_dir():
        path = path / "__init__.py"
        return path if len(ast.parse(path.read_text(encoding="utf-8")).body) > 1 else None
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


def list_needed(module: str) -> dict[str, Path]:
    """List the lifecycle's modules that one of them imports, itself included, however far away."""
    needed: dict[str, Path] = {}
    pending = [module]
    while pending:
        name = pending.pop()
        path = find_module(name) if name.startswith("lifecycle") else None
        if path and name not in needed:
            needed[name] = path
            pending += list_imports(path)
    return needed


@pytest.mark.parametrize("path", MACHINERY, ids=lambda path: str(path.relative_to(ROOT)))
def test_machinery_holds_no_word_of_the_task(path: Path) -> None:
    lines = [str(path.relative_to(ROOT)), *path.read_text(encoding="utf-8").splitlines()]

    found = {number: find_words(line, list_domain_words()) for number, line in enumerate(lines)}

    assert not [f"{lines[0]}:{number}: {', '.join(words)}" for number, words in found.items() if words]


@pytest.mark.parametrize("text", ["zone", "pickup_zone", "# Zones.", "homeZone2", "ZONE_PAIR", '"DOZones"'])
def test_word_is_found_in_every_form(text: str) -> None:
    assert find_words(text, {"zone"}) == ["zone"]


@pytest.mark.parametrize("text", ["timezone", "tzinfo", "zoned", "override, strip, scab", "pair"])
def test_word_is_not_found_in_other_words(text: str) -> None:
    assert not find_words(text, {"ride", "trip", "cab", "zone", "zone_pair"})


def test_domain_imports_no_other_room() -> None:
    sources = [SOURCE, *ROOT.glob("models/*/src")]
    files = [path for source in sources for path in (source / DOMAIN).rglob("*.py")]
    imports = {(path.name, name) for path in files for name in list_imports(path)}

    assert ("contract.py", "numpy") in imports
    assert not [(file, name) for file, name in imports if name in ("lifecycle", "rehearsal")]


def test_lifecycle_imports_no_other_room() -> None:
    imports = {(path.name, name) for path in (SOURCE / "lifecycle").rglob("*.py") for name in list_imports(path)}

    assert ("params.py", "lifecycle.seam") in imports
    assert not [(file, name) for file, name in imports if name in (DOMAIN, "rehearsal")]


def test_only_the_seam_imports_by_name() -> None:
    dynamic = {
        path.name
        for path in (SOURCE / "lifecycle").rglob("*.py")
        if any(is_dynamic_import(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    }

    assert dynamic == {"seam.py"}


def test_serving_imports_neither_scikit_learn_nor_pandas_nor_pyarrow() -> None:
    code = f"import sys, {', '.join(SERVING)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    loaded = {*done.stdout.split()}
    assert "onnxruntime" in loaded
    assert loaded & NOT_IN_SERVING == set()


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_all_code_that_makes_its_result(stage: str) -> None:
    modules = [path for name, path in list_needed(f"lifecycle.{stage}").items() if name not in SHARED]
    needed = {str(path.relative_to(ROOT)) for path in modules}
    # Any file of the domain may change what the stage makes of it.
    if any("load_domain" in path.read_text(encoding="utf-8") for path in modules):
        needed.add(f"src/{DOMAIN}")

    missing = [name for name in needed if not any(Path(name).is_relative_to(dep) for dep in STAGES[stage]["deps"])]

    assert STAGES[stage]["cmd"] == f"python -m lifecycle.{stage}"
    assert f"src/lifecycle/{stage}.py" in needed
    assert not missing


def test_top_level_holds_what_the_layout_names() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = {line.partition("/")[0] for line in listed.splitlines()}

    assert {name for name in names if not name.startswith(".")} - {"infra", "models"} == TOP_LEVEL


def test_every_model_has_the_first_ones_stages() -> None:
    first, *others = (folder / "dvc.yaml" for folder in list_models(ROOT).values())

    derived = derive_pipeline(first.read_text(encoding="utf-8"))

    assert first == ROOT / "dvc.yaml"
    assert derived.count("- ../../src/lifecycle/") == derived.count("src/lifecycle") > 0
    assert {path.read_text(encoding="utf-8") for path in others} <= {derived}
