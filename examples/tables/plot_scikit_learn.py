"""
Pipelines and searches of scikit-learn
======================================

The estimators of `cmlp.sklearn` replace ``MLPClassifier`` and ``MLPRegressor`` of
scikit-learn: one import changes, the numbers remain, and training takes a fraction of
the time. This example trains both in the same pipeline, and then searches learning
rate, layers and dropout of a network by scikit-learn's tools.
"""

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
import sklearn.neural_network
from scipy.stats import loguniform
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import RandomizedSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cmlp.sklearn
from cmlp import Adam

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)
warnings.simplefilter("ignore", ConvergenceWarning)  # 25 epochs are few

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, random_state=0)

# %%
# The same numbers in less time
# -----------------------------
# Both estimators have the same arguments and, with the same seed, the same initial
# weights, order of samples and loss in each epoch.

losses = {}
for package in [sklearn.neural_network, cmlp.sklearn]:
    model = make_pipeline(
        StandardScaler(),
        package.MLPClassifier(128, max_iter=25, batch_size=32, random_state=0),
    )
    start = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - start
    name = package.__name__.split(".")[0]
    losses[name] = seconds, np.array(model[-1].loss_curve_)
    print(f"{name:7}: {seconds:.2f} s, test accuracy {model.score(X_test, y_test):.4f}")
ratio = losses["sklearn"][0] / losses["cmlp"][0]
difference = np.max(np.abs(losses["sklearn"][1] / losses["cmlp"][1] - 1))
print(
    f"scikit-learn took {ratio:.1f} times as long; "
    f"the losses differ by at most {difference:.0e}"
)

figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for (name, (seconds, curve)), style in zip(losses.items(), ["s-", "o-"], strict=True):
    times = np.linspace(0, seconds, len(curve) + 1)[1:]
    color = "C2" if name == "sklearn" else "C0"
    ax.plot(times, curve, style, markersize=4, color=color, label=name)
ax.set(
    xlabel="seconds of training",
    ylabel="training loss",
    yscale="log",
    title="25 epochs of the same computation",
)
ax.legend()

# %%
# A search
# --------
# Arguments of cmlp's optimizers and schedules are searched by their names.
# ``dtype="float32"`` trains twice as fast.

model = make_pipeline(
    StandardScaler(),
    cmlp.sklearn.MLPClassifier(
        activation="gelu",
        optimizer=Adam(),
        schedule="cosine",
        max_iter=20,
        batch_size=64,
        dtype="float32",
        random_state=0,
    ),
)
search = RandomizedSearchCV(
    model,
    {
        "mlpclassifier__optimizer__lr": loguniform(1e-4, 1e-1),
        "mlpclassifier__hidden_layer_sizes": [(32,), (128,), (128, 64)],
        "mlpclassifier__dropout": [0.0, 0.2, 0.5],
    },
    n_iter=24,
    cv=3,
    random_state=0,
)
start = time.perf_counter()
search.fit(X, y)
print(f"72 fits in {time.perf_counter() - start:.1f} s")
print(f"best: {search.best_params_}")
print(
    f"accuracy in cross-validation {search.best_score_:.4f}, "
    f"in test {search.score(X_test, y_test):.4f}"
)

# sphinx_gallery_thumbnail_number = 2
results = search.cv_results_
figure, ax = plt.subplots(figsize=(8, 4.8), layout="constrained")
rates = results["param_mlpclassifier__optimizer__lr"].astype(float)
for sizes, marker in [((32,), "o"), ((128,), "s"), ((128, 64), "^")]:
    chosen = [
        each == sizes for each in results["param_mlpclassifier__hidden_layer_sizes"]
    ]
    points = ax.scatter(
        rates[chosen],
        results["mean_test_score"][chosen],
        c=results["param_mlpclassifier__dropout"].astype(float)[chosen],
        marker=marker,
        s=70,
        cmap="viridis",
        vmin=0,
        vmax=0.5,
        edgecolors="black",
        linewidths=0.5,
        label="-".join(map(str, sizes)),
    )
figure.colorbar(points, ticks=[0, 0.2, 0.5], label="dropout")
ax.scatter(
    rates[search.best_index_],
    search.best_score_,
    s=260,
    facecolors="none",
    edgecolors="C2",
    linewidths=2,
    label="best",
)
ax.set(
    xscale="log",
    xlabel="learning rate",
    ylabel="accuracy in cross-validation",
    title="24 candidates, three folds each",
)
ax.legend(title="hidden layers", loc="lower center")
plt.show()
