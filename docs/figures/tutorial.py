"""Run the blocks of docs/tutorial.md, and write its pictures and the outputs that it shows."""

import contextlib
import io
import os
import re
import shutil
import tempfile
from pathlib import Path

from common import IMAGES

PAGE = IMAGES.parent / "tutorial.md"
BLOCK = re.compile(
    r"```python\n(?P<code>.*?)```(?P<shown>\n\n<!-- not run: the output of the block above -->"
    r"\n```text\n.*?```)?",
    re.DOTALL,
)


def main():
    """Execute the blocks in a new directory."""
    names = {"__name__": "__main__"}

    def run(match):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(match["code"], names)
        if match["shown"] is None:
            return match[0]
        lines = [line.rstrip() for line in output.getvalue().strip().splitlines()]
        head, _, _ = match[0].rpartition("```text\n")
        return head + "\n".join(["```text", *lines, "```"])

    text = PAGE.read_text(encoding="utf-8")
    start = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        text = BLOCK.sub(run, text)
        for path in sorted(Path().glob("tutorial_*.png")):
            shutil.copy(path, IMAGES / path.name)
            print(f"{path.name}: {path.stat().st_size:,} bytes")
        os.chdir(start)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
