"""MLflow's registry says what Git's says: the same versions in the same order, and their aliases.

MLflow counts 1, 2, 3; each of its versions bears the Git version as a tag, and as an alias with dashes, since an
alias has no dots. What somebody changed there by hand is put back, and a version that Git does not know has no alias.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lifecycle.registry import PRODUCTION, Version

VERSION, UNKNOWN = "version", "not_in_git"
CHAMPION, CHALLENGER = "champion", "challenger"
# Run and logged model of a version; no model where its bytes were not to be had.
Source = tuple[str, str | None]


def follow_registry(
    client: Any, name: str, versions: Sequence[Version], find_source: Callable[[Version], Source]
) -> list[str]:
    """Bring MLflow's registry to what Git's says.

    Parameters
    ----------
    client : MlflowClient
    name : str
        The model's name, here and there.
    versions : sequence of Version
        Git's.
    find_source : callable
        Finds run and logged model of a version.

    Returns
    -------
    list of str
        A line for each thing that was changed, or that only a person can change.
    """
    is_known = bool(client.search_registered_models(f"name = '{name}'"))
    if not versions and not is_known:
        return []
    if not is_known:
        client.create_registered_model(name, description="Follows the tags in Git; changes made here are put back.")
    sources = {version.name: find_source(version) for version in versions}
    known, said = _match_versions(client, name, sources)
    for version in sorted(versions, key=lambda one: one.date):
        if version.name not in known:
            known[version.name] = _create_version(client, name, version, sources[version.name])
            said.append(f"registered: {name}@{version.name} is version {known[version.name]}")
        _describe(client, name, known[version.name], version)
    aliases = {alias: known[version] for alias, version in list_aliases(versions).items()}
    return [*said, *_set_aliases(client, name, aliases)]


def list_aliases(versions: Sequence[Version]) -> dict[str, str]:
    """List the aliases that Git gives, each with its version.

    The challenger is the newest version that is neither retired nor older than the champion.

    Parameters
    ----------
    versions : sequence of Version
        Newest first, as `lifecycle.registry.list_versions` gives them.
    """
    aliases = {version.name.replace(".", "-"): version.name for version in versions}
    champion = next((place for place, one in enumerate(versions) if PRODUCTION in one.stages), len(versions))
    newer = [version.name for version in versions[:champion] if not version.retired]
    if newer:
        aliases[CHALLENGER] = newer[0]
    if champion < len(versions):
        aliases[CHAMPION] = versions[champion].name
    return aliases


def _match_versions(client: Any, name: str, sources: dict[str, Source]) -> tuple[dict[str, str], list[str]]:
    """Find MLflow's number of each version, and mark the numbers that stand for none."""
    known: dict[str, str] = {}
    said = []
    for there in sorted(client.search_model_versions(f"name = '{name}'"), key=lambda one: int(one.version)):
        # The list leaves the aliases out, and may lag behind the tags.
        version = there.tags.get(VERSION, "")
        if version in sources and version not in known and there.run_id == sources[version][0]:
            # A server gives a text, a database a number.
            known[version] = str(there.version)
            if UNKNOWN in there.tags:
                client.delete_model_version_tag(name, there.version, UNKNOWN)
            continue
        said.append(f"not in Git: version {there.version} of {name} at MLflow; to be rid of it, delete it there.")
        if there.tags.get(UNKNOWN) != "true":
            client.set_model_version_tag(name, there.version, UNKNOWN, "true")
    return known, said


def _create_version(client: Any, name: str, version: Version, source: Source) -> str:
    """Create MLflow's version of a version."""
    run, model = source
    # Without bytes the version still takes its number, so that those of later ones are right.
    where = f"models:/{model}" if model else client.get_run(run).info.artifact_uri
    tags = {VERSION: version.name}
    return str(client.create_model_version(name, where, run, tags=tags, model_id=model).version)


def _describe(client: Any, name: str, number: str, version: Version) -> None:
    """Say of MLflow's version what Git says, where it says something else."""
    there = client.get_model_version(name, number)
    state = "retired" if version.retired else ", ".join(version.stages) or "registered"
    for key, value in {"commit": version.commit, "state": state}.items():
        if there.tags.get(key) != value:
            client.set_model_version_tag(name, number, key, value)
    description = f"{name}@{version.name}, registered {version.date} by {version.author.partition(' <')[0]}"
    if there.description != description:
        client.update_model_version(name, number, description)


def _set_aliases(client: Any, name: str, wanted: dict[str, str]) -> list[str]:
    """Give the aliases that Git gives, and take all others."""
    found = {alias: str(number) for alias, number in client.get_registered_model(name).aliases.items()}
    said = []
    for alias in sorted(found.keys() - wanted.keys()):
        client.delete_registered_model_alias(name, alias)
        said.append(f"alias {alias}: taken from version {found[alias]}, since Git gives it to none")
    for alias, number in sorted(wanted.items()):
        if found.get(alias) != number:
            client.set_registered_model_alias(name, alias, number)
            before = (
                f"moved from version {found[alias]} to {number}" if alias in found else f"given to version {number}"
            )
            said.append(f"alias {alias}: {before}, as Git says")
    return said
