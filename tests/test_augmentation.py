"""Random distortions of images: the numbers, and training on them."""

import copy
import os
import pickle

import numpy as np
import oracle
import pytest
import scipy.sparse
from scipy import ndimage

from cmlp import SGD, Adam, Network, fit_many
from cmlp._training import augmentation
from cmlp.callbacks import Callback, Checkpoint
from cmlp.datasets import augment, make_digits
from cmlp.layers import OneHot

DISTORTION = 3  # the stream of random words
NOTHING = {"rotation": 0, "scale": 0, "alpha": 0}
ALL = {"rotation": 20, "shear": 10, "scale": 0.2, "translation": 2, "flip": 0.5, "alpha": 30,
       "sigma": 4}  # fmt: skip


def make_images(n, shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    images = ndimage.gaussian_filter(rng.random((n, *shape)), (0, 1.5, 1.5, 0)[: 1 + len(shape)])
    images = (images - images.min()) / (images.max() - images.min())
    return (images * 255).round().astype(np.uint8) if dtype == np.uint8 else images.astype(dtype)


def distort_by_scipy(image, sample, epoch, *, rotation, shear, scale, translation, flip, alpha,
                     sigma, fill, seed):  # fmt: skip
    """Return the distorted image (height, width, channels) in float64."""
    height, width, channels = image.shape
    words = oracle.philox(seed, [(c, sample, epoch, DISTORTION) for c in range(16)]).T
    unit = ((words >> 8) + 0.5) / 2**24
    uniform = 2 * unit - 1
    angle, slant = np.radians(rotation * uniform[0, 0]), np.radians(shear * uniform[1, 0])
    factors = 1 + scale * uniform[2, 0], 1 + scale * uniform[3, 0]
    if unit[2, 1] < flip:
        factors = -factors[0], factors[1]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, np.tan(slant)], [0, 1]]) @ np.diag(factors)
    center = (np.array([width, height]) - 1) / 2
    y, x = np.mgrid[:height, :width].astype(float)
    target = np.stack([x, y]) - (center + translation * uniform[:2, 1])[:, None, None]
    source = np.einsum("ij,jrc->irc", np.linalg.inv(matrix), target) + center[:, None, None]
    blocks = -(-2 * height * width // 128)
    counters = [(c, sample, epoch, DISTORTION) for c in range(16, 16 * (1 + blocks))]
    words = oracle.philox(seed, counters).reshape(blocks, 16, 4).transpose(0, 2, 1)
    words = words.reshape(blocks, 1, 64)
    noise = np.concatenate([words & 0xFFFF, words >> 16], axis=1).astype(float)
    noise = ((noise + 0.5) / 2**15 - 1).ravel()[: 2 * height * width].reshape(2, height, width)
    field = [
        ndimage.gaussian_filter(each, sigma, mode="constant", radius=int(8 * sigma))
        for each in noise
    ]
    source += alpha * np.stack(field)
    return np.stack(
        [ndimage.map_coordinates(image[:, :, k].astype(float), source[::-1], order=1,
                                 mode="grid-constant", cval=fill) for k in range(channels)],
        axis=2,
    )  # fmt: skip


@pytest.mark.every_isa
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((28, 28), np.uint8), ((28, 28), np.float32), ((9, 70), np.float64), ((12, 10, 3), np.uint8),
     ((1, 5), np.float32)],
)  # fmt: skip
def test_against_scipy(isa, shape, dtype):
    images = make_images(6, shape, dtype)
    fill = 100 if dtype == np.uint8 else 0.3
    for settings in (ALL, {**ALL, "alpha": 0}, {**NOTHING, "translation": 3.5, "sigma": 1.0}):
        options = {"shear": 0, "translation": 0, "flip": 0, **settings, "fill": fill, "seed": 2**40}
        found = augment(images, **options).draw(7)
        assert found.shape == images.shape
        assert found.dtype == images.dtype
        for i, image in enumerate(images.reshape(6, *shape[:2], -1)):
            expected = distort_by_scipy(image, i, 7, **options).reshape(shape)
            tolerance = 0.51 if dtype == np.uint8 else 2e-4
            np.testing.assert_allclose(found[i], expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_without_distortion_the_images_are_the_same(dtype):
    images = make_images(5, (7, 11), dtype)
    if dtype == np.float64:
        images = images.astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(augment(images, **NOTHING).draw(3), images)
    flipped = augment(images, **NOTHING, flip=1).draw(3)
    if dtype == np.uint8:
        np.testing.assert_array_equal(flipped, images[:, :, ::-1])
    np.testing.assert_allclose(flipped, images[:, :, ::-1], atol=1e-6)


def test_an_image_is_a_function_of_seed_epoch_and_sample(many_threads):
    images = make_images(300, (12, 12), np.uint8)
    augmented = augment(images, **ALL, seed=5)
    found = augmented.draw(2, threads=1)
    np.testing.assert_array_equal(augmented.draw(2, threads=8), found)
    np.testing.assert_array_equal(augment(images, **ALL, seed=5).draw(2), found)
    some = [299, 3, 3, 17]
    np.testing.assert_array_equal(augmented.draw(2, some), found[some])
    assert augmented.draw(2, []).shape == (0, 12, 12)
    for other in (augmented.draw(3), augment(images, **ALL, seed=6).draw(2)):
        assert (other != found).any(axis=(1, 2)).all()
    repeated = augment(np.repeat(images[:1], 50, axis=0), **ALL).draw()
    assert len(np.unique(repeated.reshape(50, -1), axis=0)) == 50


def test_limits_of_each_image():
    images = make_images(40, (10, 10), np.uint8)
    rotation = np.where(np.arange(40) % 2, 30.0, 0.0)
    found = augment(images, **{**NOTHING, "rotation": rotation}).draw()
    np.testing.assert_array_equal(found[::2], images[::2])
    assert (found[1::2] != images[1::2]).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(
        found[1::2], augment(images, **{**NOTHING, "rotation": 30}).draw()[1::2]
    )
    alpha = np.where(np.arange(40) < 20, 0.0, 40.0)
    found = augment(images, **{**NOTHING, "alpha": alpha}).draw()
    assert [bool((a != b).any()) for a, b in zip(found, images, strict=True)] == [False] * 20 + [
        True
    ] * 20


def test_the_size_of_elastic_displacements():
    # A ramp whose values are the columns shows by how much pixels move.
    ramp = np.tile(np.arange(60, dtype=np.float32), (200, 60, 1))
    moved = augment(ramp, **{**NOTHING, "alpha": 36}).draw() - ramp
    inner = moved[:, 25:35, 25:35]
    assert abs(inner.mean()) < 0.1
    assert inner.std() == pytest.approx(36 / (6 * np.sqrt(12 * np.pi)), rel=0.05)


def test_features_and_strided_images():
    images = make_images(8, (6, 6), np.float32)
    expected = augment(images).draw(1)
    np.testing.assert_array_equal(augment(images.reshape(8, 36)).draw(1), expected.reshape(8, 36))
    wide = np.zeros((8, 6, 12), np.float32)
    wide[:, :, ::2] = images
    np.testing.assert_array_equal(augment(wide[:, :, ::2]).draw(1), expected)
    assert augment(images.reshape(8, 36), shape=(4, 9)).draw(1).shape == (8, 36)
    assert augment(images.reshape(8, 36), shape=(4, 3, 3)).image_shape == (4, 3, 3)
    assert "shape (8, 6, 6), float32, seed 0" in repr(augment(images))
    assert len(augment(images)) == 8


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"X": np.zeros((3, 5))}, ValueError, "shape must be given unless X has a square number"),
        ({"X": np.zeros(5)}, ValueError, "X must have shape"),
        ({"X": np.zeros((3, 4), complex)}, TypeError, "X must hold real numbers"),
        ({"X": np.zeros((3, 4), np.int64)}, TypeError, "X must be of uint8, float32 or float64"),
        ({"X": scipy.sparse.csr_array((3, 4))}, TypeError, "X must be an array of images"),
        ({"X": np.full((3, 4), np.nan)}, ValueError, "X must be finite"),
        ({"shape": (3, 3)}, ValueError, "shape must have 784 elements"),
        ({"X": None}, TypeError, "X must be an array of images; got None"),
        ({"shape": 28}, TypeError, "shape must be"),
        ({"shape": "28"}, TypeError, r"shape must be \(height, width\) .*; got '28'"),
        ({"shape": (784,)}, ValueError, "shape must be"),
        ({"shape": (28.0, 28)}, TypeError, "shape must be"),
        ({"rotation": -1}, ValueError, "rotation must"),
        ({"rotation": 181}, ValueError, "rotation must be from 0 to 180; got 181"),
        ({"rotation": [1, 2]}, ValueError, r"rotation must be a number or have shape \(4,\)"),
        ({"rotation": np.array([1, 2, np.nan, 3])}, ValueError, "rotation must be from 0 to 180"),
        ({"shear": 85}, ValueError, "shear must be from 0 to 80"),
        ({"scale": 1.0}, ValueError, "scale must be from 0 to 0.99"),
        ({"translation": "far"}, TypeError, "translation must be a number"),
        ({"flip": 1.5}, ValueError, "flip must be from 0 to 1"),
        ({"alpha": np.inf}, ValueError, "alpha must"),
        ({"rotation": [[1], [2, 3]]}, ValueError, "rotation must be an array"),
        ({"sigma": 0}, ValueError, "sigma must"),
        ({"sigma": np.ones(9)}, TypeError, r"sigma must be a number; got an array of shape \(9,\)"),
        ({"sigma": 1e12}, ValueError, "sigma must be from 0.001 to 10000"),
        ({"sigma": 1e-200}, ValueError, "sigma must be from 0.001 to 10000"),
        ({"X": np.full((3, 4), 1e39)}, ValueError, "X must be from"),
        ({"X": np.zeros((3, 4)), "fill": 1e39}, ValueError, "fill must be from"),
        ({"fill": -1}, ValueError, "fill must be from 0 to 255"),
        ({"fill": np.nan}, ValueError, "fill must"),
        ({"seed": -1}, ValueError, "seed must"),
        ({"seed": 0.5}, TypeError, "seed must"),
    ],
)
def test_wrong_arguments(changes, error, message):
    with pytest.raises(error, match=message):
        augment(**{"X": make_images(4, (28, 28), np.uint8), **changes})


