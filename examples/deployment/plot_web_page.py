"""
A network in a web page
=======================

`net.to_html <cmlp.Network.to_html>` writes a network as one HTML file that runs it in
JavaScript: it needs no server, no toolchain and no network access. Draw a digit on the
page below; it shows the probabilities and the outputs of the hidden layers while you
draw. :doc:`/web` has the details.
"""

import html
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler

from cmlp import Adam, Network, datasets

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)

# %%
# A network
# ---------
# Noise and dropout in training help with pens that the training data do not have.

X, y = datasets.make_digits(20_000, seed=0)
X_test, y_test = datasets.make_digits(2_000, seed=1)
net = Network(
    [784, 64, 32, 10],
    activation="relu",
    loss="cross_entropy",
    input_noise=0.1,
    dropout=0.1,
    seed=0,
)
net.fit(X, y, epochs=15, batch_size=64, optimizer=Adam(2e-3), schedule="cosine")
print(f"test accuracy {net.score(X_test, y_test):.4f}")

# %%
# The page
# --------
# The weights are in the file, as 8-bit integers here.

directory = tempfile.TemporaryDirectory()
path = Path(directory.name) / "digits.html"
net.to_html(path, kind="image", shape=(28, 28), title="Digits", weights="int8")
print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


class Page:
    """A web page in a frame, which notebooks and this site show."""

    def __init__(self, path, height):
        self.text = Path(path).read_text(encoding="utf-8")
        self.height = height

    def _repr_html_(self):
        source = html.escape(self.text, quote=True)
        style = f"width: 100%; height: {self.height}px; border: 1px solid gray"
        return f'<iframe title="page" srcdoc="{source}" style="{style}"></iframe>'


Page(path, height=1350)

# %%
# The same in Python
# ------------------
# The page computes the same forward pass: the image, the outputs of the two hidden
# layers, and the probabilities, of a sure prediction and of the two least sure ones
# that are right.

confidence = np.where(
    net.predict(X_test) == y_test, net.predict_proba(X_test).max(axis=1), np.nan
)
shown = [np.nanargmax(confidence), *np.argsort(confidence)[:2]]
figure, axes = plt.subplots(
    3, 4, figsize=(9, 5), layout="constrained", width_ratios=(1, 1, 0.6, 2)
)
for row, index in zip(axes, shown, strict=True):
    image = X_test[index : index + 1]
    row[0].imshow(image[0], cmap="gray_r")
    row[1].imshow(net.transform(image, layer=0).reshape(8, 8), cmap="viridis")
    row[2].imshow(net.transform(image, layer=1).reshape(8, 4), cmap="viridis")
    probabilities = net.predict_proba(image)[0]
    row[3].bar(
        range(10),
        probabilities,
        color=np.where(probabilities == max(probabilities), "#0072B2", "#999999"),
    )
    row[3].set(ylim=(0, 1), xticks=range(10))
    for ax in row[:3]:
        ax.set(xticks=[], yticks=[])
for ax, title in zip(
    axes[0], ["image", "64 units", "32 units", "probabilities"], strict=True
):
    ax.set_title(title)
plt.show()

# %%
# Tables
# ------
# For a network of a few numbers, ``kind="table"`` makes a page of sliders.
# `net.fold_scaler <cmlp.Network.fold_scaler>` folds a scaler into the first layer, so
# that the page takes centimeters.

iris = load_iris()
scaler = StandardScaler().fit(iris.data)
flowers = Network([4, 16, 3], activation="tanh", loss="cross_entropy", seed=0)
flowers.fit(scaler.transform(iris.data), iris.target, epochs=100, optimizer=Adam(3e-3))
flowers = flowers.fold_scaler(scaler)
print(f"accuracy {flowers.score(iris.data, iris.target):.3f}")

path = Path(directory.name) / "iris.html"
names = [name.replace(" (cm)", "") for name in iris.feature_names]
flowers.to_html(
    path,
    kind="table",
    names=names,
    labels=iris.target_names.tolist(),
    ranges=list(zip(iris.data.min(axis=0), iris.data.max(axis=0), strict=True)),
    values=iris.data.mean(axis=0).round(1),
    title="Iris",
)
Page(path, height=900)
