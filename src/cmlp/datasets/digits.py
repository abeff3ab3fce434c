"""Synthetic handwritten digits, drawn as pen strokes.

Each digit has one or more skeletons: a few strokes, given by control points. For each sample,
`make_digits`

1. moves the control points by random offsets and draws a spline through them,
2. stretches, slants, rotates and shifts the curve,
3. draws it with a pen of random width and intensity and adds pixel noise.
"""

import functools

import numpy as np

from cmlp._utils.validation import check_count, check_integer

SIDE = 28  # pixels per row and per column of an image
POINTS = 72  # points sampled along the strokes of one digit
SPLINE_SAMPLES = 200  # points per stroke from which the evenly spaced ones are chosen
CHUNK = 4096  # images drawn at a time; limits the memory for intermediate arrays

# Digit -> its skeletons (ways to write it); skeleton -> its strokes; stroke -> its control
# points (x, y) in the unit square, y downward. A closed stroke repeats its first point.
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
    """Draw images that look like handwritten digits.

    Parameters
    ----------
    n : int
        Number of images, at least 0.
    seed : int, optional
        Seed of the random number generator. The same seed gives the same images; None gives
        different ones on each call.

    Returns
    -------
    images : ndarray of uint8, shape (n, 28, 28)
        Bright digits on a dark background, 0 to 255, as in MNIST.
    labels : ndarray of uint8, shape (n,)
        The digits, 0 to 9.

    Raises
    ------
    TypeError, ValueError
        If `n` or `seed` is not an integer or is negative.
    """
    n = check_count("n", n)
    if seed is not None:
        seed = check_integer("seed", seed, 0, maximum=None)
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n).astype(np.uint8)
    images = np.empty((n, SIDE, SIDE), np.uint8)
    for start in range(0, n, CHUNK):
        chunk = labels[start : start + CHUNK]
        images[start : start + CHUNK] = draw_strokes(sample_curves(chunk, rng), rng)
    return images, labels


def sample_curves(labels, rng):
    """Return points along a randomly varied curve for each label.

    Parameters
    ----------
    labels : ndarray of uint8, shape (n,)
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n, POINTS, 2)
        (x, y) in pixels; a few points may be outside the image.
    """
    points = np.empty((len(labels), POINTS, 2), np.float32)
    variant = rng.random(len(labels))
    for digit, skeletons in SKELETONS.items():
        skeleton_index = (variant * len(skeletons)).astype(int)
        for index in range(len(skeletons)):
            samples = np.flatnonzero((labels == digit) & (skeleton_index == index))
            controls, basis = compute_basis(digit, index)
            moved = controls + rng.normal(0, 0.06, (len(samples), *controls.shape))
            points[samples] = basis @ moved
    return transform(points - 0.5, rng)


def transform(points, rng):
    """Stretch, slant, rotate and shift curves, each by random amounts.

    Parameters
    ----------
    points : ndarray, shape (n, POINTS, 2)
        In a unit square centered at the origin.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n, POINTS, 2)
        In pixels.
    """
    n = len(points)
    width, height = rng.normal(13, 2.2, n), rng.normal(18.5, 1.6, n)
    slant, angle = rng.normal(0.12, 0.22, n), rng.normal(0, 0.13, n)
    x = points[:, :, 0] * width[:, None] - points[:, :, 1] * (slant * height)[:, None]
    y = points[:, :, 1] * height[:, None]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    shift = rng.normal((SIDE - 1) / 2, 1.0, (n, 1, 2))
    return np.stack([x * cos - y * sin, x * sin + y * cos], axis=2) + shift


