"""Reporting: sections of a report, and their output as HTML, Markdown and terminal text."""
