# The number of blocks into which a job divides, which limits its threads.

cdef int64_t count_blocks(const Job *job, const Layer *layers, bint trains) noexcept:
    # Return into how many blocks the phase with the most of them divides a batch: rows of the
    # batch or, in training, rows or columns of a layer's weights.
    cdef int64_t rows = CMLP_BLAS_BLOCK_ROWS if job.blas != NULL else 1
    cdef int64_t columns = CMLP_COLUMN_BLOCK_BYTES // job.itemsize
    cdef int64_t blocks = (job.batch + rows - 1) // rows
    cdef int l
    if trains:
        for l in range(job.depth):
            blocks = max(blocks, layers[l].inputs // CMLP_UPDATE_BLOCK_ROWS,
                         layers[l].n // columns)
    return blocks
