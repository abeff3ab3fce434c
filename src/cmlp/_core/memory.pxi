# Zeroed memory that is recycled.

# Blocks of at most this many bytes are recycled. The page faults of a new block of 100 KB took
# 10 us, as long as a vector-Jacobian product of 784-30-10 with 10 samples (Sapphire Rapids).
MAX_RECYCLED_BYTES = 1 << 20

cdef enum:
    MAX_SPARES = 4
    PAGE = 4096

PAGE_BYTES = PAGE

# What `Memory` objects have given back, for the next ones of the same size.
cdef void *spare_data[MAX_SPARES]
cdef size_t spare_size[MAX_SPARES]
cdef int oldest_spare = 0


cdef class Memory:
    """Zeros that start on a page boundary, a buffer of bytes.

    Parameters
    ----------
    size : int
        Number of bytes, from 1 to `MAX_RECYCLED_BYTES`.
    """
    cdef void *data
    cdef size_t size

    def __cinit__(self, size_t size):
        cdef int i
        if not 1 <= size <= MAX_RECYCLED_BYTES:
            raise ValueError(f"size must be from 1 to {MAX_RECYCLED_BYTES}; got {size}")
        for i in range(MAX_SPARES):
            if spare_data[i] != NULL and spare_size[i] == size:
                self.data, spare_data[i] = spare_data[i], NULL
                break
        if self.data == NULL and posix_memalign(&self.data, PAGE, size):
            self.data = NULL
            raise MemoryError(f"cannot allocate {size} bytes")
        self.size = size
        memset(self.data, 0, size)

    def __dealloc__(self):
        global oldest_spare
        free(spare_data[oldest_spare])
        spare_data[oldest_spare], spare_size[oldest_spare] = self.data, self.size
        oldest_spare = (oldest_spare + 1) % MAX_SPARES

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, <Py_ssize_t> self.size, 0, flags)
