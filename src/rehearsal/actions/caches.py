"""Caches in a folder, by key, as actions/cache 5 restores and saves them."""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

from rehearsal.actions.step import (
    append_line,
    expand_pattern,
    fail,
    find_store,
    find_workspace,
    is_true,
    list_patterns,
    read_inputs,
    set_output,
)


def name_version(inputs: dict[str, str]) -> str:
    """Name a cache's version: a cache is found again only under the very same list of paths."""
    return hashlib.sha256(inputs["path"].strip().encode()).hexdigest()[:16]


def find_entry(key: str, version: str) -> Path:
    """Find the folder of a key."""
    return find_store("caches") / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}-{version}"


def match_key(inputs: dict[str, str]) -> dict[str, str] | None:
    """Find the cache of a key: the key's own, else the newest that starts with it or with the next restore key."""
    described = [json.loads(path.read_text(encoding="utf-8")) for path in find_store("caches").glob("*/cache.json")]
    entries = [entry for entry in described if entry["version"] == name_version(inputs)]
    exact = [entry for entry in entries if entry["key"] == inputs["key"]]
    starts = [inputs["key"], *(line.strip() for line in inputs["restore-keys"].splitlines() if line.strip())]
    for start in starts:
        found = exact or [entry for entry in entries if entry["key"].startswith(start)]
        if found:
            return max(found, key=lambda entry: entry["number"])
    return None


def restore(inputs: dict[str, str]) -> None:
    """Restore a cache; cache-hit is true for the very key, false for another one, and empty for none."""
    append_line("GITHUB_STATE", f"key={inputs['key']}")
    set_output("cache-primary-key", inputs["key"])
    entry = match_key(inputs)
    if not entry:
        if is_true(inputs["fail-on-cache-miss"]):
            fail(f"Failed to restore cache entry. Exiting as fail-on-cache-miss is set. Input key: {inputs['key']}")
        print(f"Cache not found for input keys: {inputs['key']} {' '.join(inputs['restore-keys'].split())}")
        return
    append_line("GITHUB_STATE", f"matched={entry['key']}")
    set_output("cache-matched-key", entry["key"])
    set_output("cache-hit", str(entry["key"] == inputs["key"]).lower())
    if not is_true(inputs["lookup-only"]):
        folder = find_entry(entry["key"], entry["version"])
        for number, name in enumerate(entry["names"]):
            copy_path(folder / str(number), find_workspace() / name)
    print(f"Cache restored from key: {entry['key']}")


def save(inputs: dict[str, str]) -> None:
    """Save a cache; a key that exists keeps what it has."""
    folder = find_entry(inputs["key"], name_version(inputs))
    paths = [path for pattern in list_patterns(inputs["path"]) for path in expand_pattern(pattern)]
    if not paths or (folder / "cache.json").exists():
        reason = "the key exists" if paths else "Path Validation Error: no path of the cache exists"
        print(f"::warning::Failed to save: {reason}: {inputs['key']}")
        return
    for number, path in enumerate(paths):
        copy_path(path, folder / str(number))
    entry = {
        "key": inputs["key"],
        "version": name_version(inputs),
        # The order of saving; the newest of several caches is taken.
        "number": len(list(find_store("caches").glob("*/cache.json"))),
        # Every job has a folder of its own, so what lies in it is named from there.
        "names": [str(path).removeprefix(f"{find_workspace()}/") for path in paths],
    }
    (folder / "cache.json").write_text(json.dumps(entry), encoding="utf-8")
    print(f"Cache saved with key: {inputs['key']}")


def save_after(inputs: dict[str, str]) -> None:
    """Save at the job's end what a whole cache step could not restore by its very key, as that step was given it."""
    key = os.environ["STATE_key"]
    if os.environ.get("STATE_matched") == key:
        print(f"Cache hit occurred on the primary key {key}, not saving cache.")
    else:
        save({**inputs, "key": key})


def copy_path(source: Path, target: Path) -> None:
    """Copy a file or a folder, links as they are."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)


if __name__ == "__main__":
    {"restore": restore, "save": save, "after": save_after}[sys.argv[1]](read_inputs())
