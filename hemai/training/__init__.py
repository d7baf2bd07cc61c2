"""Training: the Trainer, its callbacks and loggers, and what a training leaves behind."""