def test_pixels_at_the_limits_stay_finite():
    images = np.where(make_images(3, (8, 8), np.float64) > 0.5, 1e38, -1e38)
    assert np.isfinite(augment(images, fill=1e38, alpha=1e6).draw()).all()


def test_copies_and_pickles_draw_the_same_images():
    images = augment(make_images(3, (8, 8), np.uint8), seed=2)
    expected = images.draw(1)
    for other in (copy.copy(images), copy.deepcopy(images), pickle.loads(pickle.dumps(images))):
        np.testing.assert_array_equal(other.draw(1), expected)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1,), ValueError, "epoch must"),
        ((0.5,), TypeError, "epoch must"),
        ((0, [4]), ValueError, "samples must be from 0 to 3; got 4 to 4"),
        ((0, [-1]), ValueError, "samples must be from 0"),
        ((0, [0.5]), TypeError, "samples must be indices"),
        ((0, 2), TypeError, "samples must be indices"),
    ],
)
def test_wrong_arguments_of_draw(arguments, error, message):
    with pytest.raises(error, match=message):
        augment(make_images(4, (8, 8), np.uint8)).draw(*arguments)


# --- Training ---


@pytest.fixture(scope="module")
def digits():
    return make_digits(600, 0)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(augmentation, "CHUNK_SAMPLES", 100)


