"""Atomic replacement of files."""

import contextlib
import os
import tempfile
from pathlib import Path


@contextlib.contextmanager
def replace_file(path):
    """Open a temporary file that replaces the file `path` when the block ends.

    The data are synced to disk before the rename. If the block raises, `path` is unchanged and
    the temporary file is deleted.

    Parameters
    ----------
    path : str or os.PathLike

    Yields
    ------
    file : binary file object

    Raises
    ------
    FileNotFoundError
        If the directory of `path` does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path must be in an existing directory; got {str(path)!r}")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp creates files that only their owner can read.
        os.chmod(temporary, 0o666 & ~get_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_directory(path.parent)


def get_umask():
    """Return the umask of the process, which the system reports only when it is set."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync_directory(directory):
    """Sync a directory, which makes a rename durable, on systems that support it."""
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
