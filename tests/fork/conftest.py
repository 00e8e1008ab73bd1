"""The tests in here belong to the fork's domain: they run in the drill's copy, where that domain is in place."""

collect_ignore = ["tests"]
