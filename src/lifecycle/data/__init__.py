"""Data: what a month promises, how its rows are streamed, and how prepared rows are read."""
