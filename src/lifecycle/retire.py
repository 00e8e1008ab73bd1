"""Retire what no longer serves: versions in the registry, and the function's versions; bytes stay, for audit."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from lifecycle.delivery.service import Alias, Service, open_service
from lifecycle.deploy import read_target
from lifecycle.errors import run
from lifecycle.params import read_params
from lifecycle.registry import PRODUCTION, Version, list_versions, retire_version


def choose_versions(versions: Sequence[Version], keep: int) -> list[str]:
    """Choose the registered versions to retire; pure.

    Parameters
    ----------
    versions : sequence of Version
        Newest first, as the registry lists them.
    keep : int
        How many of those before the champion stay, to go back to.

    Returns
    -------
    list of str
        Those older than the champion and the ones that stay. Without a champion none: nobody knows yet which of
        them will serve.
    """
    in_use = [version for version in versions if not version.retired]
    places = [place for place, version in enumerate(in_use) if PRODUCTION in version.stages]
    if not places:
        return []
    return [version.name for version in in_use[places[0] + 1 + keep :] if not version.stages]


def choose_published(published: Iterable[str], alias: Alias, keep: int) -> list[str]:
    """Choose the function's versions to remove; pure.

    Parameters
    ----------
    published : iterable of str
        Their numbers.
    alias : Alias
        Where the traffic goes; what it names, also as the champion before, stays.
    keep : int
        How many of the others stay, the newest.

    Returns
    -------
    list of str
        Oldest first.
    """
    in_use = {alias.version, *alias.weights, alias.former}
    others = sorted((version for version in published if version not in in_use), key=int)
    return others[: max(len(others) - keep, 0)]


def remove_published(service: Service, keep: int) -> list[str]:
    """Remove the function's versions that no longer serve; their bundles stay in the bucket."""
    removed = choose_published(service.list_published(), service.read_alias(), keep)
    for version in removed:
        service.remove(version)
    return removed


def main(argv: Sequence[str] | None = None) -> None:
    """Retire versions in the registry, or remove those of the function that --target names."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.retire", description=main.__doc__)
    parser.add_argument("--target", type=Path, help="file that `terraform output -json` wrote")
    given = parser.parse_args(argv)
    params = read_params()
    if given.target:
        removed = remove_published(open_service(read_target(given.target)), params.retire.keep)
        print(f"removed from the function: {', '.join(removed) or 'nothing'}")
        return
    name = params.registry.name
    retired = choose_versions(list_versions(name), params.retire.keep)
    for version in retired:
        retire_version(name, version)
    print(f"retired: {', '.join(f'{name}@{version}' for version in retired) or 'nothing'}")


if __name__ == "__main__":
    run(main)
