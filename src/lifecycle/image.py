"""Build the container image: the bundle's content on a slim Python, for those who serve on containers."""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lifecycle.errors import MisuseError, RefusedError, run
from lifecycle.paths import BUNDLE, BUNDLE_FACTS

DOCKERFILE = Path("infra/Dockerfile")
# Tried in this order; the OCI's own format, which is buildah's default, has no health check.
BUILDERS = {"buildah": ("--format", "docker"), "docker": ()}
# Of the bundle's libraries.
PLATFORM = "linux/amd64"


def build_image(facts: Mapping[str, Any], base: str | None) -> tuple[str, str]:
    """Build the image of the working folder's bundle.

    Parameters
    ----------
    facts : mapping
        As `lifecycle.bundle.build_bundle` gives it.
    base : str or None
        The image to build on; None takes the slim Python of the model's version.

    Returns
    -------
    tuple of str and str
        The image's name with its tag, and its size.

    Raises
    ------
    RefusedError
        If no tool is there to build it, or it cannot be built; whatever had the name before keeps it.
    """
    builder = next(filter(shutil.which, BUILDERS), None)
    if builder is None:
        raise RefusedError(f"there is no {' and no '.join(BUILDERS)} on PATH; install one of them.")
    # A tag may hold no plus sign.
    tag = f"{facts['name']}:{facts['version'].replace('+', '-')}"
    with TemporaryDirectory(prefix="image-") as context:
        shutil.copyfile(BUNDLE, Path(context) / BUNDLE.name)
        options = ["--platform", PLATFORM, "--file", str(DOCKERFILE), "--tag", tag, *BUILDERS[builder]]
        command = [builder, "build", *options, *_name_arguments(facts, base), context]
        # What a build says can be long, and is not the result.
        done = subprocess.run(command, stdout=sys.stderr, check=False)
    if done.returncode:
        raise RefusedError(f"{builder} built no image and ended with {done.returncode}; the lines above say why.")
    listed = [builder, "images", "--format", "{{.Size}}", tag]
    return tag, subprocess.run(listed, capture_output=True, text=True, check=True).stdout.strip()


def _name_arguments(facts: Mapping[str, Any], base: str | None) -> list[str]:
    """Write the Dockerfile's arguments as options."""
    values = {
        "PYTHON_VERSION": facts["python"],
        "BUNDLE_SHA256": facts["sha256"],
        "NAME": facts["name"],
        "VERSION": facts["version"],
        "COMMIT": facts["commit"],
        **({"BASE": base} if base else {}),
    }
    return [word for key, value in values.items() for word in ("--build-arg", f"{key}={value}")]


def main(argv: Sequence[str] | None = None) -> None:
    """Build the image, and print its name and size."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.image", description=main.__doc__)
    parser.add_argument("--base", help="the image to build on; default: the slim Python of the model's version")
    arguments = parser.parse_args(argv)
    try:
        facts = json.loads(BUNDLE_FACTS.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MisuseError(f"{BUNDLE_FACTS} is missing; build the bundle with: make bundle") from error
    tag, size = build_image(facts, arguments.base)
    print(f"{tag}  {size}")


if __name__ == "__main__":
    run(main)