def draw_strokes(points, rng):
    """Draw curves with a pen of random width and intensity, and add pixel noise.

    Parameters
    ----------
    points : ndarray, shape (n, POINTS, 2)
        In pixels.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of uint8, shape (n, SIDE, SIDE)
    """
    n = len(points)
    dots = splat_points(points)
    pen_width = rng.uniform(0.62, 1.15, n)
    blur = make_blur_matrices(pen_width)
    # Blurring turns a stroke into a ridge. Clipping the ridge's top gives the stroke the
    # constant brightness across its width that a pen leaves.
    gray = blur @ dots @ blur.transpose(0, 2, 1)
    ridge = np.quantile(gray.reshape(n, -1), 0.96, axis=1)[:, None, None]
    gray = np.clip(gray / np.maximum(ridge, 1e-6) * 1.25 - 0.12, 0, 1)
    gray *= rng.uniform(0.8, 1, n)[:, None, None]
    return (gray * 255 + rng.normal(0, 6, gray.shape) * (gray > 0.02)).clip(0, 255).astype(np.uint8)


def splat_points(points):
    """Distribute each point over its four nearest pixels by bilinear weights.

    Parameters
    ----------
    points : ndarray, shape (n, POINTS, 2)
        In pixels. Points outside the image are dropped.

    Returns
    -------
    ndarray, shape (n, SIDE, SIDE)
    """
    n = len(points)
    low = np.floor(points).astype(np.int64)
    fraction = (points - low).astype(np.float32)
    images = np.zeros(n * SIDE * SIDE, np.float32)
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = low[:, :, 0] + dx, low[:, :, 1] + dy
            weight = np.abs(1 - dx - fraction[:, :, 0]) * np.abs(1 - dy - fraction[:, :, 1])
            inside = (x >= 0) & (x < SIDE) & (y >= 0) & (y < SIDE)
            index = np.arange(n)[:, None] * SIDE**2 + y * SIDE + x
            images += np.bincount(index[inside], weight[inside], images.size)
    return images.reshape(n, SIDE, SIDE)


def make_blur_matrices(sigma):
    """Return matrices that apply a Gaussian blur along one axis, not normalized.

    Parameters
    ----------
    sigma : ndarray, shape (n,)
        Standard deviations in pixels.

    Returns
    -------
    ndarray of float32, shape (n, SIDE, SIDE)
    """
    distance = np.arange(SIDE)[:, None] - np.arange(SIDE)
    return np.exp(-0.5 * (distance / sigma[:, None, None]) ** 2).astype(np.float32)


@functools.cache
def compute_basis(digit, index):
    """Return a skeleton's control points and the matrix that maps them to the curve.

    The curve is a Catmull-Rom spline (Catmull and Rom, "A class of local interpolating
    splines", 1974), sampled at equal distances along its length. It is linear in the control
    points, so one matrix product computes the curves of many samples.

    Parameters
    ----------
    digit : int
    index : int
        Index into ``SKELETONS[digit]``.

    Returns
    -------
    controls : ndarray, shape (n_controls, 2)
    basis : ndarray of float32, shape (POINTS, n_controls)
    """
    strokes = SKELETONS[digit][index]
    controls = np.array([point for stroke in strokes for point in stroke])
    fine, first = [], 0
    for stroke in strokes:
        basis = np.zeros((SPLINE_SAMPLES, len(controls)))
        basis[:, first : first + len(stroke)] = make_spline_basis(len(stroke), SPLINE_SAMPLES)
        fine.append(basis)
        first += len(stroke)
    fine = np.concatenate(fine)
    steps = np.linalg.norm(np.diff(fine @ controls, axis=0), axis=1)
    steps[SPLINE_SAMPLES - 1 :: SPLINE_SAMPLES] = 0  # the gap between two strokes
    length = np.concatenate([[0], np.cumsum(steps)])
    even = np.searchsorted(length, np.linspace(0, length[-1], POINTS)).clip(0, len(fine) - 1)
    return controls, fine[even].astype(np.float32)


def make_spline_basis(controls, samples):
    """Return the matrix that evaluates a Catmull-Rom spline whose end points are doubled.

    Parameters
    ----------
    controls : int
        Number of control points.
    samples : int
        Number of equally spaced parameter values at which the spline is evaluated.

    Returns
    -------
    ndarray, shape (samples, controls)
    """
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
