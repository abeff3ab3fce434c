"""
Confusion, calibration and confident mistakes
=============================================

A classifier's accuracy does not say which classes it confuses, nor whether its
probabilities can be trusted. This example draws a confusion matrix, a reliability
diagram and the worst mistakes with `cmlp.plot`, and compares three ways to train that
differ little in accuracy and much in calibration.
"""

import matplotlib.pyplot as plt
import numpy as np

from cmlp import Adam, Network, datasets, fit_many, losses, plot

X, y = datasets.make_digits(3_000, seed=0)
X_test, y_test = datasets.make_digits(5_000, seed=1)

# %%
# Three networks
# --------------
# The first is trained for 60 epochs, long after it has learned its training data. The
# second is trained with label smoothing: the target of the right class is 0.9, and the
# rest is spread over all classes. The third stops after a few epochs.

options = {"activation": "relu", "seed": 0}
nets = {
    "trained to the end": Network([784, 128, 10], loss="cross_entropy", **options),
    "label smoothing": Network(
        [784, 128, 10], loss=losses.cross_entropy(0.1), **options
    ),
}
fit_many(list(nets.values()), X, y, epochs=60, batch_size=32, optimizer=Adam(2e-3))
nets["stopped early"] = Network([784, 128, 10], loss="cross_entropy", **options)
nets["stopped early"].fit(X, y, epochs=8, batch_size=32, optimizer=Adam(2e-3))

for name, net in nets.items():
    confidence = net.predict_proba(X_test).max(axis=1).mean()
    print(
        f"{name:18}  accuracy {net.score(X_test, y_test):.4f}  "
        f"mean confidence {confidence:.4f}"
    )

# %%
# Calibration
# -----------
# On the diagonal, predictions of confidence 0.8 are right in 80% of the cases. Below
# it, a network is too confident, above it too cautious. The legend states the expected
# calibration error (ECE).

figure, axes = plt.subplots(1, 3, figsize=(10, 4.8), layout="constrained")
for ax, (name, net) in zip(axes, nets.items(), strict=True):
    plot.calibration_curve(net, X_test, y_test, label="network", ax=ax)
    ax.set_title(name)

# %%
# Confusion
# ---------
# Rows are true digits, columns predicted ones. Normalized by rows, the diagonal shows
# the recall of each digit.

net = nets["stopped early"]
figure, ax = plt.subplots(figsize=(6.5, 5.5), layout="constrained")
plot.confusion_matrix(net, X_test, y_test, normalize="true", ax=ax)
ax.set_title("fraction of the samples of each digit")

# sphinx_gallery_thumbnail_number = 2

predicted = net.predict(X_test)
pairs = np.zeros((10, 10), int)
np.add.at(pairs, (y_test, predicted), 1)
np.fill_diagonal(pairs, 0)
for index in np.argsort(-pairs, axis=None)[:3]:
    true, label = divmod(int(index), 10)
    print(f"{pairs[true, label]} images of a {true} are taken for a {label}")

# %%
# Confident mistakes
# ------------------
# Wrong predictions with the highest probabilities show what to do next: collect such
# samples, check their labels, or augment the training data.

figure, axes = plt.subplots(2, 6, figsize=(10, 4.8), layout="constrained")
plot.confident_mistakes(net, X_test, y_test, n=12, axes=axes)
figure.suptitle("the most confident mistakes")
plt.show()
