"""Links that suit GitHub, changed for the site: names of files, and files outside of docs."""

import re

# [quantization.md](quantization.md), also with a directory and a heading
FILE_LINK = re.compile(r"\[[\w./-]+\.md\]\(([\w./-]+\.md(?:#[\w-]+)?)\)")

# The pages that include these files.
INCLUDED = {
    "../README.md#environment-variables": "environment.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../CHANGELOG.md": "changelog.md",
}


def change_links(app, docname, source):
    """Let links to included files refer to their pages; let the titles of pages replace names."""
    text = source[0]
    for target, page in INCLUDED.items():
        text = text.replace(f"({target})", f"({page})")
    source[0] = FILE_LINK.sub(r"[](\1)", text)


def setup(app):
    """Connect the function to the event of a page that has been read."""
    app.connect("source-read", change_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
