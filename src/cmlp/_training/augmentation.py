"""Images that are distorted at random in each epoch, and the source that trains on them."""

import contextlib
import os
import sys
from math import isqrt
from typing import NamedTuple

import numpy as np

from cmlp._core.inputs import Rows, Targets
from cmlp._training.inputs import MAX_SAMPLES, NATIVE_DTYPES, is_scipy_sparse, to_real_array
from cmlp._training.sources import ArraySource, Chunk
from cmlp._utils.threads import resolve_threads
from cmlp._utils.validation import (
    check_finite_number,
    check_integer,
    check_non_negative,
)

# Samples that are distorted at a time, while the ones before are trained on. A chunk of 28 x 28
# bytes is 3 MB. Larger: the first steps of training start later. Smaller: more switches between
# threads. It has no influence on results. Large images are fewer, as two chunks are in memory.
CHUNK_SAMPLES = 4096
CHUNK_BYTES = 1 << 27

MAX_PIXELS = 1 << 24  # of an image; positions of pixels are 32-bit integers
MAX_SIDE = 4096  # of an image with a displacement field, whose filters have the squared size
MAX_DEGREES = 180.0
MAX_SHEAR = 80.0  # degrees; the tangent is infinite at 90
MAX_PIXEL_DISTANCE = 1e6
MIN_SIGMA, MAX_SIGMA = 1e-3, 1e4  # pixels; the filter is computed for 10 sigma
MAX_VALUE = 1e38  # of a pixel; the interpolation subtracts pixels in float32


class AugmentedImages:
    """Images that are distorted at random, differently in each epoch; see `datasets.augment`.

    `Network.fit`, `Network.partial_fit` and `fit_many` take them as X. Nothing is computed before
    the images are needed.

    Attributes
    ----------
    images : ndarray
        The original images, as they were given.
    shape : tuple of int
        Their shape.
    image_shape : tuple of int
        Height, width and number of channels.
    seed : int
    """

    def __init__(self, X, *, shape, limits, sigma, fill, seed):
        # `limits`: name -> (number or array, check, largest value); see `augment`.
        self.images, self.image_shape = X, resolve_shape(X, shape)
        self.shape, self.seed, self.fill = X.shape, seed, fill
        elements = int(np.prod(self.image_shape))
        self.samples = np.ascontiguousarray(X.reshape(len(X), elements))
        self.limits = {
            name: resolve_limit(name, value, len(X), maximum)
            for name, (value, maximum) in limits.items()
        }
        self.sigma = sigma
        self._distorter = None

    def __len__(self):
        return len(self.samples)

    def __array__(self, dtype=None, copy=None):
        # Without this method NumPy would make an array of one object.
        raise TypeError("X must be an array; got AugmentedImages, whose draw(epoch) returns one")

    def __getstate__(self):
        return {**self.__dict__, "_distorter": None}  # has pointers

    def __repr__(self):
        return f"<AugmentedImages of shape {self.shape}, {self.images.dtype}, seed {self.seed}>"

    def draw(self, epoch=0, samples=None, *, threads=None):
        """Return the distorted images of an epoch.

        Parameters
        ----------
        epoch : int, default 0
            Number of epochs that the network has been trained before this one.
        samples : array_like of int, shape (n,), optional
            Indices of images; by default all.
        threads : int, optional
            Maximum number of threads, as in `Network.fit`. The results do not depend on it.

        Returns
        -------
        ndarray, shape (n, ...)
            Of the shape and dtype of the original images. An image is a function of `seed`, `epoch`
            and its index.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit.
        """
        epoch = check_integer("epoch", epoch, 0, 2**32 - 1)
        index = resolve_samples(samples, len(self))
        out = np.empty((len(index), self.samples.shape[1]), self.samples.dtype)
        self.start_drawing(index, epoch, out).run(resolve_threads(threads))
        return out.reshape(len(index), *self.shape[1:])

    def start_drawing(self, index, epoch, out):
        """Return the `Drawing` of the images `index`, uint32 (n,), to `out` (n, elements)."""
        # Imported here because few programs need it.
        from cmlp._core.augmentation import Drawing

        return Drawing(
            self._get_distorter(), Rows(self.samples), index, self.seed, epoch, Rows(out)
        )

    def describe(self):
        """Return the settings, a dict whose values can be stored in JSON."""
        import zlib  # few programs need it

        limits = {
            name: float(limit[0]) if len(limit) == 1 else f"crc32 {zlib.crc32(limit.tobytes())}"
            for name, limit in self.limits.items()
        }
        return {**limits, "sigma": self.sigma, "fill": self.fill, "seed": self.seed,
                "shape": list(self.image_shape)}  # fmt: skip

    def _get_distorter(self):
        if self._distorter is None:
            from cmlp._core.augmentation import Distorter

            height, width, channels = self.image_shape
            limits, filters = dict(self.limits), None
            for name in ("rotation", "shear"):
                limits[name] = np.radians(limits[name])
            if self.limits["alpha"].any():
                filters = make_filter(height, self.sigma), make_filter(width, self.sigma)
            order = ("rotation", "shear", "scale", "translation", "flip", "alpha")
            self._distorter = Distorter(
                height, width, channels, [limits[name] for name in order], self.fill, filters
            )
        return self._distorter


