"""What predictions are worth: figures with intervals, by class and by group."""
