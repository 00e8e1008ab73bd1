"""The versions of the libraries that shape the model are inputs of its fit."""

import json
import sys
from importlib.metadata import version

import pytest
from readings import write_params

from lifecycle.environment import list_versions, main
from lifecycle.errors import MisuseError

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NUMPY = version("numpy")


def test_versions_are_the_installed_ones_and_python_without_its_patch() -> None:
    lock = f"numpy=={NUMPY} \\\n    --hash=sha256:0\nnumpydoc==1 ; python_version < '3'\n"

    assert list_versions(["numpy"], lock) == {"python": PYTHON, "numpy": NUMPY}


def test_lock_with_a_version_for_each_python_names_the_installed_one() -> None:
    lock = f"numpy==1.0 ; python_full_version < '3.11'\nnumpy=={NUMPY} ; python_full_version >= '3.11'\n"

    assert list_versions(["numpy"], lock)["numpy"] == NUMPY


@pytest.mark.parametrize(
    ("lock", "locked"),
    [("numpy==1.0\n", "1.0"), ("scipy==1.0\n", "none"), (f"old-numpy=={NUMPY}\n", "none")],
)
def test_library_that_is_not_the_locked_one_is_refused(lock, locked) -> None:
    expected = f"^numpy {NUMPY} is installed; requirements.lock has {locked}. Run: make install$"

    with pytest.raises(MisuseError, match=expected):
        list_versions(["numpy"], lock)


def test_library_that_is_not_installed_is_named() -> None:
    with pytest.raises(MisuseError, match="names 'sklearn', which is not installed; expected a package's name"):
        list_versions(["sklearn"], "")


def test_stage_writes_the_versions(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    (tmp_path / "requirements.lock").write_text(f"numpy=={NUMPY} \\\n", encoding="utf-8")

    main()

    written = json.loads((tmp_path / "out" / "environment.json").read_text(encoding="utf-8"))
    assert written == {"python": PYTHON, "numpy": NUMPY}
