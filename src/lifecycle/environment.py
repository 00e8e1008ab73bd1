"""Stage ``environment``: write down the Python and the libraries that shape the model, as inputs of its fit.

The stage runs whenever the lock file changes; what depends on it runs only when one of these versions does.
"""

import json
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lifecycle.errors import MisuseError, run
from lifecycle.params import read_params
from lifecycle.paths import ENVIRONMENT

LOCK = Path("requirements.lock")


def list_versions(libraries: list[str], lock: str) -> dict[str, str]:
    """Return the installed version of each library, after checking that the lock file names it.

    Parameters
    ----------
    libraries : list of str
    lock : str
        Text of the lock file.

    Returns
    -------
    dict of str to str

    Raises
    ------
    MisuseError
        If a library is not installed, not locked, or locked at another version.
    """
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for library in libraries:
        locked = re.findall(rf"^{re.escape(library)}==([^\s;]+)", lock, flags=re.MULTILINE)
        try:
            installed = version(library)
        except PackageNotFoundError as error:
            raise MisuseError(
                f"environment.libraries of params.yaml names {library!r}, which is not installed; expected a "
                "package's name, such as scikit-learn. Correct it, or run: make install"
            ) from error
        if installed not in locked:
            raise MisuseError(
                f"{library} {installed} is installed; {LOCK} has {' or '.join(locked) or 'none'}. Run: make install"
            )
        found[library] = installed
    return found


def main(_argv: list[str] | None = None) -> None:
    """Write the versions."""
    params = read_params()
    versions = list_versions(params.environment.libraries, LOCK.read_text(encoding="utf-8"))
    ENVIRONMENT.parent.mkdir(exist_ok=True)
    ENVIRONMENT.write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
