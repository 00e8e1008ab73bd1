"""Exploration: what the months hold, in sketches of bounded size, and what stands out in it."""
