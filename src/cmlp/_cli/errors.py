"""The error of a command that cannot be executed as given."""

from cmlp._utils.validation import find_similar

# Names, and classes, that a message lists before it ends with the number of the others.
MOST_NAMES, MOST_CLASSES = 30, 5

# Least ratio of `difflib` of a suggestion: that of "kind" and "id", 0.67, is none.
SIMILARITY = 0.7


class CommandError(Exception):
    """Raised if a command cannot be executed as given; `cli.main` prints the message."""


def list_names(names, most=MOST_NAMES):
    """Return names separated by commas, at most `most` of them."""
    names = list(map(str, names))
    shown = ", ".join(names[:most])
    more = len(names) - most
    return f"{shown} and {more} others" if more > 0 else shown


def count_nouns(count, noun):
    """Return a number with a noun, in the plural unless the number is 1."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def suggest(name, names):
    """Return the end of a message that suggests the most similar of some names, or nothing."""
    near = find_similar(name, names, SIMILARITY)
    return f" (did you mean {near!r}?)" if near else ""