def make_augmented(X, *, shape, rotation, shear, scale, translation, flip, alpha, sigma, fill,
                   seed):  # fmt: skip
    """Check the arguments of `datasets.augment` and return `AugmentedImages`."""
    if is_scipy_sparse(X):
        raise TypeError("X must be an array of images; got a sparse matrix; pass X.toarray()")
    if X is None:
        raise TypeError("X must be an array of images; got None")
    X = to_real_array("X", X)
    if X.dtype not in NATIVE_DTYPES:
        raise TypeError(f"X must be of uint8, float32 or float64; got {X.dtype}")
    if X.dtype.kind == "f":
        check_values(X)
    check_finite_number("fill", fill)
    if X.dtype == np.uint8 and not 0 <= fill <= 255:
        raise ValueError(f"fill must be from 0 to 255 for images of uint8; got {fill}")
    if abs(fill) > MAX_VALUE:
        raise ValueError(f"fill must be from {-MAX_VALUE:g} to {MAX_VALUE:g}; got {fill}")
    check_finite_number("sigma", sigma)
    if not MIN_SIGMA <= sigma <= MAX_SIGMA:
        raise ValueError(f"sigma must be from {MIN_SIGMA:g} to {MAX_SIGMA:g}; got {sigma}")
    limits = {
        "rotation": (rotation, MAX_DEGREES), "shear": (shear, MAX_SHEAR),
        "scale": (scale, 0.99), "translation": (translation, MAX_PIXEL_DISTANCE),
        "flip": (flip, 1.0), "alpha": (alpha, MAX_PIXEL_DISTANCE),
    }  # fmt: skip
    images = AugmentedImages(
        X, shape=shape, limits=limits, sigma=float(sigma), fill=float(fill),
        seed=check_integer("seed", seed, 0, 2**64 - 1),
    )  # fmt: skip
    if images.limits["alpha"].any() and max(images.image_shape[:2]) > MAX_SIDE:
        raise ValueError(
            f"X must have at most {MAX_SIDE} pixels on each side of an image with alpha > 0; "
            f"got {images.image_shape[:2]}"
        )
    return images


def check_values(X):
    """Raise `ValueError` unless real numbers can be interpolated in float32."""
    low, high = (float(X.min()), float(X.max())) if X.size else (0.0, 0.0)  # NaN if there is one
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("X must be finite; got NaN or infinity")
    if max(-low, high) > MAX_VALUE:
        raise ValueError(f"X must be from {-MAX_VALUE:g} to {MAX_VALUE:g}; got {low:g} to {high:g}")


