"""
Learning curves and early stopping
==================================

The loss of the training data keeps falling. The loss of other data falls at first, and
then rises as the network learns the noise of its training samples. This example
provokes that, stops at the best epoch, and compares two remedies: dropout and weight
decay.
"""

import matplotlib.pyplot as plt
import numpy as np

from cmlp import AdamW, Network, datasets, plot
from cmlp.callbacks import EarlyStopping

plt.style.use("seaborn-v0_8-colorblind")

# %%
# A problem that invites overfitting
# ----------------------------------
# 1,500 digits; 15% of them have a random label. The validation data have no wrong
# labels.

X, y = datasets.make_digits(1_500, seed=0)
X_validation, y_validation = datasets.make_digits(3_000, seed=1)
X_test, y_test = datasets.make_digits(3_000, seed=2)
rng = np.random.default_rng(0)
is_wrong = rng.random(len(y)) < 0.15
y = np.where(is_wrong, rng.integers(10, size=len(y)), y)

# %%
# Without stopping
# ----------------
# ``fit`` returns a history with a list for each quantity. `cmlp.plot.learning_curve`
# draws it and marks the best epoch of the validation data.


def train(epochs=60, early_stopping=None, dropout=0.0, weight_decay=0.0):
    """Return a trained network and its history."""
    net = Network(
        [784, 128, 10], activation="relu", loss="cross_entropy", dropout=dropout, seed=0
    )
    history = net.fit(
        X,
        y,
        epochs=epochs,
        batch_size=32,
        optimizer=AdamW(1e-3, weight_decay=weight_decay),
        validation_data=(X_validation, y_validation),
        metrics="accuracy",
        early_stopping=early_stopping,
    )
    return net, history


net, history = train()
best = int(np.argmin(history["val_loss"]))
print(f"best epoch {best + 1}: validation loss {history['val_loss'][best]:.3f}")
print(
    f"last epoch {len(history['loss'])}: validation loss {history['val_loss'][-1]:.3f}"
)
print(f"test accuracy {net.score(X_test, y_test):.4f}")

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
plot.learning_curve(history, "loss", ax=axes[0])
plot.learning_curve(history, "accuracy", ax=axes[1])
axes[0].set_title("loss: the training data are memorized")
axes[1].set_title("accuracy: wrong labels are learned last")

# %%
# With early stopping
# -------------------
# ``early_stopping=8`` ends training after 8 epochs without a lower validation loss and
# restores the parameters of the best epoch. `~cmlp.callbacks.EarlyStopping` has further
# options, and monitors other quantities.

net, stopped = train(early_stopping=8)
print(f"{len(stopped['loss'])} epochs, test accuracy {net.score(X_test, y_test):.4f}")

monitor = EarlyStopping("val_accuracy", patience=8)
net, _ = train(early_stopping=monitor)
print(
    f"by accuracy: best epoch {monitor.best_epoch + 1}, test accuracy "
    f"{net.score(X_test, y_test):.4f}"
)

# %%
# Dropout and weight decay
# ------------------------
# Both keep the network from memorizing samples. Training then stops later, at a lower
# loss. The validation losses of several runs fit into one picture.

runs = {"early stopping only": stopped}
for name, options in {
    "dropout 0.5": {"dropout": 0.5},
    "weight decay 0.5": {"weight_decay": 0.5},
}.items():
    net, runs[name] = train(early_stopping=8, **options)
    print(
        f"{name:17}: {len(runs[name]['loss'])} epochs, "
        f"test accuracy {net.score(X_test, y_test):.4f}"
    )

ax = plot.learning_curve(list(runs.values()), "val_loss", labels=list(runs))
ax.set_title("validation loss until early stopping")
plt.show()

# sphinx_gallery_thumbnail_number = 2
