"""Samples as the engine reads them (dense or compressed sparse rows), targets, metric sums."""
import numpy as np

from libc.math cimport floor
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer)

from cmlp._core.kernels cimport (
    CMLP_DENSITY_SAMPLE_ROWS, CMLP_F32, CMLP_F64, CMLP_LARGE_PHASE_BLOCKS,
    CMLP_THREAD_COMPRESS_ELEMENTS, CMLP_U8, cmlp_kernels, cmlp_rows, table)
from cmlp._core.pool cimport begin_team, cmlp_team, end_team, run_phase, Range, split_range

# dtype.str without the byte order -> cmlp_kind, and cmlp_kind -> dtype.
KINDS = {"u1": CMLP_U8, "f4": CMLP_F32, "f8": CMLP_F64}
DTYPES = {CMLP_U8: np.uint8, CMLP_F32: np.float32, CMLP_F64: np.float64}

cdef object NDARRAY = np.ndarray


cdef bint describe_rows(const Py_buffer *buffer, cmlp_rows *view) noexcept:
    cdef const char *kind = buffer.format
    if kind != NULL and kind[0] == b"=":  # NumPy's mark of unaligned elements in native byte order
        kind += 1
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


cdef bint hold_rows(array, int64_t width, Py_buffer *buffer, cmlp_rows *view) except -1:
    if not PyObject_CheckBuffer(array):
        return False
    if type(array) is not NDARRAY and isinstance(array, np.ma.MaskedArray):
        return False
    try:
        PyObject_GetBuffer(array, buffer, PyBUF_STRIDES | PyBUF_FORMAT)
    except (BufferError, ValueError):  # an array of dates, a released memoryview
        return False
    memset(view, 0, sizeof(cmlp_rows))
    if describe_rows(buffer, view) and view.width == width and view.n:
        return True
    PyBuffer_Release(buffer)
    return False


ctypedef fused index:
    int32_t
    int64_t


cdef bint are_increasing(const index *column, const int64_t *start, int64_t n) noexcept nogil:
    # Return whether the column indices of each of n rows are strictly increasing.
    cdef int64_t i, t
    for i in range(n):
        for t in range(start[i] + 1, start[i + 1]):
            if column[t] <= column[t - 1]:
                return False
    return True


