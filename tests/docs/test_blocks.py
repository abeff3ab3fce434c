"""The code blocks of README.md, CONTRIBUTING.md and docs: each runs, or is marked with a reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import LEFT_OUT, Block, parse_blocks

import cmlp

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("blocks.py")
PAGES = [
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    if not {"_build", "auto_examples", "generated"} & set(path.parts)
]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
MOST_SECONDS = 900  # a machine may be busy


def run(page, directory):
    paths = [str(Path(cmlp.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(page), str(directory)], env=environment, text=True,
        capture_output=True, check=False, timeout=MOST_SECONDS,
    )  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_runs_or_is_marked(page):
    problems = [
        f"{page.name}:{block.line}: {problem}"
        for block in parse_blocks(page.read_text(encoding="utf-8"))
        if (problem := block.describe_problem())
    ]
    assert not problems


@pytest.mark.documentation
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if parse_blocks(page.read_text(encoding="utf-8"))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_blocks_run(page, tmp_path):
    done = run(page, tmp_path)
    if done.returncode == LEFT_OUT:
        pytest.skip(f"a package is missing: {done.stdout}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_commands_of_the_readme_are_run_by_ci():
    """Blocks of the README that are marked as run by .ci/run are found by it."""
    blocks = parse_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    commands = [block.text for block in blocks if "by .ci/run" in block.value]
    assert len(commands) == 2
    assert any("cmlp train" in command for command in commands)
    assert any("pytest" in command for command in commands)
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)


PAGE = """\
```python
x = 1
```

<!-- output -->
```
```

1. In a list:

   ```python
   print(x + 1)
   ```

   <!-- output -->
   ```text
   2
   ```

<!-- file: a.txt -->
```text
three
```

```sh
cat a.txt; echo four > b.txt
```

<!-- output -->
```text
th...
```

````{tab-set}
```pycon
>>> open("b.txt").read()
'four\\n'
```
````

<!-- not run: the reason -->
```sh
exit 1
```
"""


def test_blocks_share_names_and_files(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    done = run(page, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "b.txt").read_text() == "four\n"
    assert [block.line for block in parse_blocks(PAGE)] == [2, 7, 12, 17, 22, 26, 31, 36, 43]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```python\n\nraise KeyError('x')\n```\n", 'page.md", line 3, in <module>'),
        ("```python\nimport warnings\nwarnings.warn('old')\n```\n", "UserWarning: old"),
        ("```sh\nfalse | true\n```\n", "page.md:2: this block failed"),
        ("```pycon\n>>> 1 + 1\n3\n```\n", "Expected:\n    3"),
        ("```python\nprint(1)\n```\n<!-- output -->\n```\n2\n```\n", "page.md:6"),
    ],
)
def test_a_block_that_fails_is_reported_with_its_line(text, message, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    done = run(page, tmp_path)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "```python\nimport no_such_package\n```\n```sh\nfalse\n```\n",
        "```python\nraise ImportError(\"f() requires x; install it with: pip install 'y'\")\n```\n",
        "<!-- requires: sys, no_such_package -->\n```sh\nfalse\n```\n",
    ],
)
def test_a_package_that_is_missing_is_reported(text, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    assert run(page, tmp_path).returncode == LEFT_OUT


def test_other_blocks_need_a_comment():
    assert Block("c", "int x;", 1).describe_problem()
    assert Block("c", "int x;", 1, "not run", "").describe_problem()
    assert Block("c", "int x;", 1, "requires", "numpy").describe_problem()
    assert Block("c", "int x;", 1, "file", "x.c").describe_problem() is None
    with pytest.raises(ValueError, match=r"line 2: .* not \{code-block\}"):
        parse_blocks("```{code-block} python\nx\n```\n")
