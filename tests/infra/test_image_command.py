"""The command that builds the image: which tool it calls and with what, beside the real builds of test_image.py."""

import json
from pathlib import Path

import pytest

from lifecycle.errors import MisuseError, RefusedError
from lifecycle.image import main
from lifecycle.paths import BUNDLE, BUNDLE_FACTS

FACTS = {"name": "model", "version": "v1.0.0+changed", "commit": "c" * 40, "sha256": "a" * 64, "python": "3.11"}
# Writes down how it was called and what lies in the folder that it builds from; nothing else is on the PATH.
STAND_IN = """#!/bin/sh
here=${0%/*}
echo "$*" >> "$here/calls"
if [ "$1" = images ]; then echo '120 MB'; exit; fi
for context in "$@"; do :; done
read -r sent < "$context/bundle.zip"
echo "$sent" > "$here/sent"
if [ -f "$here/fault" ]; then echo 'STEP 3 failed'; exit 7; fi
"""


@pytest.fixture(name="folder")
def fixture_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a bundle, on a machine without any tool."""
    (tmp_path / "out").mkdir()
    (tmp_path / BUNDLE).write_text("packed\n", encoding="utf-8")
    (tmp_path / BUNDLE_FACTS).write_text(json.dumps(FACTS), encoding="utf-8")
    (tmp_path / "tools").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "tools"))
    return tmp_path


def install(folder: Path, *builders: str) -> None:
    """Put stand-ins for tools that build on the PATH."""
    for builder in builders:
        (folder / "tools" / builder).write_text(STAND_IN, encoding="utf-8")
        (folder / "tools" / builder).chmod(0o755)


@pytest.mark.parametrize(
    ("builders", "options"), [(("docker", "buildah"), "--format docker --build-arg"), (("docker",), "--build-arg")]
)
def test_image_is_built_of_the_bundle_alone_with_the_tool_that_is_there(
    folder: Path, capfd: pytest.CaptureFixture[str], builders: tuple[str, ...], options: str
) -> None:
    install(folder, *builders)

    main(["--base", "localhost/base"])

    build, images = (folder / "tools/calls").read_text(encoding="utf-8").splitlines()
    # A tag may hold no plus sign.
    tag = "model:v1.0.0-changed"
    assert build.startswith(f"build --platform linux/amd64 --file infra/Dockerfile --tag {tag} {options}")
    assert f"--build-arg BUNDLE_SHA256={'a' * 64} " in build and "--build-arg BASE=localhost/base " in build
    assert (folder / "tools/sent").read_text(encoding="utf-8") == "packed\n"
    assert images == f"images --format {{{{.Size}}}} {tag}"
    assert capfd.readouterr().out == f"{tag}  120 MB\n"


def test_image_is_built_on_the_slim_python_of_the_model_unless_a_base_is_named(folder: Path) -> None:
    install(folder, "docker")

    main([])

    build, _ = (folder / "tools/calls").read_text(encoding="utf-8").splitlines()
    assert "--build-arg PYTHON_VERSION=3.11 " in build and "BASE=" not in build


def test_build_that_fails_is_told_with_the_tool_and_its_code(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    install(folder, "buildah")
    (folder / "tools/fault").touch()

    with pytest.raises(RefusedError, match="^buildah built no image and ended with 7; the lines above say why.$"):
        main([])

    # What a build says is not the result.
    assert capfd.readouterr() == ("", "STEP 3 failed\n")


@pytest.mark.usefixtures("folder")
def test_machine_without_a_builder_is_told_so() -> None:
    with pytest.raises(RefusedError, match="^there is no buildah and no docker on PATH; install one of them.$"):
        main([])


def test_folder_without_a_bundle_is_told_to_make_one(folder: Path) -> None:
    (folder / BUNDLE_FACTS).unlink()

    with pytest.raises(MisuseError, match="out/bundle.json is missing; build the bundle with: make bundle"):
        main([])
