"""Where the models of a repository are: the first one at its top, each other one in a folder under models/.

Such a folder holds what is the model's own: params.yaml, data.dvc, dvc.lock, out/ and its package under src/. Its
dvc.yaml is made of the first one's by `share_pipeline`: a link to it DVC could not read at a revision.
"""

from pathlib import Path

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.paths import MODELS, PARAMS, PIPELINE, find_model, find_top
from lifecycle.repository import read_yaml_at

MACHINERY = "src/lifecycle/"


def list_models(top: Path) -> dict[str, Path]:
    """List the models by name, the first one first, with their folders.

    Raises
    ------
    RefusedError
        If a name is not that of its folder, or is the first one's as well.
    """
    first = read_name(top)
    found = {first: top}
    for path in sorted((top / MODELS).glob(f"*/{PARAMS}")):
        folder, name = path.parent, read_name(path.parent)
        if name != folder.name or name == first:
            raise RefusedError(
                f"{path.relative_to(top)} has registry.name {name!r}; expected {folder.name!r}, which is no other "
                "model's: the tags of its versions begin with it. Correct it."
            )
        found[name] = folder
    return found


def read_name(folder: Path) -> str:
    """Read what a folder's params.yaml calls its model.

    Raises
    ------
    RefusedError
        If it says nothing of it.
    """
    registry = read_yaml_at(None, str(folder / PARAMS)).get("registry")
    name = registry.get("name") if isinstance(registry, dict) else None
    if not isinstance(name, str):
        raise RefusedError(f"{folder / PARAMS} names no model; expected registry.name.")
    return name


def find_folder(top: Path, name: str) -> Path:
    """Find a model's folder; no name is the first one's.

    Raises
    ------
    MisuseError
        If there is none of this name, with those that there are.
    """
    models = list_models(top)
    if not name:
        return top
    if name not in models:
        raise MisuseError(
            f"there is no model {name!r}, only {', '.join(models)}; make it with: make model NAME={name}"
        )
    return models[name]


def name_among_others() -> str | None:
    """Name the working folder's model; None where it is the repository's only one."""
    models = list_models(find_top())
    return (find_model() or next(iter(models))) if len(models) > 1 else None


def derive_pipeline(first: str) -> str:
    """Make a model's dvc.yaml of the first one's: the same stages, with the machinery where it lies from there."""
    return first.replace(f"- {MACHINERY}", f"- ../../{MACHINERY}")


def share_pipeline() -> None:
    """Bring the dvc.yaml of the working folder's model in line with the first one's."""
    if not has_shared_pipeline():
        first = (find_top() / PIPELINE).read_text(encoding="utf-8")
        PIPELINE.write_text(derive_pipeline(first), encoding="utf-8")
        print(f"{PIPELINE} has the first model's stages again", flush=True)


def has_shared_pipeline() -> bool:
    """Tell whether the working folder's model has the stages of the first one."""
    if find_model() is None:
        return True
    first = (find_top() / PIPELINE).read_text(encoding="utf-8")
    return PIPELINE.is_file() and PIPELINE.read_text(encoding="utf-8") == derive_pipeline(first)
