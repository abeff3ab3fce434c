"""
A table with categories and missing values
==========================================

`~cmlp.tabular.RealMLPRegressor` takes a table as it is: numbers, strings, booleans and
missing values. This example predicts the rents of flats, compares the result with
boosted trees, and inspects the network with scikit-learn's tools: how important is each
column, and how does the prediction depend on it?
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.model_selection import train_test_split

from cmlp import plot
from cmlp.tabular import RealMLPRegressor

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)

# %%
# The table
# ---------
# Rents per month follow a formula with noise. The street number is irrelevant; a tenth
# of the years and a fifth of the heatings are unknown.

rng = np.random.default_rng(0)
n = 2_000
districts = np.array(["center", "harbor", "hill", "north", "station", "west"])
factor = dict(zip(districts, [1.5, 1.25, 1.4, 0.85, 0.95, 1.1], strict=True))
table = pd.DataFrame(
    {
        "area": rng.gamma(9, 8, size=n) + 18,
        "year": rng.integers(1900, 2025, size=n).astype(float),
        "distance": rng.exponential(3.0, size=n),
        "district": rng.choice(districts, size=n),
        "heating": rng.choice(
            ["gas", "district", "heat pump"], size=n, p=[0.5, 0.3, 0.2]
        ),
        "balcony": rng.random(n) < 0.4,
        "number": rng.integers(1, 200, size=n),
    }
)
age = (
    np.abs(table["year"] - 1965) / 60
)  # old and new houses are dearer than those of 1965
rent = table["district"].map(factor) * (9 + 3 * age**1.5) * table["area"] ** 0.9
rent *= np.exp(-0.04 * table["distance"]) * (1 + 0.06 * table["balcony"])
rent += 60 * (table["heating"] == "heat pump")
rent *= rng.lognormal(0, 0.08, size=n)
table.loc[rng.random(n) < 0.1, "year"] = np.nan
table.loc[rng.random(n) < 0.2, "heating"] = None
table.head()

# %%
# Training
# --------
# The presets ``"default"`` and ``"best"`` are slower and more accurate than ``"fast"``.
# A fit holds out a fifth of its rows and keeps the parameters of the best epoch.

train, test, rent_train, rent_test = train_test_split(table, rent, random_state=0)
model = RealMLPRegressor("fast", random_state=0).fit(train, rent_train)
trees = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0)
categories = {"district": "category", "heating": "category"}
trees.fit(train.astype(categories), rent_train)
for name, prediction in [
    ("mean", np.full(len(test), rent_train.mean())),
    ("boosted trees", trees.predict(test.astype(categories))),
    ("RealMLP", model.predict(test)),
]:
    print(f"{name:14} RMSE {np.sqrt(np.mean((prediction - rent_test) ** 2)):6.1f}")

figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
plot.learning_curve(model, "mse", ax=axes[0])
plot.residuals(model, test, rent_test, ax=axes[1])
axes[0].set_title("training, and the rows held out")

# %%
# Which columns matter?
# ---------------------
# Permutation importance: by how much R² falls if the values of a column are shuffled.
# The street number does not matter, as it should be.

result = permutation_importance(model, test, rent_test, n_repeats=3, random_state=0)
order = np.argsort(result.importances_mean)
figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
ax.barh(
    table.columns[order],
    result.importances_mean[order],
    color="C0",
    xerr=result.importances_std[order],
    ecolor="black",
    capsize=3,
)
ax.set(xlabel="decrease of R² if the column is shuffled", xlim=(0, None))

# %%
# How do predictions depend on them?
# ----------------------------------
# Partial dependence: the mean prediction (thick), and the predictions of single flats
# (thin), if one column is set to a value. The network finds that flats of about 1965
# are the cheapest.

figure, axes = plt.subplots(2, 2, figsize=(9, 6.5), layout="constrained")
PartialDependenceDisplay.from_estimator(
    model,
    test.dropna().iloc[:60],
    ["area", "year", "distance", "district"],
    categorical_features=["district", "heating", "balcony"],
    kind=["both", "both", "both", "average"],
    grid_resolution=20,
    ax=axes,
    ice_lines_kw={"color": "C0", "alpha": 0.12},
    pd_line_kw={"color": "C2", "linewidth": 3, "linestyle": "-"},
)
for ax in figure.axes:
    if ax.get_legend():
        ax.get_legend().remove()
    ax.set(ylabel="", ylim=(0, 1400))
figure.supylabel("predicted rent")
plt.show()

# sphinx_gallery_thumbnail_number = 3
