"""The pool of worker threads that all calls of the engine share; csrc/pool.h describes it."""
from libc.stdint cimport INT32_MAX, int64_t

cdef extern from "pool.h" nogil:
    cmlp_team *cmlp_begin_team(int threads)
    void cmlp_end_team(cmlp_team *team)
    void cmlp_run_phase(cmlp_team *team, cmlp_phase phase, void *arg, int64_t blocks)
    int cmlp_count_members(const cmlp_team *team)
    int cmlp_count_workers()
    void cmlp_prepare_pool()
    void cmlp_delay_blocks(int microseconds)
    int cmlp_pool_get_limit()
    void cmlp_pool_set_limit(int limit)

cmlp_prepare_pool()


cdef cmlp_team *begin_team(int threads) noexcept nogil:
    return cmlp_begin_team(threads)


cdef void end_team(cmlp_team *team) noexcept nogil:
    cmlp_end_team(team)


cdef void run_team_phase(cmlp_team *team, cmlp_phase phase, void *arg,
                         int64_t blocks) noexcept nogil:
    cmlp_run_phase(team, phase, arg, blocks)


def count_workers():
    """Return the number of worker threads that exist in this process."""
    return cmlp_count_workers()


def get_limit():
    """Return the maximum number of threads of a call, or None if it is not limited."""
    cdef int limit = cmlp_pool_get_limit()
    return None if limit == INT32_MAX else limit


def set_limit(limit):
    """Limit the number of threads of calls that begin later.

    Parameters
    ----------
    limit : int or None
        None: no limit.

    Raises
    ------
    ValueError
        If `limit` is less than 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 or None; got {limit}")
    cmlp_pool_set_limit(INT32_MAX if limit is None else min(limit, INT32_MAX))


def delay_blocks(int microseconds):
    """Delay each block of every phase by a random time: a hook for tests.

    Parameters
    ----------
    microseconds : int
        The longest delay; 0: none.
    """
    cmlp_delay_blocks(microseconds)
