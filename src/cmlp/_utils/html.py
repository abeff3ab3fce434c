"""HTML for notebooks: tables in a box that can be collapsed, in the style of scikit-learn's.

Text has the color of the page, and backgrounds are translucent, so that the tables can be read on
light and on dark pages.
"""

from html import escape

# Number of epochs of a history that its table shows.
SHOWN_EPOCHS = 10

# Number of items of a list, such as names of columns, that a text shows.
SHOWN_ITEMS = 20

STYLE = """<style>
.cmlp-box {display: inline-block; max-width: 100%; overflow-x: auto; font-family: monospace;
  border: 1px dotted gray; border-radius: .25em; margin: .2em 0}
.cmlp-box summary {cursor: pointer; padding: .4em .8em}
.cmlp-box > details > summary {background: rgba(210, 120, 40, .16)}
.cmlp-fitted > details > summary {background: rgba(90, 150, 240, .2)}
.cmlp-box summary b {font-size: 1.1em}
.cmlp-box details details {border-top: 1px dotted gray}
.cmlp-box table {border-collapse: collapse; border: none; margin: 0 .4em; color: inherit;
  font-size: inherit; background: none}
.cmlp-box :is(th, td) {text-align: left; padding: .2em .6em; border: none; background: none;
  color: inherit; vertical-align: top; white-space: nowrap}
.cmlp-box :is(th, td).cmlp-number {text-align: right; font-variant-numeric: tabular-nums}
.cmlp-box td.cmlp-text {white-space: normal; max-width: 60em; overflow-wrap: anywhere}
.cmlp-box thead th {border-bottom: 1px solid gray}
.cmlp-box tbody tr:nth-child(odd) td {background: rgba(128, 128, 128, .1)}
.cmlp-box p {margin: .4em 1em}
</style>"""


def render_cell(tag, text, is_number):
    """Return a cell of a table; the text is escaped."""
    kind = ' class="cmlp-number"' if is_number else ""
    return f"<{tag}{kind}>{escape(str(text))}</{tag}>"


def render_table(columns, rows, numeric):
    """Return a table.

    Parameters
    ----------
    columns : sequence of str
    rows : sequence of sequences of str
    numeric : set of str
        The columns whose text is aligned on the right.
    """
    head = "".join(render_cell("th", name, name in numeric) for name in columns)
    body = "".join(
        "<tr>" + "".join(
            render_cell("td", text, name in numeric)
            for name, text in zip(columns, row, strict=True)
        ) + "</tr>"
        for row in rows
    )  # fmt: skip
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def render_values(values):
    """Return a table without a header, of the items of a dict."""
    rows = "".join(
        f"<tr><td>{escape(str(name))}</td><td class='cmlp-text'>{escape(str(value))}</td></tr>"
        for name, value in values.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def render_details(title, text, body, is_open):
    """Return a title that shows and hides its body; title and text are escaped."""
    opened = " open" if is_open else ""
    heading = f"<b>{escape(title)}</b> {escape(text)}".strip()
    return f"<details{opened}><summary>{heading}</summary>{body}</details>"


def render_box(details, is_fitted):
    """Return the box around HTML, whose hue is that of scikit-learn's estimators."""
    kind = "cmlp-box cmlp-fitted" if is_fitted else "cmlp-box"
    return f'{STYLE}<div class="{kind}">{details}</div>'


def format_number(value):
    """Return a value of a record as text, a list with its first items."""
    if isinstance(value, list):
        more = f", ... ({len(value)})" if len(value) > SHOWN_ITEMS else ""
        return ", ".join(map(str, value[:SHOWN_ITEMS])) + more
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def render_history(epochs):
    """Return the table of the last epochs of a history.

    Parameters
    ----------
    epochs : list of dict from str to float
    """
    names = list(epochs[0]) if epochs else []
    first = max(0, len(epochs) - SHOWN_EPOCHS)
    rows = [
        [first + i + 1, *(format_number(record.get(name, "")) for name in names)]
        for i, record in enumerate(epochs[first:])
    ]
    columns = ["epoch", *names]
    text = f"{len(epochs)} epochs" + (f", the last {SHOWN_EPOCHS}" if first else "")
    table = render_table(columns, rows, set(columns))
    return render_box(render_details("History", text, table, True), bool(epochs))
