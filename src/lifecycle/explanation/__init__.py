"""Explanation: what pushed one prediction up and down, and what similar rows did."""
