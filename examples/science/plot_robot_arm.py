"""
Jacobians of a robot arm
========================

A network that has learned how a machine moves can also say how its motion changes with
its inputs: `net.jacobian <cmlp.Network.jacobian>` returns all derivatives of the
outputs with respect to the inputs, exact for the network, for many samples at once.
Here a network learns the forward kinematics of a planar arm with three joints. Its
Jacobian is compared with the analytic one, and then used in Newton steps that find the
joint angles for a given position of the hand: inverse kinematics.
"""

import matplotlib.pyplot as plt
import numpy as np

from cmlp import Adam, Network

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)

# %%
# The arm
# -------
# Three links; each joint angle is relative to the link before. The hand's position is a
# sum of cosines and sines of cumulated angles, and the columns of its Jacobian are
# partial sums.

LENGTHS = np.array([1.0, 0.8, 0.5])


def get_joints(angles):
    """Return the positions of shoulder, elbow, wrist and hand, shape (n, 4, 2)."""
    total = np.cumsum(angles, axis=1)
    links = LENGTHS[:, None] * np.stack([np.cos(total), np.sin(total)], axis=-1)
    return np.concatenate(
        [np.zeros((len(angles), 1, 2)), np.cumsum(links, axis=1)], axis=1
    )


def get_jacobian(angles):
    """Return the analytic Jacobian of the hand's position, shape (n, 2, 3)."""
    joints = get_joints(angles)
    lever = joints[:, 3:] - joints[:, :3]
    return np.stack([-lever[..., 1], lever[..., 0]], axis=1)


# %%
# Training
# --------
# The network learns positions only; it is never shown a derivative. tanh suits a smooth
# function, and float64 a fit with small errors.

rng = np.random.default_rng(0)
low, high = np.array([-0.5, 0.1, -1.5]), np.array([np.pi, 2.5, 1.5])
angles = rng.uniform(low, high, size=(20_000, 3))
hands = get_joints(angles)[:, 3]

net = Network([3, 64, 64, 2], activation="tanh", loss="mse", dtype="float64", seed=0)
net.fit(
    angles, hands, epochs=120, batch_size=64, optimizer=Adam(4e-3), schedule="cosine"
)

test = rng.uniform(low, high, size=(2_000, 3))
error = np.linalg.norm(net.predict(test) - get_joints(test)[:, 3], axis=1)
print(
    f"median error of the hand's position: {1000 * np.median(error):.2f} mm; "
    "length of the arm: 2.3 m"
)

# %%
# Derivatives
# -----------
# The six derivatives of 2,000 samples, against the analytic ones.

learned, exact = net.jacobian(test), get_jacobian(test)
relative = np.linalg.norm(learned - exact, axis=(1, 2)) / np.linalg.norm(
    exact, axis=(1, 2)
)
print(f"Jacobians {learned.shape}, median relative error {np.median(relative):.4f}")

figure, axes = plt.subplots(
    2, 3, figsize=(9, 6), layout="constrained", sharex=True, sharey=True
)
for row, (output, name) in zip(axes, enumerate("xy"), strict=True):
    for joint, ax in enumerate(row):
        ax.plot([-2.4, 2.4], [-2.4, 2.4], color="gray", linewidth=1)
        ax.scatter(
            exact[:, output, joint],
            learned[:, output, joint],
            s=3,
            color=f"C{output * 2}",
        )
        ax.set_title(rf"$\partial {name} / \partial \theta_{joint + 1}$")
        ax.set_aspect("equal")
figure.supxlabel("analytic derivative (m/rad)")
figure.supylabel("derivative of the network (m/rad)")

# %%
# Inverse kinematics by Newton steps
# ----------------------------------
# Which angles put the hand on a target? There are more angles than coordinates, so each
# step takes the shortest change that removes the error to first order, by the
# pseudoinverse of the Jacobian; a small damping keeps it short near singular positions.
# All targets, points on a circle, are solved at once.

turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
targets = np.stack([0.1 + 0.55 * np.cos(turn), 1.3 + 0.55 * np.sin(turn)], axis=1)
start = np.array([0.9, 1.2, 0.2])


def solve(predict, differentiate, steps=8):
    """Return the angles and the distances after each step."""
    found = np.tile(start, (len(targets), 1))
    distances = []
    for _ in range(steps):
        rest = targets - predict(found)
        distances.append(np.linalg.norm(targets - get_joints(found)[:, 3], axis=1))
        J = differentiate(found)
        Jt = J.transpose(0, 2, 1)
        found = (
            found
            + (Jt @ np.linalg.solve(J @ Jt + 1e-3 * np.eye(2), rest[..., None]))[..., 0]
        )
        found = found.clip(low, high)
    return found, np.array(distances)


found, by_network = solve(net.predict, net.jacobian)
_, by_formula = solve(lambda each: get_joints(each)[:, 3], get_jacobian)
print(
    f"distance after the last step: {1000 * np.median(by_network[-1]):.2f} mm (median)"
)

figure, ax = plt.subplots(figsize=(6.5, 5), layout="constrained")
colors = plt.get_cmap("viridis")(np.linspace(0, 0.9, 12))
for color, joints in zip(colors, get_joints(found)[::5], strict=True):
    ax.plot(
        *joints.T, "o-", color=color, linewidth=2, markersize=4, solid_capstyle="round"
    )
ax.plot(*np.vstack([targets, targets[:1]]).T, color="C2", linewidth=2, label="targets")
ax.plot(*get_joints(start[None])[0].T, "o--", color="gray", label="start")
ax.plot(0, 0, "ks", markersize=10)
ax.set(
    xlabel="x (m)",
    ylabel="y (m)",
    aspect="equal",
    xlim=(-1, 1.2),
    title="found by the network's Jacobians",
)
ax.legend(loc="lower left")

# %%
# Convergence
# -----------
# The network's steps converge as fast as steps with the formulas, until only the
# network's error remains.

figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
for distances, color, label in [
    (by_network, "C0", "network"),
    (by_formula, "C2", "formula"),
]:
    ax.plot(1000 * np.median(distances, axis=1), "o-", color=color, label=label)
ax.set(xlabel="Newton steps", ylabel="distance from the target (mm)", yscale="log")
ax.set(ylim=(1e-4, 3e3), title="median of 60 targets")
ax.legend()
plt.show()

# sphinx_gallery_thumbnail_number = 2
