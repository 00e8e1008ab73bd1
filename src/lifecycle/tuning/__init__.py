"""The parts of the search for hyperparameters: its space, its workers, its journal, and what came of it."""
