# Addresses of the memory of NumPy arrays.

cdef char *address_array(array, int ndim) except NULL:
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
    cdef char *address = <char *> buffer.buf
    cdef bint fits = buffer.ndim == ndim and buffer.itemsize in (4, 8)
    PyBuffer_Release(&buffer)
    if not fits:
        raise ValueError(f"array must be {ndim}-D, of float32 or float64; got {array.dtype}, "
                         f"shape {array.shape}")
    return address


cdef char *address_elements(block, int64_t offset, int64_t size) except NULL:
    # Return the address of `size` elements of a block from `offset` on, aligned to CMLP_PAD bytes.
    cdef int64_t itemsize = block.itemsize
    cdef char *address = address_array(block, 1) + offset * itemsize
    if not 0 <= offset <= block.size - size or <size_t> address % CMLP_PAD:
        raise ValueError(f"offset must be that of {size} elements of a block of {block.size}, "
                         f"on a boundary of {CMLP_PAD} bytes; got {offset}")
    return address


cdef const char *address_bytes(array) except? NULL:
    # Return the address of the elements of an array, NULL for an empty one.
    cdef const unsigned char[::1] view
    if array.size == 0:
        return NULL
    view = array.view("uint8")
    return <const char *> &view[0]
