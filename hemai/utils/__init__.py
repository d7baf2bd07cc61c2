"""Utilities that know nothing of cells: errors, files, terminal, pictures."""
