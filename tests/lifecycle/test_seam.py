"""The domain is found where the machinery works, under the name that params.yaml gives."""

import sys

import pytest

from lifecycle.errors import MisuseError
from lifecycle.seam import load_domain


@pytest.fixture(autouse=True)
def fixture_imports(monkeypatch):
    """Forget what a test imported, and from where."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write_package(root, name, text):
    """Write a package below src/."""
    package = root / "src" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(text, encoding="utf-8")


def test_domain_is_a_package_of_the_working_folder(tmp_path, monkeypatch) -> None:
    write_package(tmp_path, "orchard", "CONTRACT = {'title': 'Apples'}")
    monkeypatch.chdir(tmp_path)

    assert load_domain("orchard").CONTRACT == {"title": "Apples"}


def test_domain_of_another_folder_comes_first(tmp_path) -> None:
    write_package(tmp_path / "one", "quarry", "CONTRACT = 1")
    write_package(tmp_path / "two", "quarry", "CONTRACT = 2")
    sys.path.insert(0, str(tmp_path / "one" / "src"))

    assert load_domain("quarry", tmp_path / "two").CONTRACT == 2


def test_missing_domain_is_named_with_the_place_where_it_was_expected(tmp_path) -> None:
    with pytest.raises(MisuseError, match=r"names the domain 'nowhere'; expected a package src/nowhere\."):
        load_domain("nowhere", tmp_path)


def test_library_that_the_domain_lacks_is_not_taken_for_a_missing_domain(tmp_path) -> None:
    write_package(tmp_path, "harbour", "import no_such_library")

    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load_domain("harbour", tmp_path)
