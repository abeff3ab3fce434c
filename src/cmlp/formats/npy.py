"""Headers of ``.npy`` data, read without trusting them."""

import numpy as np

READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy_header(stream):
    """Return shape, Fortran order and dtype of an ``.npy`` stream, which is left at the data.

    Raises
    ------
    ValueError
        If the header is invalid.
    """
    try:
        version = np.lib.format.read_magic(stream)
        if version not in READERS:
            raise ValueError(f"npy version {version} is not supported")
        shape, is_fortran, dtype = READERS[version](stream)
    except Exception as error:  # NumPy parses the header as Python: TokenError, SyntaxError, ...
        raise ValueError(f"the npy header is invalid: {error}") from None
    if any(size < 0 for size in shape):
        raise ValueError(f"the npy header is invalid: its shape is {shape}")
    return shape, is_fortran, dtype