def make_network(**options):
    return Network([784, 20, 10], activation="relu", loss="cross_entropy", seed=3, **options)


def get_bits(net):
    return [array.tobytes() for array in (*net.weight, *net.bias)]


@pytest.mark.parametrize(
    "options",
    [
        {}, {"sparse": False}, {"shuffle": False}, {"drop_last": True, "batch_size": 32},
        {"batch_size": 150}, {"validation_split": 0.2}, {"metrics": ["accuracy", "f1"]},
        {"optimizer": Adam(accumulate=3)}, {"sample_weight": np.linspace(0, 1, 600)},
        {"class_weight": "balanced"}, {"threads": 4},
    ],
    ids=lambda options: "-".join(options),
)  # fmt: skip
def test_without_distortion_training_has_the_same_bits(digits, small_chunks, options):
    X, y = digits
    options = {"epochs": 3, "batch_size": 20, **options}
    plain, augmented = make_network(dropout=0.2), make_network(dropout=0.2)
    expected = plain.fit(X, y, **options)
    history = augmented.fit(augment(X, **NOTHING), y, **options)
    assert get_bits(augmented) == get_bits(plain)
    for name, values in expected.items():
        if name not in ("seconds", "samples_per_second"):
            np.testing.assert_array_equal(history[name], values)


