"""Settings: command line, composition, validation, and reading them back from a run folder."""
