"""What callbacks that log to other tools share: the numbers of a record, a network as text."""

from numbers import Real


def select_numbers(record):
    """Return the values of an epoch's record that are real numbers, a dict from str to float."""
    return {
        name: float(value)
        for name, value in record.items()
        if isinstance(value, Real) and not isinstance(value, bool)
    }


def describe_network(network):
    """Return the hyper-parameters of a network, a dict from name to number or str."""
    architecture = network.state.architecture
    return {
        "sizes": str(network.size), "activation": str(network.activation),
        "output": network.output, "loss": network.loss, "init": network.init,
        "dtype": network.dtype.name, "seed": network.seed, **architecture.options,
    }  # fmt: skip
