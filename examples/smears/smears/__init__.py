"""A project of its own on top of hemai."""
