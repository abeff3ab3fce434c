"""Handwritten-looking digits, drawn: pen strokes along jittered skeletons.

A digit's skeleton is a few strokes through control points. Each sample moves the
points, slants, stretches, turns and shifts the whole, draws the curve with a pen of
its own width and blurs the ink.
"""

import functools

import numpy as np

from cmlp.checks import check_whole

SIDE = 28
POINTS = 72  # of ink along a digit's strokes
CHUNK = 4096

# Strokes as control points (x, y) in the unit square, y downwards; variants are
# separate ways to write the digit. A closed stroke repeats its first point.
SKELETONS = {
    0: [
        [[(0.5, 0), (0.15, 0.2), (0.1, 0.6), (0.35, 1), (0.7, 0.95), (0.9, 0.5), (0.8, 0.12), (0.5, 0)]],
        [[(0.6, 0.02), (0.2, 0.15), (0.05, 0.55), (0.3, 0.98), (0.75, 0.9), (0.95, 0.45), (0.7, 0.05), (0.45, 0.08)]],
    ],
    1: [
        [[(0.5, 0), (0.5, 0.35), (0.5, 0.7), (0.5, 1)]],
        [[(0.3, 0.22), (0.45, 0.1), (0.55, 0), (0.55, 0.5), (0.55, 1)]],
        [[(0.3, 0.2), (0.55, 0), (0.55, 0.5), (0.55, 1)], [(0.25, 1), (0.55, 1), (0.85, 1)]],
    ],
    2: [
        [[(0.12, 0.25), (0.3, 0.02), (0.7, 0.02), (0.85, 0.28), (0.6, 0.6), (0.15, 0.97), (0.5, 0.96), (0.92, 0.95)]],
        [[(0.15, 0.2), (0.45, 0), (0.8, 0.15), (0.75, 0.45), (0.4, 0.8), (0.12, 0.9), (0.2, 0.72), (0.5, 0.85), (0.9, 0.95)]],
    ],
    3: [
        [[(0.15, 0.12), (0.45, 0), (0.8, 0.12), (0.78, 0.35), (0.42, 0.47), (0.82, 0.58), (0.88, 0.82), (0.5, 1), (0.12, 0.88)]],
        [[(0.12, 0.05), (0.5, 0.03), (0.85, 0.05), (0.6, 0.3), (0.42, 0.44), (0.8, 0.55), (0.85, 0.85), (0.5, 1), (0.1, 0.9)]],
    ],
    4: [
        [[(0.25, 0), (0.18, 0.3), (0.12, 0.58), (0.5, 0.58), (0.92, 0.55)], [(0.72, 0.1), (0.7, 0.5), (0.66, 1)]],
        [[(0.65, 0), (0.35, 0.35), (0.08, 0.65), (0.5, 0.66), (0.95, 0.64)], [(0.65, 0), (0.65, 0.5), (0.64, 1)]],
    ],
    5: [
        [[(0.85, 0.03), (0.5, 0.03), (0.22, 0.05), (0.2, 0.25), (0.18, 0.45), (0.55, 0.38), (0.88, 0.6), (0.75, 0.92), (0.4, 1), (0.1, 0.88)]],
        [[(0.25, 0.05), (0.22, 0.25), (0.2, 0.44), (0.6, 0.4), (0.85, 0.65), (0.6, 0.97), (0.15, 0.92)], [(0.25, 0.05), (0.55, 0.04), (0.88, 0)]],
    ],
    6: [
        [[(0.7, 0), (0.35, 0.25), (0.14, 0.6), (0.25, 0.93), (0.6, 0.98), (0.85, 0.75), (0.65, 0.5), (0.35, 0.56), (0.18, 0.78)]],
        [[(0.5, 0), (0.25, 0.35), (0.15, 0.75), (0.45, 1), (0.8, 0.85), (0.72, 0.58), (0.4, 0.55), (0.18, 0.72)]],
    ],
    7: [
        [[(0.1, 0.08), (0.5, 0.05), (0.9, 0.05), (0.65, 0.4), (0.48, 0.7), (0.38, 1)]],
        [[(0.1, 0.1), (0.5, 0.06), (0.88, 0.04), (0.62, 0.5), (0.42, 1)], [(0.3, 0.52), (0.55, 0.5), (0.8, 0.48)]],
        [[(0.1, 0.25), (0.12, 0.06), (0.5, 0.05), (0.9, 0.05), (0.7, 0.5), (0.55, 1)]],
    ],
    8: [
        [[(0.78, 0.12), (0.45, 0), (0.18, 0.18), (0.45, 0.45), (0.82, 0.72), (0.55, 1), (0.18, 0.8), (0.45, 0.48), (0.78, 0.22), (0.7, 0.06)]],
        [[(0.5, 0), (0.22, 0.2), (0.5, 0.45), (0.78, 0.2), (0.5, 0)], [(0.5, 0.45), (0.15, 0.75), (0.5, 1), (0.85, 0.75), (0.5, 0.45)]],
    ],
    9: [
        [[(0.82, 0.2), (0.5, 0), (0.18, 0.2), (0.3, 0.47), (0.65, 0.45), (0.82, 0.2), (0.8, 0.5), (0.72, 0.8), (0.62, 1)]],
        [[(0.8, 0.15), (0.45, 0.02), (0.2, 0.25), (0.4, 0.5), (0.78, 0.35), (0.82, 0.15), (0.8, 0.6), (0.6, 0.95), (0.25, 0.95)]],
    ],
}  # fmt: skip


