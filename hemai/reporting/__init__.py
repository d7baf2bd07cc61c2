"""Reporting: sections of a report, and the forms in which they are shown."""
