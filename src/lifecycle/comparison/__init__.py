"""Comparison: challenger and champion predict the same rows, and the gate decides."""