def resolve_shape(X, shape):
    """Return height, width and channels of the images X."""
    if X.ndim < 2 or len(X) > MAX_SAMPLES:
        raise ValueError(
            "X must have shape (n, height, width), (n, height, width, channels) or (n, features); "
            f"got {X.shape}"
        )
    if shape is None:
        if X.ndim in (3, 4):
            shape = X.shape[1:]
        else:
            side = isqrt(int(np.prod(X.shape[1:])))
            shape = side, side
            if X.ndim != 2 or side * side != X.shape[1]:
                raise ValueError(
                    "shape must be given unless X has a square number of features; got X of shape "
                    f"{X.shape}"
                )
    message = f"shape must be (height, width) or (height, width, channels); got {shape!r}"
    try:
        sides = tuple(shape)
    except TypeError:
        raise TypeError(message) from None
    if isinstance(shape, (str, bytes)):
        raise TypeError(message)
    if len(sides) not in (2, 3):
        raise ValueError(message)
    sides = tuple(check_integer("shape", side) for side in sides)
    sides += (1,) * (3 - len(sides))
    if np.prod(sides, dtype=object) != np.prod(X.shape[1:], dtype=object):
        raise ValueError(
            f"shape must have {int(np.prod(X.shape[1:]))} elements, as the images of X; got {shape}"
        )
    if np.prod(sides) > MAX_PIXELS:
        raise ValueError(f"shape must have at most {MAX_PIXELS} elements; got {shape}")
    return sides


def resolve_limit(name, value, n_samples, maximum):
    """Return the limit of a random quantity, float64 of shape (1,) or (n_samples,)."""
    if not isinstance(value, (list, tuple)) and getattr(value, "ndim", 0) == 0:
        check_non_negative(name, value)
        limit = np.array([value], np.float64)
    else:
        limit = np.array(to_real_array(name, value), np.float64)
        if limit.shape != (n_samples,):
            raise ValueError(
                f"{name} must be a number or have shape ({n_samples},), one for each image; "
                f"got shape {limit.shape}"
            )
    if not ((limit >= 0) & (limit <= maximum)).all():
        raise ValueError(
            f"{name} must be from 0 to {maximum:g}; got "
            f"{value if limit.size == 1 else f'{limit.min()} to {limit.max()}'}"
        )
    return limit


def resolve_samples(samples, n_samples):
    """Return indices of images as uint32, (n,)."""
    if samples is None:
        return np.arange(n_samples, dtype=np.uint32)
    index = np.asarray(samples)
    if index.ndim != 1 or (index.dtype.kind not in "iu" and index.size):
        raise TypeError(
            f"samples must be indices of images, integers of shape (n,); got {index.dtype} of "
            f"shape {index.shape}"
        )
    if index.size and not (index.min() >= 0 and index.max() < n_samples):
        raise ValueError(
            f"samples must be from 0 to {n_samples - 1}; got {index.min()} to {index.max()}"
        )
    return index.astype(np.uint32)


def make_filter(n, sigma):
    """Return the matrix of a Gaussian filter of n pixels, float32 (n, n), with zeros outside."""
    reach = max(n, int(10 * sigma) + 1)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    pixels = np.arange(n)
    return weights[pixels[:, None] - pixels[None, :] + reach].astype(np.float32)


class PreparedChunk(NamedTuple):
    """A chunk whose images are being distorted.

    Attributes
    ----------
    key : tuple of int
        Seed, epoch, and number of samples of the epoch before the chunk.
    order : ndarray of uint32, shape (n,)
    out : ndarray, shape (n, elements)
        The distorted images.
    drawing : Drawing
    future : concurrent.futures.Future
        Of the thread that distorts.
    """

    key: tuple
    order: np.ndarray
    out: np.ndarray
    drawing: object
    future: object


def lower_priority():
    """Give the calling thread the lowest priority, where a thread has one of its own."""
    if sys.platform == "linux":
        import threading  # few programs need it

        with contextlib.suppress(OSError):  # sandboxes may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


