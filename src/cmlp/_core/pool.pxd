# The pool of worker threads (csrc/pool.h), and how work is divided into blocks. This module owns
# the pool of the process; the other modules call its functions.
from libc.stdint cimport int64_t

ctypedef void (*cmlp_phase)(void *arg, int64_t block, int64_t blocks) noexcept nogil


cdef extern from "pool.h" nogil:
    ctypedef struct cmlp_team:
        pass


# Form a team of at most `threads` members; NULL: the caller alone.
cdef cmlp_team *begin_team(int threads) noexcept nogil

# Return the members of a team to the pool.
cdef void end_team(cmlp_team *team) noexcept nogil

# Run phase(arg, block, blocks) for each block, by all members of the team.
cdef void run_team_phase(cmlp_team *team, cmlp_phase phase, void *arg,
                         int64_t blocks) noexcept nogil


cdef inline void run_phase(cmlp_team *team, cmlp_phase phase, void *arg,
                           int64_t blocks) noexcept nogil:
    # Run a phase by a team or, without one or if it has only one block, by the caller.
    cdef int64_t block
    if team == NULL or blocks == 1:
        for block in range(blocks):
            phase(arg, block, blocks)
    else:
        run_team_phase(team, phase, arg, blocks)


# Elements first .. first + size.
cdef struct Range:
    int64_t first, size


cdef inline Range split_range(int64_t n, int64_t unit, int64_t block,
                              int64_t blocks) noexcept nogil:
    # Return the contiguous share of n elements that belongs to a block. Shares begin at multiples
    # of `unit` elements and differ by at most one unit; the size is 0 if a block gets none.
    cdef int64_t units = (n + unit - 1) // unit
    cdef int64_t first = units * block // blocks * unit
    cdef int64_t end = min(units * (block + 1) // blocks * unit, n)
    return Range(first, end - first)
