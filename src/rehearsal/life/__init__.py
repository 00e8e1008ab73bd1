"""A service's life in the rehearsal: its cloud, its model, its callers, its releases, and the timeline of it all."""
