"""Tables of the components: a new activation, loss or initializer is tested by being registered.

Each registry must have the same names as the kernel table, the oracle and the documentation.
`test_gradient` compares the gradients of every pair of an activation and a loss with finite
differences of the oracle's loss; test_optimizers.py, test_initializers.py, test_schedules.py and
test_metrics.py have the tables of the other kinds.
"""

import itertools

import numpy as np
import oracle
import pytest

import cmlp
from cmlp import Network, activations, initializers, losses, metrics, optimizers
from cmlp._core import kernels

HIDDEN = [name for name, activation in activations.ACTIVATIONS.items() if activation.hidden]

# (hidden activation, output activation, loss): each output with each loss that permits it, and
# each hidden activation with each loss.
CASES = [
    ("tanh", output, loss)
    for output, loss in itertools.product(activations.ACTIVATIONS, losses.LOSSES.values())
    if loss.outputs is None or output in loss.outputs
] + [(hidden, loss.output, loss) for hidden in HIDDEN for loss in losses.LOSSES.values()]


def test_the_tables_have_the_same_names():
    assert set(activations.ACTIVATIONS) == set(kernels.ACTIVATIONS) == set(oracle.ACTIVATIONS)
    assert set(oracle.DERIVATIVES) == set(HIDDEN)
    assert set(losses.LOSSES) == set(kernels.LOSSES) == set(oracle.LOSSES)
    assert set(oracle.LOSS_GRADIENTS) == set(losses.LOSSES)
    assert set(optimizers.OPTIMIZERS) == set(oracle.OPTIMIZERS)
    assert set(initializers.INITIALIZERS) == set(oracle.INITIALIZER_VARIANCES)
    assert set(metrics.CLASSIFICATION) == set(oracle.CLASS_METRICS)
    assert set(metrics.REGRESSION) == set(oracle.REAL_METRICS)


def test_the_documentation_names_every_component():
    documented = [
        (activations.__doc__, activations.ACTIVATIONS),
        (losses.__doc__, losses.LOSSES),
        (metrics.__doc__, [*metrics.CLASSIFICATION, *metrics.REGRESSION]),
        (Network.__doc__, [*activations.ACTIVATIONS, *losses.LOSSES, *initializers.INITIALIZERS]),
    ]
    for documentation, names in documented:
        assert [name for name in names if f'``"{name}"``' not in documentation] == []
    public = cmlp.__doc__ + Network.fit.__doc__
    kinds = [kind.__name__ for kind in optimizers.OPTIMIZERS.values()]
    assert [name for name in kinds if f"`{name}`" not in public or not hasattr(cmlp, name)] == []


def make_targets(loss, rng):
    """Return targets of shape (3,) within the bounds of a loss."""
    least, most = loss.bounds
    if most == 1:
        return rng.dirichlet(np.ones(3))
    return np.array([0.0, 1, 7]) if least == 0 else rng.normal(size=3)


@pytest.mark.parametrize(
    ("hidden", "output", "loss"), CASES, ids=lambda case: getattr(case, "name", case)
)
def test_gradient(isa, hidden, output, loss, rng):
    net = Network(
        [5, 7, 3 * loss.blocks], activation=hidden, output=output, loss=loss.name, dtype="float64",
        seed=1,
    )  # fmt: skip
    x, y = rng.normal(size=5), make_targets(loss, rng)

    def compute_loss():
        return oracle.mean_loss(
            list(net.weight), list(net.bias), [hidden, output], loss.name, x[None], y[None]
        )

    nabla_w, nabla_b, value = net.backprop(x, y)
    # The reference's quadratic loss has no factor 1/2.
    assert value == pytest.approx((2 if loss.name == "quadratic" else 1) * compute_loss())
    step, compared = 1e-6, 0
    for array, nabla in zip(net.weight + net.bias, nabla_w + nabla_b, strict=True):
        for index in itertools.islice(np.ndindex(*array.shape), 0, None, 5):
            center, values = array[index], []
            for array[index] in (center + step, center - step):
                values.append(compute_loss())
            array[index] = center
            assert nabla[index] == pytest.approx((values[0] - values[1]) / (2 * step), abs=2e-8)
            compared += 1
    assert compared == 7 + 2 + (5 + 1 if loss.blocks == 1 else 9 + 2)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"activation": activations.celu(1e-50)}, "celu"),
        ({"activation": activations.leaky_relu(1e-50)}, "leaky_relu"),
        ({"loss": losses.huber(1e-50)}, "huber"),
        ({"loss": losses.huber(1e50)}, "huber"),
    ],
)
def test_a_parameter_out_of_the_range_of_the_dtype_is_refused(options, name):
    message = f"the parameter of {name} must be from 1.18e-38 to 3.4e.38, the range of float32"
    with pytest.raises(ValueError, match=message):
        Network([3, 4, 2], **options)
    Network([3, 4, 2], dtype="float64", **options)