def make_digits(n, seed=None):
    """Draw handwritten-looking digits.

    Parameters
    ----------
    n : int
        How many.
    seed : int, optional
        The same seed draws the same digits; None draws others each time.

    Returns
    -------
    images : ndarray of uint8, shape (n, 28, 28)
        Dark to bright, 0 to 255, as MNIST's.
    labels : ndarray of uint8, shape (n,)
    """
    n = check_whole("n", n, 0)
    if seed is not None:
        seed = check_whole("seed", seed, 0)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n).astype(np.uint8)
    images = np.empty((n, SIDE, SIDE), np.uint8)
    for start in range(0, n, CHUNK):
        part = labels[start : start + CHUNK]
        images[start : start + CHUNK] = ink(curves(part, rng), rng)
    return images, labels


def curves(labels, rng):
    """Return points of ink in pixels, shape (n, POINTS, 2), for each label."""
    points = np.empty((len(labels), POINTS, 2), np.float32)
    variant = rng.random(len(labels))
    for digit, skeletons in SKELETONS.items():
        which = (variant * len(skeletons)).astype(int)
        for v in range(len(skeletons)):
            chosen = np.flatnonzero((labels == digit) & (which == v))
            controls, basis = skeleton(digit, v)
            moved = controls + rng.normal(0, 0.06, (len(chosen), *controls.shape))
            points[chosen] = basis @ moved
    return transform(points - 0.5, rng)


def transform(points, rng):
    """Stretch, slant, turn and shift centred points of the unit square into pixels."""
    n = len(points)
    width, height = rng.normal(13, 2.2, n), rng.normal(18.5, 1.6, n)
    slant, angle = rng.normal(0.12, 0.22, n), rng.normal(0, 0.13, n)
    x = points[:, :, 0] * width[:, None] - points[:, :, 1] * (slant * height)[:, None]
    y = points[:, :, 1] * height[:, None]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    shift = rng.normal((SIDE - 1) / 2, 1.0, (n, 1, 2))
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=2) + shift


def ink(points, rng):
    """Draw points as pen strokes; returns images, uint8 (n, SIDE, SIDE)."""
    n = len(points)
    dots = splat(points)
    pen = rng.uniform(0.62, 1.15, n)
    spread = blur_matrices(pen)
    # A stroke's ink is a ridge; clipping its top gives the pen's flat middle.
    gray = spread @ dots @ spread.transpose(0, 2, 1)
    ridge = np.quantile(gray.reshape(n, -1), 0.96, axis=1)[:, None, None]
    gray = np.clip(gray / np.maximum(ridge, 1e-6) * 1.25 - 0.12, 0, 1)
    gray *= rng.uniform(0.8, 1, n)[:, None, None]
    return (gray * 255 + rng.normal(0, 6, gray.shape) * (gray > 0.02)).clip(0, 255).astype(np.uint8)


def splat(points):
    """Share each point among its four nearest pixels; what is off the paper is lost."""
    n = len(points)
    low = np.floor(points).astype(np.int64)
    part = (points - low).astype(np.float32)
    images = np.zeros(n * SIDE * SIDE, np.float32)
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = low[:, :, 0] + dx, low[:, :, 1] + dy
            weight = np.abs(1 - dx - part[:, :, 0]) * np.abs(1 - dy - part[:, :, 1])
            inside = (x >= 0) & (x < SIDE) & (y >= 0) & (y < SIDE)
            place = np.arange(n)[:, None] * SIDE**2 + y * SIDE + x
            images += np.bincount(place[inside], weight[inside], images.size)
    return images.reshape(n, SIDE, SIDE)


def blur_matrices(sigma):
    """Return Gaussian blurs along one axis, shape (n, SIDE, SIDE)."""
    distance = np.arange(SIDE)[:, None] - np.arange(SIDE)
    return np.exp(-0.5 * (distance / sigma[:, None, None]) ** 2).astype(np.float32)


@functools.cache
def skeleton(digit, variant):
    """Return a digit's control points (c, 2) and the matrix (POINTS, c) that draws them.

    The curve is a Catmull-Rom spline (Catmull and Rom, 1974) sampled evenly along its
    length; it is linear in the control points, so that one product draws many samples.
    """
    strokes = SKELETONS[digit][variant]
    controls = np.array([point for stroke in strokes for point in stroke])
    fine, first = [], 0
    for stroke in strokes:
        basis = np.zeros((200, len(controls)))
        basis[:, first : first + len(stroke)] = spline_basis(len(stroke), 200)
        fine.append(basis)
        first += len(stroke)
    fine = np.concatenate(fine)
    steps = np.linalg.norm(np.diff(fine @ controls, axis=0), axis=1)
    steps[199::200] = 0  # the pen is lifted between strokes
    along = np.concatenate([[0], np.cumsum(steps)])
    chosen = np.searchsorted(along, np.linspace(0, along[-1], POINTS)).clip(0, len(fine) - 1)
    return controls, fine[chosen].astype(np.float32)


def spline_basis(controls, samples):
    """Return the matrix (samples, controls) of a Catmull-Rom spline with doubled ends."""
    t = np.linspace(0, controls - 1, samples)
    i = np.minimum(t.astype(int), controls - 2)
    u = (t - i)[:, None]
    weights = np.hstack(
        [-u + 2 * u**2 - u**3, 2 - 5 * u**2 + 3 * u**3, u + 4 * u**2 - 3 * u**3, u**3 - u**2]
    ) / 2  # fmt: skip
    basis = np.zeros((samples, controls))
    for k in range(4):
        np.add.at(basis, (np.arange(samples), (i + k - 1).clip(0, controls - 1)), weights[:, k])
    return basis