def test_a_loss_in_python(digits):
    X, y = digits
    one_hot = np.eye(10, dtype=np.float32)[y]

    def squares(outputs, targets):
        difference = outputs - targets
        return (difference**2).sum() / len(outputs), 2 * difference / len(outputs)

    nets = [Network([784, 8, 10], loss=squares, seed=0) for _ in range(2)]
    nets[0].fit(X, one_hot, epochs=2)
    nets[1].fit(augment(X, **NOTHING), one_hot, epochs=2)
    assert get_bits(nets[0]) == get_bits(nets[1])


def test_epochs_train_on_their_own_images(digits, small_chunks):
    X, y = digits
    images, nets = augment(X, seed=4), [make_network() for _ in range(3)]
    nets[0].fit(images, y, epochs=3, optimizer=SGD(0.1))
    for epoch in range(3):
        nets[1].fit(images.draw(epoch), y, epochs=1, optimizer=SGD(0.1))
        nets[2].partial_fit(images, y, optimizer=SGD(0.1))
    assert get_bits(nets[1]) == get_bits(nets[0])
    assert get_bits(nets[2]) == get_bits(nets[0])


def test_threads_do_not_change_the_bits(digits, small_chunks, many_threads):
    X, y = digits
    nets = [make_network() for _ in range(2)]
    for net, threads in zip(nets, (1, 4), strict=True):
        net.fit(augment(X), y, epochs=2, threads=threads)
    assert get_bits(nets[0]) == get_bits(nets[1])


def test_several_networks(digits):
    X, y = digits
    networks, alone = [make_network(dropout=p) for p in (0, 0.1)], make_network(dropout=0.1)
    fit_many(networks, augment(X), y, epochs=2)
    alone.fit(augment(X), y, epochs=2)
    assert get_bits(networks[1]) == get_bits(alone)
    assert get_bits(networks[0]) != get_bits(alone)


def test_augmented_images_can_be_copied(digits):
    images = augment(digits[0][:20], seed=3)
    expected = images.draw(1)
    for other in (pickle.loads(pickle.dumps(images)), copy.deepcopy(images)):
        np.testing.assert_array_equal(other.draw(1), expected)


class StopAfter(Callback):
    """Interrupt training after a number of steps, as Ctrl-C would."""

    wants_batches = True

    def __init__(self, steps):
        self.steps = steps

    def on_batch_end(self, network, epoch, step, loss):
        """Count the step."""
        self.steps -= 1
        if self.steps == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("steps", [1, 14, 15, 16, 29, 30, 31, 44])
