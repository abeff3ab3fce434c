"""Parameters that are not finite are refused by exports and imports."""

import numpy as np


def check_finite(arrays, dtype, make_error=ValueError):
    """Raise ValueError unless all parameters are finite, also after conversion to `dtype`.

    Parameters
    ----------
    arrays : dict from str to ndarray
        By their names in a file: ``"weight_0"``.
    dtype : numpy.dtype
    make_error : callable, default ValueError
        Returns the error for a message.
    """
    for name, array in arrays.items():
        with np.errstate(over="ignore"):
            is_finite = np.isfinite(np.asarray(array).astype(dtype))
        if not is_finite.all():
            index = tuple(np.argwhere(~is_finite)[0].tolist())
            kind, _, layer = name.rpartition("_")
            raise make_error(
                f"{kind}[{layer}] must be finite in {np.dtype(dtype)}; "
                f"got {array[index]:g} at {list(index)}"
            )
