"""The machinery of a model's life, from a month of data to a registered version."""