cdef class Rows:
    """Samples: the rows of a 2-D array, or compressed sparse rows. The data are not copied.

    Parameters
    ----------
    array : ndarray of uint8, float32 or float64, shape (n_samples, n_features)
        The elements of each row must be contiguous; rows may have any stride and address. The
        engine divides uint8 by 255.

    Raises
    ------
    ValueError
        If the array has another number of dimensions, dtype or memory layout.
    """

    def __init__(self, array):
        PyObject_GetBuffer(array, &self.buffer, PyBUF_STRIDES | PyBUF_FORMAT)
        self.holds_buffer = True
        if not describe_rows(&self.buffer, &self.view):
            raise ValueError(f"array must be 2-D, of uint8, float32 or float64, with contiguous "
                             f"rows; got {array.dtype}, shape {array.shape}, "
                             f"strides {array.strides}")

    def __dealloc__(self):
        if self.holds_buffer:
            PyBuffer_Release(&self.buffer)

    @staticmethod
    def from_csr(values, columns, start, int64_t width):
        """Return the samples of a matrix in CSR format. The arrays are not copied.

        Parameters
        ----------
        values : ndarray of uint8, float32 or float64, shape (nnz,)
        columns : ndarray of uint16, int32 or int64, shape (nnz,)
            Column of each element: less than `width`, strictly increasing within a row. Not
            checked here; see `has_sorted_columns`. The engine raises `ValueError` if they change
            later.
        start : ndarray of int64, shape (n_samples + 1,)
            Index of the first element of each row; non-decreasing. It must not change.
        width : int
            Number of features.

        Returns
        -------
        Rows
        """
        cdef Rows rows = Rows.__new__(Rows)
        cdef const int64_t[::1] begin = start
        cdef size_t address
        cdef int64_t i
        rows.references = (values, columns, start)
        rows.view.n, rows.view.width = len(start) - 1, width
        rows.view.kind = KINDS[values.dtype.str[1:]]
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
        """Number of features."""
        return self.view.width

    @property
    def arrays(self):
        """Tuple (values, columns, start) of sparse rows; None for dense ones."""
        return self.references

    @property
    def is_sparse(self):
        """Whether these are compressed sparse rows."""
        return self.view.start != NULL

    @property
    def has_sorted_columns(self):
        """Whether the columns of every sparse row are strictly increasing.

        The columns must be int32 or int64.
        """
        if self.view.column_bytes == 4:
            return are_increasing(<const int32_t *> self.view.column, self.view.start, self.view.n)
        return are_increasing(<const int64_t *> self.view.column, self.view.start, self.view.n)

    def find_not_finite(self, dtype):
        """Return the index of the first row that is not finite in the engine's arithmetic, or -1.

        Such a row holds NaN, infinity or, if `dtype`, the type of the arithmetic, is float32, a
        number beyond its range.
        """
        cdef const cmlp_kernels *kernels = table(dtype.itemsize)
        cdef int64_t row
        with nogil:
            row = kernels.find_not_finite(&self.view)
        return row

    def check_finite(self, dtype, str name="X"):
        """Raise `ValueError` that names the row that `find_not_finite` returns, if any."""
        cdef int64_t row = self.find_not_finite(dtype)
        if row >= 0:
            raise_not_finite(&self.view, row, name)

    @property
    def is_scaled(self):
        """Whether the samples are bytes, which the engine divides by 255."""
        return self.view.kind == CMLP_U8

    def find_no_code(self, int64_t column, int64_t categories):
        """Return the index of the first dense row whose code of a category does not fit, or -1.

        The codes are 0 to `categories`; the samples must not be bytes.
        """
        cdef int64_t row, i
        cdef const char *data = <const char *> self.view.data
        cdef float single
        cdef double number
        if self.view.start != NULL or self.view.kind == CMLP_U8 or not 0 <= column < self.width:
            raise ValueError("the samples must be dense real numbers with that column")
        with nogil:
            row = -1
            for i in range(self.view.n):
                if self.view.kind == CMLP_F32:
                    memcpy(&single, data + i * self.view.stride + 4 * column, 4)
                    number = single
                else:
                    memcpy(&number, data + i * self.view.stride + 8 * column, 8)
                if not (number >= 0 and number <= categories and number == floor(number)):
                    row = i
                    break
        return row

    def compute_density(self):
        """Return the fraction of elements that are not zero.

        For dense rows it is estimated from CMLP_DENSITY_SAMPLE_ROWS equally spaced rows. An
        empty matrix has density 1.
        """
        cdef const cmlp_kernels *kernels = table(4)
        cdef int64_t sampled = min(self.view.n, CMLP_DENSITY_SAMPLE_ROWS), nonzeros = 0, i, row
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

    def compress(self, int threads=1):
        """Return these dense samples as compressed sparse rows; use at most `threads` threads.

        Raises
        ------
        ValueError
            If another thread of the caller changes the samples meanwhile.
        """
        cdef int64_t n = self.view.n
        cdef double pay = <double> n * self.view.width / CMLP_THREAD_COMPRESS_ELEMENTS
        cdef int64_t[::1] begin = np.zeros(n + 1, np.int64)
        cdef Compression job
        job.kernels, job.rows, job.counts = table(4), &self.view, &begin[0] + 1
        job.out.start, job.has_changed = NULL, False
        threads = max(1, <int> min(<double> threads, min(pay, <double> n)))
        compress_rows(&job, threads)
        start = np.cumsum(begin)
        values = np.empty(start[n], DTYPES[self.view.kind])
        columns = np.empty(start[n], np.uint16 if self.view.width <= 1 << 16 else np.int32)
        cdef Rows rows = Rows.from_csr(values, columns, start, self.view.width)
        job.out = rows.view
        compress_rows(&job, threads)
        if job.has_changed:
            raise ValueError("X must not change while it is converted to sparse rows")
        return rows


cdef int raise_not_finite(const cmlp_rows *rows, int64_t row, name) except -1:
    if row == table(8).find_not_finite(rows):
        raise ValueError(f"{name} must be finite; row {row} holds NaN or infinity")
    raise ValueError(f"{name} must be within the range of float32, the network's dtype; row {row} "
                     "holds a number beyond it")


cdef int raise_changed_columns(int64_t width) except -1:
    raise ValueError("X must not change while it is in use; its column indices must be strictly "
                     f"increasing in each row and less than {width}")


cdef struct Compression:
    const cmlp_kernels *kernels
    const cmlp_rows *rows       # dense
    int64_t *counts             # (n,): written by the first pass: elements of each row
    cmlp_rows out               # written by the second pass; `start` is NULL in the first
    bint has_changed            # whether the rows changed between the passes


cdef void compress_block(void *arg, int64_t block, int64_t blocks) noexcept nogil:
    # Phase: count the elements of rows, or copy them.
    cdef Compression *job = <Compression *> arg
    cdef Range rows = split_range(job.rows.n, 1, block, blocks)
    if job.out.start == NULL:
        job.kernels.count_nonzeros(job.rows, rows.first, rows.size, job.counts)
    else:
        if not job.kernels.compress(job.rows, rows.first, rows.size, &job.out, 0):
            job.has_changed = True


