"""Stand-ins for the actions of others: the same inputs and outputs, done on this machine."""
