"""What the formats have in common: a JSON header, and how a file is refused."""

import json
import os

FORMAT, VERSION = "cmlp", 1


def header_text(header):
    """Return a header as JSON, with the format and its version."""
    return json.dumps({"format": FORMAT, "version": VERSION, **header}, default=plain)


def plain(value):
    """Return a number or an array of NumPy's as JSON can hold it."""
    if not hasattr(value, "tolist"):
        raise TypeError(f"a file can hold numbers and lists of them, got {value!r}")
    return value.tolist()


class HeaderReader:
    """Reads a file of a header and named arrays, within a `with`.

    Attributes
    ----------
    path : str
    header : dict
    unread : set of str
        The members that have not been read; at the end there must be none.
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        self.unread = set()

    def broken(self, reason):
        """Return the error that says why the file is refused."""
        return ValueError(f"{self.path} is not a network file: {reason}")

    def parsed(self, text):
        """Return the header, of a known format and version, by its JSON."""
        try:
            header = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.broken(f"its header is not JSON: {error}") from None
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise self.broken(f"its header does not say format {FORMAT!r}")
        if header.get("version") != VERSION:
            raise self.broken(f"its version is {header.get('version')!r}, known is {VERSION}")
        return header

    def __exit__(self, failed, *_):
        if not failed and self.unread:
            raise self.broken(f"it holds members that are unknown: {sorted(self.unread)}")

    def take(self, member, name):
        """Take note that a member is read; raises where there is none."""
        if member not in self.unread:
            raise self.broken(f"it has no array {name!r}")
        self.unread.discard(member)
