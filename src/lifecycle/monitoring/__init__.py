"""The parts of the monitor: the log, what the models said in it, and what came true."""
