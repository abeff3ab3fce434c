"""The controller of cmlp's thread pool for threadpoolctl, which scikit-learn requires.

With it, `threadpoolctl.threadpool_limits` limits the threads of cmlp, and
`threadpoolctl.threadpool_info` lists them. The user API is ``"cmlp"``.
"""

import threadpoolctl

from cmlp._core import pool
from cmlp._utils.threads import count_available_cpus
from cmlp._version import __version__


class ThreadPoolController(threadpoolctl.LibController):
    """Limit the threads of calls that begin later, in the whole process."""

    user_api = "cmlp"
    internal_api = "cmlp"
    filename_prefixes = ("pool",)
    check_symbols = ("cmlp_pool_get_limit", "cmlp_pool_set_limit")

    def get_num_threads(self):
        """Return the maximum number of threads of a call."""
        return min(pool.get_limit() or count_available_cpus(), count_available_cpus())

    def set_num_threads(self, num_threads):
        """Limit the number of threads; the number of available CPUs means no limit."""
        pool.set_limit(num_threads if num_threads < count_available_cpus() else None)

    def get_version(self):
        """Return the version of cmlp."""
        return __version__


def register_controller():
    """Make the pool known to threadpoolctl, if its version supports other libraries."""
    if hasattr(threadpoolctl, "register"):  # from version 3.2 on
        threadpoolctl.register(ThreadPoolController)
