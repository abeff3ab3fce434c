"""Samples as the engine reads them, dense or compressed sparse rows, and targets."""
import numpy as np

from libc.stdint cimport int32_t, int64_t

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer

from cmlp._core.kernels cimport CMLP_F32, CMLP_F64, CMLP_U8, cmlp_kernels, cmlp_rows, table
from cmlp._core.team cimport cmlp_parallel, share

# How many rows tell how dense a matrix is.
cdef int64_t SAMPLED_ROWS = 256


cdef bint describe(const Py_buffer *buffer, cmlp_rows *view) noexcept:
    cdef const char *kind = buffer.format
    if buffer.ndim != 2 or kind == NULL or kind[0] == 0 or kind[1] != 0:
        return False
    if kind[0] == b"B":
        view.kind = CMLP_U8
    elif kind[0] == b"f":
        view.kind = CMLP_F32
    elif kind[0] == b"d":
        view.kind = CMLP_F64
    else:
        return False
    view.data = buffer.buf
    view.n, view.width = buffer.shape[0], buffer.shape[1]
    view.stride = buffer.strides[0]
    return view.width < 2 or buffer.strides[1] == buffer.itemsize


ctypedef fused index:
    int32_t
    int64_t


cdef bint rise(const index *column, const int64_t *start, int64_t n) noexcept nogil:
    # Whether the columns of each row do.
    cdef int64_t i, t
    for i in range(n):
        for t in range(start[i] + 1, start[i + 1]):
            if column[t] <= column[t - 1]:
                return False
    return True


cdef class Rows:
    """Samples: a 2-D array of uint8, float32 or float64, read where it lies.

    Raises
    ------
    ValueError
        If the array is something else, or the elements of a row are not next to
        one another.
    """

    def __init__(self, array):
        PyObject_GetBuffer(array, &self.buffer, PyBUF_STRIDES | PyBUF_FORMAT)
        self.holds = True
        if not describe(&self.buffer, &self.view):
            raise ValueError(f"rows must be 2-D, of uint8, float32 or float64, each contiguous; "
                             f"got {array.dtype}, shape {array.shape}, strides {array.strides}")

    def __dealloc__(self):
        if self.holds:
            PyBuffer_Release(&self.buffer)

    @staticmethod
    def sparse(values, columns, start, int64_t width):
        """Compressed sparse rows, read where they lie.

        Parameters
        ----------
        values : ndarray of uint8, float32 or float64, shape (elements,)
        columns : ndarray of uint16, int32 or int64, shape (elements,)
            All below `width`, and rising in each row; this is not checked here.
        start : ndarray of int64, shape (n + 1,)
            Where each row begins among the elements; does not fall.
        width : int
        """
        cdef Rows rows = Rows.__new__(Rows)
        cdef const int64_t[::1] begin = start
        cdef size_t address
        cdef int64_t i
        rows.kept = (values, columns, start)
        rows.view.n, rows.view.width = len(start) - 1, width
        rows.view.kind = {"u1": CMLP_U8, "f4": CMLP_F32, "f8": CMLP_F64}[values.dtype.str[1:]]
        rows.view.column_bytes = columns.itemsize
        address = values.ctypes.data
        rows.view.data = <const void *> address
        address = columns.ctypes.data
        rows.view.column = <const void *> address
        rows.view.start = &begin[0]
        for i in range(rows.view.n):
            rows.longest = max(rows.longest, begin[i + 1] - begin[i])
        rows.nonzeros = begin[rows.view.n] - begin[0]
        return rows

    def __len__(self):
        return self.view.n

    @property
    def width(self):
        """The elements of a row."""
        return self.view.width

    @property
    def arrays(self):
        """Of sparse rows the values, the columns and where each row begins."""
        return self.kept

    @property
    def is_sparse(self):
        """Whether these are compressed sparse rows."""
        return self.view.start != NULL

    @property
    def columns_rise(self):
        """Whether the columns of each sparse row do, as SciPy has them in 4 or 8 bytes."""
        if self.view.column_bytes == 4:
            return rise(<const int32_t *> self.view.column, self.view.start, self.view.n)
        return rise(<const int64_t *> self.view.column, self.view.start, self.view.n)

    def first_not_finite(self):
        """The first row that holds NaN or infinity, or -1."""
        cdef const cmlp_kernels *kernels = table(4)
        cdef int64_t row
        with nogil:
            row = kernels.first_not_finite(&self.view)
        return row

    def density(self):
        """The part of the elements that are not zero, by a few hundred rows at most."""
        cdef const cmlp_kernels *kernels = table(4)
        cdef int64_t sampled = min(self.view.n, SAMPLED_ROWS), nonzeros = 0, i, row
        cdef cmlp_rows view = self.view
        cdef int64_t count
        if view.n == 0 or view.width == 0:
            return 1.0
        if view.start != NULL:
            return self.nonzeros / (<double> view.n * view.width)
        for i in range(sampled):
            row = i * self.view.n // sampled
            view.data = <const char *> self.view.data + row * self.view.stride
            kernels.count_nonzeros(&view, 0, 1, &count)
            nonzeros += count
        return nonzeros / (<double> sampled * view.width)

    def compressed(self, int threads=1):
        """The same samples as compressed sparse rows, by so many threads."""
        cdef int64_t n = self.view.n
        cdef int64_t[::1] begin = np.zeros(n + 1, np.int64)
        cdef Compression job
        job.kernels, job.rows, job.counts = table(4), &self.view, &begin[0] + 1
        job.out.start = NULL
        with nogil:
            cmlp_parallel(compress_team, &job, threads)
        start = np.cumsum(begin)
        kind = {CMLP_U8: np.uint8, CMLP_F32: np.float32, CMLP_F64: np.float64}[self.view.kind]
        values = np.empty(start[n], kind)
        columns = np.empty(start[n], np.uint16 if self.view.width <= 1 << 16 else np.int32)
        cdef Rows rows = Rows.sparse(values, columns, start, self.view.width)
        job.out = rows.view
        with nogil:
            cmlp_parallel(compress_team, &job, threads)
        return rows


