"""
Nine optimizers on one problem
==============================

cmlp has eight stochastic optimizers with PyTorch's definitions, and L-BFGS. This
example trains the same network with each of them, at eight learning rates, and draws
how fast the loss falls and how much the learning rate matters.
"""

import matplotlib.pyplot as plt
import numpy as np

from cmlp import (
    LBFGS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Lion,
    NAdam,
    Network,
    RMSprop,
    datasets,
    fit_many,
)

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)

X, y = datasets.make_digits(2_000, seed=0)
validation = datasets.make_digits(2_000, seed=1)

# %%
# 64 networks
# -----------
# `~cmlp.fit_many` trains them on all cores and prepares the data once; here each has an
# optimizer of its own. All begin with the same parameters and see the samples in the
# same order.

optimizers = {
    "SGD": SGD,
    "SGD, momentum 0.9": lambda lr: SGD(lr, momentum=0.9),
    "Adagrad": Adagrad,
    "Adadelta": Adadelta,
    "RMSprop": RMSprop,
    "Adam": Adam,
    "NAdam": NAdam,
    "Lion": Lion,
}
rates = 10.0 ** np.linspace(-4, 0.5, 8)
runs = [(name, lr) for name in optimizers for lr in rates]
start = Network([784, 24, 10], activation="tanh", loss="cross_entropy", seed=0)
results = fit_many(
    [start.copy() for _ in runs],
    X,
    y,
    epochs=15,
    batch_size=32,
    optimizer=[optimizers[name](lr) for name, lr in runs],
    validation_data=validation,
)

# %%
# L-BFGS uses all samples in each iteration and has no learning rate; one iteration
# costs about one pass over the data, so that its iterations compare with epochs.

full_batch = start.copy().fit(
    X, y, epochs=15, optimizer=LBFGS(), validation_data=validation
)

# %%
# The picture
# -----------
# Left: the training loss of each optimizer at the learning rate that is best for it.
# Right: the validation accuracy after 15 epochs, for all rates. The markers are the
# default rates.

best = {}
accuracy = {name: np.full(len(rates), np.nan) for name in optimizers}
for (name, lr), result in zip(runs, results, strict=True):
    accuracy[name][list(rates).index(lr)] = result["val_accuracy"][-1]
    if (
        name not in best
        or result["val_accuracy"][-1] > best[name][1]["val_accuracy"][-1]
    ):
        best[name] = lr, result

colors = ["C0", "C0", "C1", "C1", "C2", "C2", "C3", "C3"]
dashes = ["-", "--"] * 4
figure, axes = plt.subplots(1, 2, figsize=(9.5, 6), layout="constrained")
epochs = np.arange(1, 16)
for name, color, dash in zip(optimizers, colors, dashes, strict=True):
    lr, history = best[name]
    label = f"{name}, {lr:.0e}"
    axes[0].plot(epochs, history["loss"], dash, color=color, label=label)
    axes[1].plot(rates, accuracy[name], dash, color=color, label=name)
    default = optimizers[name]().lr if name != "SGD, momentum 0.9" else 0.1
    axes[1].plot(
        default,
        np.interp(np.log(default), np.log(rates), accuracy[name]),
        "o",
        color=color,
    )
axes[0].plot(epochs, full_batch["loss"], ":", color="black", label="L-BFGS, iterations")
axes[0].set(
    xlabel="epoch",
    ylabel="training loss",
    yscale="log",
    title="at the best learning rate",
)
axes[1].set(
    xlabel="learning rate",
    ylabel="validation accuracy",
    xscale="log",
    ylim=(0.5, 1),
    title="after 15 epochs",
)
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)

for name, (lr, history) in best.items():
    print(
        f"{name:18} lr {lr:.0e}  validation accuracy {history['val_accuracy'][-1]:.4f}"
    )
print(
    f"{'L-BFGS':18}           validation accuracy {full_batch['val_accuracy'][-1]:.4f}"
)
plt.show()
