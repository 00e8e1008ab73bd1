"""Benchmarks: ratios measured in one run, each beside what it has to reach."""
