"""Links whose text is the name of a file, as it suits GitHub, show the title of the page."""

import re

# [quantization.md](quantization.md), also with a directory and a heading
FILE_LINK = re.compile(r"\[[\w./-]+\.md\]\(([\w./-]+\.md(?:#[\w-]+)?)\)")


def use_titles(app, docname, source):
    """Remove the text of these links; MyST fills in the title."""
    source[0] = FILE_LINK.sub(r"[](\1)", source[0])


def setup(app):
    """Connect the function to the event of a page that has been read."""
    app.connect("source-read", use_titles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
