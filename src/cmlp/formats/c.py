"""The C format: `write` exports one self-contained C99 file with a header."""

from cmlp._model.quantized import QuantizedState
from cmlp._utils.validation import check_bool, look_up
from cmlp.formats import c_quantized, c_source

ARITHMETICS = dict.fromkeys(("float32", "int8"))


def write(state, path, *, arithmetic="float32", train=False, optimizer=None, batch_size=None,
          **options):  # fmt: skip
    """Write a `ModelState` or a `QuantizedState`; see `cmlp.Network.to_c` and `c_source.write`."""
    look_up("arithmetic", arithmetic, ARITHMETICS)
    check_bool("train", train)
    if train:
        from cmlp.formats import c_training

        options["renderer"] = c_training.prepare(state, optimizer, batch_size, arithmetic, options)
    else:
        for name, value in (("optimizer", optimizer), ("batch_size", batch_size)):
            if value is not None:
                raise ValueError(f"{name} must be None unless train is True; got {value!r}")
        if isinstance(state, QuantizedState):
            options["renderer"] = c_quantized.QuantizedRenderer
        if arithmetic == "int8":
            options["renderer"] = choose_integer_renderer(state)
    c_source.write(state, path, **options)


def choose_integer_renderer(state):
    """Return the renderer of ``arithmetic="int8"``; raise ValueError if the state has floats."""
    # Imported here because few programs need it.
    from cmlp.formats.c_integer import IntegerRenderer

    if not isinstance(state, QuantizedState):
        raise ValueError(
            "arithmetic must be 'float32' for a network that is not quantized; got 'int8'"
        )
    return IntegerRenderer


def needs_calibration(arithmetic, train, weights, calibration):
    """Return whether `Network.to_c` must quantize the network; the arguments are its own.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    """
    look_up("arithmetic", arithmetic, ARITHMETICS)
    if arithmetic != "int8" or train is not False:
        if calibration is not None:
            raise ValueError(
                "calibration must be None unless arithmetic is 'int8' and train is False; got "
                f"{type(calibration).__name__}"
            )
        return False
    if weights != "int8":
        raise ValueError(f"weights must be 'int8' with arithmetic='int8'; got {weights!r}")
    if calibration is None:
        raise ValueError(
            "calibration must be samples like those to predict, shape (n, inputs), with "
            "arithmetic='int8'; got None"
        )
    return True
