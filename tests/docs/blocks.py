"""Run the fenced code blocks of a Markdown page in order, as written.

``python tests/docs/blocks.py PAGE [DIRECTORY]`` runs them in the directory, by default in a new one
that is removed. The exit code is 0, 1 (a block failed) or 77 (blocks were left out because a
package is missing).

========================  ======================================================================
block                     what happens
========================  ======================================================================
``python``                executed; all blocks of a page share their names
``pycon``                 executed, and the output compared, as doctest does
``sh``                    executed by ``bash -euo pipefail``; ``python``, ``cmlp`` and ``mpiexec``
                          are those of this interpreter
``{...}``                 a directive of MyST, checked by the build of the site
========================  ======================================================================

A comment directly above a block changes this. Blocks of other languages need one.

=============================  =================================================================
comment                        what happens
=============================  =================================================================
``<!-- file: NAME -->``        the block is written to the file NAME
``<!-- output -->``            the block is compared with the output of the block before it;
                               ``...`` stands for any text
``<!-- requires: a, b -->``    the block is left out if one of these packages is missing
``<!-- not run: REASON -->``   the block is not run
=============================  =================================================================
"""

import contextlib
import dataclasses
import doctest
import importlib.util
import io
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
import types
import warnings
from pathlib import Path

from markdown_it import MarkdownIt

RUNNABLE = ("python", "pycon", "sh")
LEFT_OUT = 77  # the exit code
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
COMMENT = re.compile(r"<!--\s*(file|output|requires|not run)\b:?\s*(.*?)\s*-->\s*", re.DOTALL)


@dataclasses.dataclass
class Block:
    """A fenced block: its language, text and the line of its first line of text, from 1.

    `mark` is the kind of the comment above it, or None, and `value` the comment's text.
    """

    language: str
    text: str
    line: int
    mark: str | None = None
    value: str = ""

    def describe_problem(self):
        """Return why the checker can neither run nor leave out the block, or None."""
        if self.mark is None and self.language not in RUNNABLE:
            return f"a block of {self.language or 'no language'} needs a comment"
        if self.mark == "requires" and self.language not in RUNNABLE:
            return f"a block of {self.language or 'no language'} does not run"
        if self.mark in ("file", "requires", "not run") and not self.value:
            return f"the comment '{self.mark}' needs a value"
        return None


def parse_blocks(text, first_line=1):
    """Return the blocks of a page; those within a directive of MyST are blocks of the page."""
    blocks = []
    comment = None
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "html_block":
            comment = COMMENT.fullmatch(token.content)
            continue
        if token.type == "fence":
            language = (token.info.split() or [""])[0]
            line = first_line + token.map[0] + 1
            if language.startswith("{"):
                if language == "{code-block}" or language == "{code-cell}":
                    raise ValueError(f"line {line}: a fence with the language, not {language}")
                blocks += parse_blocks(token.content, line)
            else:
                mark, value = comment.groups() if comment else (None, "")
                blocks.append(Block(language, token.content, line, mark, value))
        comment = None
    return blocks


class Page:
    """The state that the blocks of a page share: names, directory, the output of the last block."""

    def __init__(self, path, commands):
        self.path = path
        self.commands = commands
        self.output = ""
        # The blocks are the program: `if __name__ == "__main__":` holds, and what they define can
        # be pickled.
        self.module = types.ModuleType("__main__")
        sys.modules["__main__"] = self.module

    def run(self, block):
        """Run, write or compare a block; return False if a package that it needs is missing."""
        if block.mark == "requires" and not all(
            importlib.util.find_spec(name) for name in re.split(r"[,\s]+", block.value)
        ):
            return False
        if block.mark == "file":
            Path(block.value).write_text(block.text, encoding="utf-8")
        elif block.mark == "output":
            self.compare(block)
        elif block.mark != "not run":
            self.output = getattr(self, f"run_{block.language}")(block)
        return True

    def run_python(self, block):
        # Empty lines before it give the code the line numbers of the page.
        code = compile("\n" * (block.line - 1) + block.text, self.path, "exec")
        with contextlib.redirect_stdout(io.StringIO()) as stdout:
            exec(code, self.module.__dict__)
        return stdout.getvalue()

    def run_pycon(self, block):
        name = f"{self.path}:{block.line}"
        test = doctest.DocTestParser().get_doctest(
            block.text, self.module.__dict__, name, self.path, block.line - 1
        )
        test.globs = self.module.__dict__  # not a copy, for the blocks below
        report = io.StringIO()
        runner = doctest.DocTestRunner(verbose=False, optionflags=OPTIONS)
        runner.run(test, out=report.write, clear_globs=False)
        if runner.failures:
            raise AssertionError(report.getvalue())
        return ""

    def run_sh(self, block):
        environment = {**os.environ, "PATH": f"{self.commands}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text], env=environment, text=True,
            capture_output=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(
                f"exit code {done.returncode} of\n{block.text}\n{done.stdout}\n{done.stderr}"
            )
        return done.stdout

    def compare(self, block):
        checker = doctest.OutputChecker()
        if not checker.check_output(block.text, self.output, OPTIONS):
            example = doctest.Example("", block.text)
            raise AssertionError(checker.output_difference(example, self.output, OPTIONS))


def is_missing_package(error):
    """Return whether an import failed for want of a package: Python's error, or that of cmlp."""
    return isinstance(error, ModuleNotFoundError) or (
        isinstance(error, ImportError) and "install it with" in str(error)
    )


def make_commands(directory):
    """Write `python` and, if it is not installed, `cmlp` into a directory; return search paths."""
    python = sys.executable
    for name, command in {"python": python, "cmlp": f"{python} -m cmlp"}.items():
        if not (Path(python).parent / name).exists():
            script = Path(directory, name)
            script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            script.chmod(0o755)
    return f"{directory}{os.pathsep}{Path(python).parent}"


def run_page(path, directory=None):
    """Run the blocks of a page; return the exit code."""
    path = Path(path).resolve()
    blocks = parse_blocks(path.read_text(encoding="utf-8"))
    left_out = False
    with tempfile.TemporaryDirectory() as temporary:
        page = Page(str(path), make_commands(temporary))
        with contextlib.chdir(directory or temporary):
            for block in blocks:
                start = time.perf_counter()
                try:
                    left_out |= not page.run(block)
                except BaseException as error:
                    if is_missing_package(error):
                        print(f"{path}:{block.line}: {error}; the rest of the page is left out")
                        return LEFT_OUT
                    traceback.print_exc()
                    print(f"{path}:{block.line}: this block failed", file=sys.stderr)
                    return 1
                seconds = time.perf_counter() - start
                if seconds > 1:
                    print(f"{path.name}:{block.line}: {seconds:.1f} s")
    return LEFT_OUT if left_out else 0


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    warnings.simplefilter("error")
    # Those that Python hides, which concern the authors of other packages.
    for category in (DeprecationWarning, PendingDeprecationWarning):
        warnings.simplefilter("ignore", category)
        warnings.filterwarnings("error", category=category, module=r"(__main__|cmlp)\b")
    warnings.filterwarnings("ignore", module=r"mlflow\b")  # of its own code
    # Jupyter or a window would show the figures.
    warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
    sys.path[0] = ""
    sys.exit(run_page(*sys.argv[1:]))
