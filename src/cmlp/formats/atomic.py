"""Atomic replacement of files.

The data are written to a temporary file ``.NAME.XXXXXXXX.part`` in the same directory, synced to
disk and renamed. A process that is killed in between leaves its temporary file behind; the next
replacement of the same path removes it. A live process holds a lock on its temporary file, by which
a file that is still written is recognized.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
import time

from cmlp._utils.validation import decode_path

# Age after which a temporary file counts as stale on a file system that does not support locks.
STALE_SECONDS = 24 * 3600


@contextlib.contextmanager
def replace_file(path):
    """Open a temporary file that replaces the file `path` when the block ends; see `replace_files`.

    Parameters
    ----------
    path : str or os.PathLike

    Yields
    ------
    file : binary file object
    """
    with replace_files([path]) as [file]:
        yield file


@contextlib.contextmanager
def replace_files(paths):
    """Open temporary files that replace files when the block ends.

    All data are synced to disk before the first rename. If the block raises, no file has changed
    and the temporary files are deleted. An existing file keeps its permissions and, if the system
    allows it, its owner; a symbolic link is followed, and the file that it refers to is replaced.

    Parameters
    ----------
    paths : list of str or os.PathLike

    Yields
    ------
    files : list of binary file objects

    Raises
    ------
    FileNotFoundError
        If the directory of a path does not exist.
    ValueError
        If a path exists and is not a regular file.
    """
    targets = [find_target(path) for path in paths]
    for target in targets:
        remove_stale(target)
    with contextlib.ExitStack() as stack:
        temporaries = [stack.enter_context(TemporaryFile(target)) for target in targets]
        yield [temporary.file for temporary in temporaries]
        for temporary in temporaries:
            temporary.sync()
        for temporary in temporaries:
            temporary.rename()
        for directory in dict.fromkeys(os.path.dirname(target) for target in targets):
            sync_directory(directory)


def find_target(path):
    """Return the absolute path of the file that writing to `path` replaces.

    It differs from `path` if that is a symbolic link.

    Raises
    ------
    FileNotFoundError
        If its directory does not exist.
    ValueError
        If it exists and is not a regular file.
    """
    path = decode_path(path)
    target = os.path.realpath(path)
    if not os.path.isdir(os.path.dirname(target)):
        raise FileNotFoundError(f"path must be in an existing directory; got {path!r}")
    status = read_status(target)
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise ValueError(f"path must be a regular file or a new one; got {path!r}")
    return target


def read_status(path):
    """Return the status of a file, without following a symbolic link; None without a file."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


class TemporaryFile:
    """A locked file beside `target`, which `rename` makes the new `target`.

    It is used in a ``with`` statement, whose end deletes the file unless it has been renamed.

    Parameters
    ----------
    target : str
        Absolute path.
    """

    def __init__(self, target):
        self.target = target
        self.path, handle = create_locked(target)
        self.file = os.fdopen(handle, "wb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # The lock ends with the file's closing, so the file is deleted first.
        if self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        # The buffer may hold bytes for which the disk has no room: an error of `sync`.
        with contextlib.suppress(OSError):
            self.file.close()

    def sync(self):
        """Write all data to disk and set the permissions of an existing target."""
        status = read_status(self.target)
        if status is not None:
            handle = self.file.fileno()
            for owner in ((-1, status.st_gid), (status.st_uid, -1)):
                with contextlib.suppress(PermissionError):
                    os.fchown(handle, *owner)
            os.fchmod(handle, stat.S_IMODE(status.st_mode))
        self.file.flush()
        os.fsync(self.file.fileno())

    def rename(self):
        """Replace the target."""
        os.replace(self.path, self.target)
        self.path = None


def create_locked(target):
    """Create a temporary file beside `target` and lock it; return its path and its descriptor."""
    directory, name = os.path.split(target)
    # Permissions of a new file follow the umask; those of an existing one are set before the
    # rename, and until then only the owner can read the data.
    mode = 0o666 if read_status(target) is None else 0o600
    while True:
        path = os.path.join(directory, f".{name}.{os.urandom(4).hex()}.part")
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError:
            continue
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            # Another process may have removed the file as stale before it was locked.
            if os.fstat(handle).st_nlink:
                return path, handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def remove_stale(path):
    """Remove the temporary files that killed processes left beside the file `path`.

    Files that a process still writes are locked and remain. Errors are ignored.

    Parameters
    ----------
    path : str or os.PathLike
    """
    directory, name = os.path.split(os.path.realpath(decode_path(path)))
    is_temporary = re.compile(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}\.part").fullmatch
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if is_temporary(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    remove_if_stale(entry.path)


def remove_if_stale(path):
    """Remove a temporary file unless a process still writes it."""
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # EWOULDBLOCK: a process writes it. Otherwise the file system does not support locks.
            if error.errno == errno.EWOULDBLOCK or time.time() - status.st_mtime < STALE_SECONDS:
                return
        if os.path.samestat(status, os.lstat(path)):
            os.unlink(path)
    finally:
        os.close(handle)


def sync_directory(directory):
    """Sync a directory, which makes a rename durable, on systems that support it."""
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