def test_resumed_training_has_the_same_bits(digits, small_chunks, tmp_path, steps):
    X, y = digits
    options = {"epochs": 3, "batch_size": 40, "optimizer": SGD(0.1, momentum=0.9)}
    expected = make_network()
    expected.fit(augment(X), y, **options)
    path = tmp_path / "run.npz"
    with pytest.raises(KeyboardInterrupt):
        make_network().fit(augment(X), y, **options, callbacks=[Checkpoint(path), StopAfter(steps)])
    net = Network.resume(path)
    with pytest.raises(
        ValueError, match=r"augmentation must have {'rotation': 15.0}, as .*; got {'rotation': 1.0}"
    ):
        net.fit(augment(X, rotation=1), y, **options, callbacks=[Checkpoint(path), StopAfter(99)])
    with pytest.raises(ValueError, match=r"augmentation must be .* as in the interrupted"):
        net.fit(X, y, **options, callbacks=[Checkpoint(path), StopAfter(99)])
    net.fit(augment(X), y, **options, callbacks=[Checkpoint(path), StopAfter(99)])
    assert get_bits(net) == get_bits(expected)


def test_where_augmented_images_are_refused(digits):
    X, y = digits
    with pytest.raises(ValueError, match="X must not be augmented with LBFGS"):
        make_network().fit(augment(X), y, optimizer="lbfgs")
    with pytest.raises(ValueError, match="X must not be augmented in training on shards"):
        make_network().fit(augment(X), y, shards=2)
    with pytest.raises(ValueError, match="X must not be augmented with OneHot"):
        Network([4, 3], input_layers=[OneHot((0,), (2,))]).fit(
            augment(np.zeros((5, 4), np.float32)), np.zeros((5, 3))
        )
    net = make_network()
    for call in (
        lambda: net.predict(augment(X)),
        lambda: net.score(augment(X), y),
        lambda: net.quantize(augment(X)),
        lambda: net.fit(X, y, epochs=1, validation_data=(augment(X), y)),
    ):
        with pytest.raises(TypeError, match="X must be an array; got AugmentedImages, whose draw"):
            call()
    with pytest.raises(ValueError, match="X must have 784 columns"):
        make_network().fit(augment(np.zeros((5, 4), np.uint8)), y[:5])
    with pytest.raises(ValueError, match="y must have 600 samples"):
        make_network().fit(augment(X), y[:5])


def test_an_error_of_the_thread_is_raised_by_fit(digits, monkeypatch):
    X, y = digits
    images = augment(X)

    def fail(*arguments):
        raise MemoryError("no memory")

    monkeypatch.setattr(images, "start_drawing", fail)
    with pytest.raises(MemoryError, match="no memory"):
        make_network().fit(images, y)


def test_the_last_epoch_prepares_no_other(digits, small_chunks, monkeypatch):
    X, y = digits
    images, epochs = augment(X), []
    start = images.start_drawing

    def record(index, epoch, out):
        epochs.append(epoch)
        return start(index, epoch, out)

    monkeypatch.setattr(images, "start_drawing", record)
    net = make_network()
    net.fit(images, y, epochs=2, batch_size=100)
    net.partial_fit(images, y, batch_size=100)
    assert epochs == [0] * 6 + [1] * 6 + [2] * 6


def test_large_images_have_smaller_chunks(digits, monkeypatch):
    X, y = digits
    monkeypatch.setattr(augmentation, "CHUNK_BYTES", 784 * 100)
    images, sizes = augment(X, **NOTHING), []
    start = images.start_drawing

    def record(index, epoch, out):
        sizes.append(len(index))
        return start(index, epoch, out)

    monkeypatch.setattr(images, "start_drawing", record)
    make_network().fit(images, y, epochs=1, batch_size=40)
    make_network().fit(images, y, epochs=1, batch_size=500)
    assert sizes == [80] * 7 + [40] + [500, 100]


@pytest.mark.skipif(not hasattr(os, "setpriority"), reason="requires os.setpriority")
def test_training_works_where_priorities_are_fixed(digits, monkeypatch):
    X, y = digits
    expected, net = make_network(), make_network()
    expected.fit(augment(X), y, epochs=1)

    def refuse(*arguments):
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    net.fit(augment(X), y, epochs=1)
    assert get_bits(net) == get_bits(expected)
