"""`augment`: images that are distorted at random in each epoch of training."""

from cmlp._training.augmentation import AugmentedImages, make_augmented

__all__ = ["AugmentedImages", "augment"]


def augment(X, *, shape=None, rotation=15.0, shear=0.0, scale=0.15, translation=0.0, flip=0.0,
            alpha=36.0, sigma=6.0, fill=0.0, seed=0):  # fmt: skip
    """Return images that `Network.fit` distorts at random, differently in each epoch.

    ``net.fit(augment(X), y)`` trains on distorted images, which compiled code computes on a thread
    of its own while the network trains. An image is a function of `seed`, the epoch and its index,
    so that training with the same seeds, or resumed training, has the same bits. The defaults suit
    handwritten digits of 28 x 28 pixels: they are in the ranges of Ciresan et al. [1]_.

    An affine map and an elastic displacement are one interpolation, which is bilinear.

    Parameters
    ----------
    X : ndarray of uint8, float32 or float64
        Images: shape (n, height, width), (n, height, width, channels) or (n, features). They are
        not copied if they are contiguous, and must not change during training. Real numbers, from
        -1e38 to 1e38, are interpolated in float32.
    shape : tuple of int, optional
        (height, width) or (height, width, channels) of the images if X has rows of features; by
        default those of X, or squares.
    rotation : float or array_like of shape (n,), default 15
        Largest angle, in degrees, in both directions. This limit and the next ones are one number
        for all images, or one for each; 0: none. The quantities are uniform between the limits.
    shear : float or array_like of shape (n,), default 0
        Largest angle of horizontal shear, in degrees, up to 80.
    scale : float or array_like of shape (n,), default 0.15
        The factors of height and width are between ``1 - scale`` and ``1 + scale``, independently.
    translation : float or array_like of shape (n,), default 0
        Largest horizontal and vertical shift, in pixels.
    flip : float or array_like of shape (n,), default 0
        Probability that left and right are exchanged.
    alpha : float or array_like of shape (n,), default 36
        Factor of the elastic displacements, in pixels; 0: none. Each pixel moves by `alpha` times
        noise, uniform in (-1, 1), that a Gaussian filter has smoothed [2]_: with the defaults by
        about one pixel (its standard deviation is ``alpha / (sigma * sqrt(12 pi))``).
    sigma : float, default 6
        Standard deviation of the filter, in pixels, from 0.001 to 10,000.
    fill : float, default 0
        Value of the pixels outside of an image, in the units of X.
    seed : int, default 0
        0 to 2^64 - 1.

    Returns
    -------
    AugmentedImages
        The argument X of `Network.fit`, `Network.partial_fit` and `fit_many`. Its method
        ``draw(epoch, samples=None)`` returns distorted images as an array. A validation split holds
        original images, and metrics of the training data that are functions are computed on them.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    References
    ----------
    .. [1] D. C. Ciresan, U. Meier, L. M. Gambardella and J. Schmidhuber, "Deep, big, simple neural
       nets for handwritten digit recognition", Neural Computation 22(12), 2010, section 2.
    .. [2] P. Y. Simard, D. Steinkraus and J. C. Platt, "Best practices for convolutional neural
       networks applied to visual document analysis", ICDAR 2003, section 2.

    Examples
    --------
    >>> from cmlp import Network, datasets
    >>> X, y = datasets.make_digits(1000, seed=0)
    >>> net = Network([784, 64, 10], activation="relu", loss="cross_entropy", seed=0)
    >>> history = net.fit(datasets.augment(X, rotation=10), y, epochs=3)
    """
    return make_augmented(
        X, shape=shape, rotation=rotation, shear=shear, scale=scale, translation=translation,
        flip=flip, alpha=alpha, sigma=sigma, fill=fill, seed=seed,
    )  # fmt: skip
