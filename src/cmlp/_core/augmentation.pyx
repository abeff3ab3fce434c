"""Random distortions of images; csrc/distort.h describes them."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

from cmlp._core.inputs cimport Rows
from cmlp._core.kernels cimport (
    CMLP_DISTORTION_BLOCK_ELEMENTS, CMLP_DISTORTIONS, CMLP_PAD, cmlp_distortion, cmlp_kernels,
    cmlp_rng_key, cmlp_rows, pad_floats, table)
from cmlp._core.pool cimport Range, begin_team, cmlp_team, end_team, run_phase, split_range


cdef extern from "claims.h" nogil:
    int64_t claim "cmlp_claim"(int64_t *next) noexcept


cdef struct Job:
    const cmlp_kernels *kernels
    const cmlp_distortion *distortion
    const cmlp_rows *rows
    cmlp_rng_key key
    const uint32_t *index       # (n,)
    int64_t n                   # number of images
    char *out                   # (n, elements)
    int64_t image_bytes         # size of an image in `out`
    int64_t blocks, next        # number of blocks of images; the first one that is not claimed
    bint has_no_memory


cdef void draw_blocks(void *arg, int64_t member, int64_t members) noexcept nogil:
    # Phase: distort blocks of images that nobody has claimed.
    cdef Job *job = <Job *> arg
    cdef size_t size = job.kernels.distortion_floats(job.distortion) * sizeof(float)
    cdef void *scratch = NULL
    cdef int64_t block
    cdef Range share
    if posix_memalign(&scratch, CMLP_PAD, size):
        job.has_no_memory = True
        return
    block = claim(&job.next)
    while block < job.blocks:
        share = split_range(job.n, 1, block, job.blocks)
        job.kernels.distort(
            job.distortion, &job.key, job.rows, job.index + share.first, share.size,
            job.out + share.first * job.image_bytes, <float *> scratch)
        block = claim(&job.next)
    free(scratch)


cdef class Distorter:
    """Random distortions of images.

    Parameters
    ----------
    height, width, channels : int
    limits : sequence of ndarray of float64, shape (1,) or (n_samples,)
        The limits of all samples, or of each: rotation and shear in radians, scales, shift in
        pixels, probability of a flip, factor of the displacement field.
    fill : float
        The value outside of an image.
    filters : tuple of ndarray of float32, shape (height, height) and (width, width), or None
        Gaussian filters of the displacement field; None if all factors of the field are 0.
    """

    cdef const cmlp_kernels *kernels
    cdef cmlp_distortion distortion
    cdef readonly tuple limits
    cdef void *smooth_rows
    cdef void *smooth_columns

    def __cinit__(self, int64_t height, int64_t width, int64_t channels, limits, double fill,
                  filters):
        cdef const double[::1] limit
        cdef int quantity
        self.kernels, self.limits = table(4), tuple(limits)
        self.distortion.height, self.distortion.width = height, width
        self.distortion.channels, self.distortion.fill = channels, fill
        for quantity in range(CMLP_DISTORTIONS):
            limit = self.limits[quantity]
            self.distortion.limits[quantity] = &limit[0]
            self.distortion.steps[quantity] = limit.shape[0] > 1
        if filters is not None:
            self.smooth_rows = copy_padded(filters[0])
            self.smooth_columns = copy_padded(filters[1])
            self.distortion.smooth_rows = <const float *> self.smooth_rows
            self.distortion.smooth_columns = <const float *> self.smooth_columns

    def __dealloc__(self):
        free(self.smooth_rows)
        free(self.smooth_columns)


cdef class Drawing:
    """Distorted images, which several threads may compute together.

    Parameters
    ----------
    distorter : Distorter
    rows : Rows
        All samples, dense.
    index : ndarray of uint32, shape (n,)
        The samples to distort, less than the number of rows.
    seed, epoch : int
    out : Rows
        The distorted images, (n, height * width * channels) without gaps between rows, of the type
        of `rows`. They are overwritten.
    """

    cdef Job job
    cdef object references      # the arrays that `job` points to
    cdef const uint32_t[::1] index

    def __init__(self, Distorter distorter not None, Rows rows not None,
                 const uint32_t[::1] index not None, uint64_t seed, uint32_t epoch,
                 Rows out not None):
        cdef Job *job = &self.job
        cdef int64_t images     # of a block
        self.references, self.index = (distorter, rows, out), index
        job.kernels, job.distortion = distorter.kernels, &distorter.distortion
        job.rows, job.key = &rows.view, cmlp_rng_key(seed, epoch, 0)
        job.n = index.shape[0]
        job.index = &index[0] if job.n else NULL
        job.out, job.image_bytes = <char *> out.view.data, out.view.stride
        images = max(1, CMLP_DISTORTION_BLOCK_ELEMENTS // max(rows.view.width, 1))
        job.blocks = (job.n + images - 1) // images

    def run(self, int threads=1):
        """Distort all images that no other thread distorts; return when these are finished.

        Raises
        ------
        MemoryError
            If the intermediate arrays cannot be allocated.
        """
        cdef int members = max(1, <int> min(threads, self.job.blocks - self.job.next))
        cdef cmlp_team *team
        with nogil:
            team = begin_team(members)
            run_phase(team, draw_blocks, &self.job, members)
            end_team(team)
        if self.job.has_no_memory:
            raise MemoryError("cannot allocate the intermediate arrays of distortions")


cdef void *copy_padded(const float[:, ::1] matrix) except NULL:
    # Return a copy whose rows are padded.
    cdef int64_t n = matrix.shape[0], ld = pad_floats(n), i
    cdef void *copy = NULL
    if posix_memalign(&copy, CMLP_PAD, n * ld * sizeof(float)):
        raise MemoryError(f"cannot allocate {n * ld * sizeof(float)} bytes")
    memset(copy, 0, n * ld * sizeof(float))
    for i in range(n):
        memcpy(<float *> copy + i * ld, &matrix[i, 0], n * sizeof(float))
    return copy
