"""The command line, ``cmlp train | evaluate | predict | export | info | bench``."""

import os
import sys
import warnings

from cmlp import errors
from cmlp._cli.errors import CommandError
from cmlp._cli.parser import build_parser


def print_note(message, *_):
    """Print a warning as one line on standard error; the replacement of `warnings.showwarning`."""
    print(f"cmlp: note: {' '.join(str(message).split())}", file=sys.stderr)


def main(arguments=None):
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        The exit code: 0; 1 if the reader of standard output has closed it; 2 after an error;
        130 after Ctrl-C.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if getattr(options, "data", None) is not None and options.file is not None:
        parser.error("give the data either as an argument or by --data")
    if hasattr(options, "data") and options.data is None:
        options.data = options.file
    try:
        with warnings.catch_warnings():
            warnings.showwarning = print_note
            options.run(options)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        # Python flushes standard output at exit; redirect it, so that this does not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (
        OSError, ValueError, TypeError, ArithmeticError, MemoryError, ImportError, CommandError,
        errors.RankError,
    ) as error:  # fmt: skip
        print(f"cmlp: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("cmlp: interrupted", file=sys.stderr)
        return 130
