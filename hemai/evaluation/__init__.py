"""Evaluation: metrics, intervals, calibration, shortcut baselines and plots of a set of predictions."""
