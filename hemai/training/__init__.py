"""Training: the Trainer, its callbacks and loggers, and the results of a run."""
