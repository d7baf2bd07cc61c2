"""General utilities: errors, files, terminal output, figures."""
