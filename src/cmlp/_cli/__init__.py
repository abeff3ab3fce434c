"""The command line: one module for each command, and one for each kind of input."""