cdef void compress_rows(Compression *job, int threads) noexcept:
    cdef int64_t blocks = 1 if threads == 1 else threads * CMLP_LARGE_PHASE_BLOCKS
    cdef cmlp_team *team
    with nogil:
        team = begin_team(threads)
        run_phase(team, compress_block, job, min(blocks, job.rows.n))
        end_team(team)


cdef class Targets:
    """Targets of the samples: class labels or values. The array is not copied.

    Parameters
    ----------
    array : ndarray
        Class labels, int32, shape (n_samples,), or values of the parameters' dtype, shape
        (n_samples, n_outputs), C-contiguous.

    Attributes
    ----------
    n : int
        Number of samples.
    array : ndarray
    """

    def __init__(self, array):
        self.n, self.array = array.shape[0], array
        self.view.ld = array.shape[array.ndim - 1]
        if self.n == 0:
            return
        if array.ndim == 1:
            self.labels = array
            self.view.labels = &self.labels[0]
        elif array.itemsize == 4:
            self.float_values = array
            self.view.values = &self.float_values[0, 0]
        else:
            self.double_values = array
            self.view.values = &self.double_values[0, 0]

    @property
    def sample_weights(self):
        """The sample weights, float64 of shape (n_samples,), or None."""
        return None if self.view.weights == NULL else np.asarray(self.weights)

    def set_weights(self, weights):
        """Set the sample weights, and return the same object.

        Parameters
        ----------
        weights : ndarray of float64, shape (n_samples,), or None
            None: every sample has weight 1.

        Returns
        -------
        Targets
        """
        if weights is None:
            self.view.weights = NULL
        else:
            self.weights = weights
            self.view.weights = &self.weights[0]
        return self


# Arrays of metric sums for classes, for several labels per sample, and for real targets; see
# csrc/kernels.h.
CLASS_SUMS = ("hits", "predicted", "actual", "ranks")
LABEL_SUMS = ("hits", "predicted", "actual")
SAMPLE_SUMS = ("exact", "sample_precision", "sample_recall", "sample_f1")
REAL_SUMS = ("first", "target", "target_square", "error", "error_square")


cdef class MetricSums:
    """Sums over samples from which metrics are computed (see csrc/kernels.h).

    Parameters
    ----------
    task : str
        ``"binary"`` or ``"multiclass"``: outputs are compared with classes; ``"multilabel"``: each
        output with a label of its own; ``"regression"``: with real targets.
    outputs : int
        Number of outputs; a single output distinguishes two classes.

    Attributes
    ----------
    arrays : dict of str to ndarray of float64
        The sums by name: of shape (n_classes,), (n_outputs,) or, for sums over samples, (1,).
    samples : float
        Number of samples.

    Raises
    ------
    ValueError
        If the task is unknown.
    """

    def __init__(self, str task, int outputs):
        if task == "regression":
            self.arrays = {name: np.zeros(outputs) for name in REAL_SUMS}
            self.sums.first = get_address(self.arrays["first"])
            self.sums.target = get_address(self.arrays["target"])
            self.sums.target_square = get_address(self.arrays["target_square"])
            self.sums.error = get_address(self.arrays["error"])
            self.sums.error_square = get_address(self.arrays["error_square"])
            return
        if task == "multilabel":
            self.arrays = {name: np.zeros(outputs) for name in LABEL_SUMS}
            self.arrays.update({name: np.zeros(1) for name in SAMPLE_SUMS})
            self.sums.exact = get_address(self.arrays["exact"])
            self.sums.sample_precision = get_address(self.arrays["sample_precision"])
            self.sums.sample_recall = get_address(self.arrays["sample_recall"])
            self.sums.sample_f1 = get_address(self.arrays["sample_f1"])
        elif task in ("binary", "multiclass"):
            self.arrays = {name: np.zeros(max(outputs, 2)) for name in CLASS_SUMS}
            self.sums.ranks = get_address(self.arrays["ranks"])
        else:
            raise ValueError("task must be binary, multiclass, multilabel or regression; "
                             f"got {task!r}")
        self.sums.hits = get_address(self.arrays["hits"])
        self.sums.predicted = get_address(self.arrays["predicted"])
        self.sums.actual = get_address(self.arrays["actual"])

    @property
    def samples(self):
        return self.sums.samples

    @samples.setter
    def samples(self, double samples):
        self.sums.samples = samples


cdef double *get_address(array) except NULL:
    cdef double[::1] view = array
    return &view[0]
