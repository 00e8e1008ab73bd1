"""Serving: what answers a request, and what packs it into one file."""
