"""Code that all scripts of figures use: style, colors, and files that are the same on every run.

Each script of this directory draws one figure: ``python docs/figures/fusion.py`` writes
``docs/images/fusion.svg``.
"""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

# Okabe and Ito's palette, which color-blind readers can distinguish.
BLUE, ORANGE, GREEN, PINK, SKY, GRAY = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#999999",
)  # fmt: skip

IMAGES = Path(__file__).resolve().parents[1] / "images"

plt.rcParams.update(
    {
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": "medium",
        "figure.dpi": 100,
        "font.size": 10,
        "savefig.facecolor": "white",
        "svg.fonttype": "none",  # text remains text: small files that can be searched
        "svg.hashsalt": "cmlp",  # the same identifiers on every run
    }
)


def save(figure, name):
    """Write a figure to ``docs/images``, without the date.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        Ends in ``.svg``.
    """
    IMAGES.mkdir(exist_ok=True)
    path = IMAGES / name
    figure.savefig(path, metadata={"Date": None})
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")
    plt.close(figure)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def draw_box(ax, x, y, width, height, text="", *, color="white", size=9, text_color="black"):
    """Draw a rectangle with a text in its middle.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    x, y, width, height : float
        Lower left corner and size.
    text, color, size, text_color
        Of the text, and the color of the rectangle.
    """
    ax.add_patch(plt.Rectangle((x, y), width, height, facecolor=color, edgecolor="black", lw=0.7))
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", size=size,
            color=text_color)  # fmt: skip
