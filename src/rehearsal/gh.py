"""Stands in for what ``gh`` asks of others than GitHub's own API; everything else is handed to the real one.

It checks an attestation against what the rehearsal's attesting step wrote down; nothing is signed on loopback.
"""

import hashlib
import json
import os
import sys
from pathlib import Path


def verify(path: Path, commit: str) -> int:
    """Look for an attestation of a file's bytes, made by a run for a commit."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for note in Path(os.environ["STAND_IN_STORE"], "attestations").glob("*/attestation.json"):
        attested = json.loads(note.read_text(encoding="utf-8"))
        if digest in attested["subjects"].values() and attested["commit"] == commit:
            print(f"Attested: {path.name}")
            return 0
    print(f"no attestation of {path.name} for {commit}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    gh, *arguments = sys.argv[1:]
    if arguments[:2] == ["attestation", "verify"]:
        sys.exit(verify(Path(arguments[2]), arguments[arguments.index("--source-digest") + 1]))
    os.execv(gh, ["gh", *arguments])