class AugmentedSource(ArraySource):
    """Augmented images to train on.

    A thread distorts the images of the next chunk while the present one is trained on. It has the
    lowest priority, as the threads of training wait for each other and must not be interrupted.
    What it has not finished in time, the threads of training finish.

    Parameters
    ----------
    images : AugmentedImages
    rows : Rows
        The original images.
    targets, values, subset, batch_size, shuffle, drop_last
        As for `ArraySource`.
    compresses : bool
        Whether the distorted images become sparse rows.
    threads : int
        Number of threads that train.
    end_epoch : int
        The epoch for which nothing is prepared: number of epochs of the network after training.
    """

    has_one_chunk = False

    def __init__(self, images, rows, targets, values, subset, batch_size, shuffle, drop_last,
                 compresses, threads, end_epoch):  # fmt: skip
        super().__init__(rows, targets, values, subset, batch_size, shuffle, drop_last)
        self.images, self.compresses = images, compresses
        self.threads, self.end_epoch = threads, end_epoch
        samples = images.samples
        most = min(CHUNK_SAMPLES, CHUNK_BYTES // (samples.itemsize * samples.shape[1]))
        self.chunk_samples = max(most // batch_size, 1) * batch_size
        # Imported here because it takes a considerable part of the time of `import cmlp`.
        from concurrent.futures import ThreadPoolExecutor

        self._executor = ThreadPoolExecutor(1, "cmlp-augmentation", lower_priority)
        self._buffers = [None, None]  # of the next chunk, and of the one that is trained on
        self._order = None, None  # (seed, epoch), order of the epoch
        self._next = None  # the `PreparedChunk` of the next chunk

    def chunks(self, seed, epoch):
        """Yield the chunks of an epoch."""
        for first in range(0, self.n_samples, self.chunk_samples):
            order, rows = self._finish(seed, epoch, first)
            after = first + self.chunk_samples
            if after < self.n_samples:
                self._prepare(seed, epoch, after)
            elif epoch + 1 < self.end_epoch:
                self._prepare(seed, epoch + 1, 0)
            values = None if self.values is None else self.values[order]
            yield Chunk(
                rows, self._select_targets(order), values, None, self.batch_size, first,
                first // self.batch_size, self.steps,
            )  # fmt: skip

    def _prepare(self, *key):
        # Begin to distort the images of the chunk (seed, epoch, first sample).
        seed, epoch, first = key
        order = self._get_order(seed, epoch)[first : first + self.chunk_samples]
        self._buffers.reverse()
        if self._buffers[0] is None:
            shape = min(self.chunk_samples, self.n_samples), self.images.samples.shape[1]
            self._buffers[0] = np.empty(shape, self.images.samples.dtype)
        out = self._buffers[0][: len(order)]
        drawing = self.images.start_drawing(order, epoch, out)
        self._next = PreparedChunk(key, order, out, drawing, self._executor.submit(drawing.run))

    def _finish(self, *key):
        # Return the order and the rows of a chunk, which usually has been prepared.
        if self._next is None or self._next.key != key:
            if self._next is not None:
                self._next.future.exception()  # until its buffer is no longer in use
            self._prepare(*key)
        prepared, self._next = self._next, None
        prepared.drawing.run(self.threads)
        prepared.future.result()
        rows = Rows(prepared.out)
        return prepared.order, rows.compress(self.threads) if self.compresses else rows

    def _get_order(self, seed, epoch):
        if self._order[0] != (seed, epoch):
            order = self.draw_order(seed, epoch)
            if order is None:
                order = np.arange(self.n_samples, dtype=np.uint32)
            self._order = (seed, epoch), order
        return self._order[1]

    def _select_targets(self, order):
        targets = Targets(self.targets.array[order])
        weights = self.targets.sample_weights
        return targets.set_weights(None if weights is None else weights[order])

    @property
    def fingerprint(self):
        """Properties that must be equal for a checkpoint of another run to fit; a dict."""
        settings = {**self.images.describe(), "chunk_samples": self.chunk_samples}
        return {**super().fingerprint, "augmentation": settings}
