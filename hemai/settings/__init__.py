"""Settings: command line, composition, validation, and what is read back from a run folder."""