cdef struct Compression:
    const cmlp_kernels *kernels
    const cmlp_rows *rows
    int64_t *counts
    cmlp_rows out               # where its starts are known


cdef void compress_team(void *arg, int thread, int threads) noexcept nogil:
    # A thread's rows: first counted, then copied.
    cdef Compression *job = <Compression *> arg
    cdef int64_t first = share(job.rows.n, thread, threads)
    cdef int64_t m = share(job.rows.n, thread + 1, threads) - first
    if job.out.start == NULL:
        job.kernels.count_nonzeros(job.rows, first, m, job.counts)
    else:
        job.kernels.compress(job.rows, first, m, &job.out)


cdef class Targets:
    """What the outputs are compared with: int32 labels (n,), or reals (n, outputs)."""

    def __init__(self, array):
        self.n = array.shape[0]
        self.view.ld = array.shape[array.ndim - 1]
        if self.n == 0:
            return
        if array.ndim == 1:
            self.labels = array
            self.view.labels = &self.labels[0]
        elif array.itemsize == 4:
            self.f4 = array
            self.view.values = &self.f4[0, 0]
        else:
            self.f8 = array
            self.view.values = &self.f8[0, 0]

    def weighted(self, weights):
        """Count each sample as often as `weights`, float64 (n,), or None, says; returns self."""
        if weights is None:
            self.view.weights = NULL
        else:
            self.weights = weights
            self.view.weights = &self.weights[0]
        return self


# The sums of metrics: of classes, and of real targets.
OF_CLASSES = ("hits", "predicted", "actual", "ranks")
OF_REALS = ("first", "target", "target_square", "error", "error_square")


cdef class Tally:
    """The sums over samples that metrics are made of; see csrc/kernels.h.

    Parameters
    ----------
    classes : bool
        Whether outputs are compared with classes, of which one output tells two.
    outputs : int

    Attributes
    ----------
    arrays : dict of ndarray of float64
    """

    def __init__(self, bint classes, int outputs):
        length = max(outputs, 2) if classes else outputs
        self.arrays = {name: np.zeros(length) for name in (OF_CLASSES if classes else OF_REALS)}
        if classes:
            self.sums.hits = address_of(self.arrays["hits"])
            self.sums.predicted = address_of(self.arrays["predicted"])
            self.sums.actual = address_of(self.arrays["actual"])
            self.sums.ranks = address_of(self.arrays["ranks"])
        else:
            self.sums.first = address_of(self.arrays["first"])
            self.sums.target = address_of(self.arrays["target"])
            self.sums.target_square = address_of(self.arrays["target_square"])
            self.sums.error = address_of(self.arrays["error"])
            self.sums.error_square = address_of(self.arrays["error_square"])

    @property
    def samples(self):
        """How many there were."""
        return self.sums.samples

    @samples.setter
    def samples(self, double samples):
        self.sums.samples = samples


cdef double *address_of(array) except NULL:
    cdef double[::1] view = array
    return &view[0]
