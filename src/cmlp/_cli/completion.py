"""Completion in shells, by the package shtab."""

import argparse

from cmlp._utils.validation import import_optional

SHELLS = ("bash", "zsh", "tcsh", "fish")

# What completes an argument that is a file, for each shell: `shtab.FILE`, without importing it.
FILE = {
    "bash": "_shtab_compgen_files",
    "zsh": "_files",
    "tcsh": "f",
    "fish": "(__fish_complete_path (commandline -ct))",
}


class PrintCompletion(argparse.Action):
    """Print the script that completes the command in a shell, and exit."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Print the script."""
        try:
            shtab = import_optional("shtab", "--print-completion", "shtab", "cli")
        except ImportError as error:
            parser.exit(2, f"cmlp: {error}\n")
        print(shtab.complete(parser, shell=values))
        parser.exit()


def add_file(command, *names, **options):
    """Add an argument that is a file, or a name instead; see `add_argument`."""
    command.add_argument(*names, **options).complete = FILE
