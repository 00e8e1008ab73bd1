"""Delivery: what a deploy does to the function, its traffic, and the lease that keeps two deploys apart."""
