"""Runs: their folders, and saved runs read back for inference."""
