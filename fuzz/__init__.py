"""Fuzzing of everything that reads files; see `python -m fuzz --help`."""
