"""Download of files from public mirrors, verified by their SHA-256."""

import gzip
import hashlib
import http.client
import os
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

READ_BYTES = 1 << 16  # maximum number of bytes per read from the connection
HASH_BYTES = 1 << 20  # number of bytes hashed at a time


class DownloadError(OSError):
    """No mirror provided the file."""


def download(name, mirrors, sha256, folder, *, packed=False, timeout=4.0, deadline=None):
    """Download a gzip file into a directory from the first mirror that provides it.

    An interrupted download resumes on the same mirror as long as it makes progress; otherwise
    it restarts on the next mirror. The file gets its final name only after its hash has been
    verified, so a partial or wrong file is never visible under that name.

    Parameters
    ----------
    name : str
        The file's name, both on the mirrors and in `folder`.
    mirrors : sequence of str
        Base URLs, each ending in a slash.
    sha256 : str
        Expected SHA-256 in hexadecimal: of the decompressed content, or of the gzip file
        itself if `packed`.
    folder : pathlib.Path
        The directory; it is created if it does not exist.
    packed : bool, default False
    timeout : float, default 4.0
        Seconds to wait for a mirror's host name, connection and each piece of data.
    deadline : float, optional
        Value of `time.monotonic` after which the download fails.

    Returns
    -------
    pathlib.Path
        The downloaded file.

    Raises
    ------
    DownloadError
        If no mirror provides the file; the message gives each mirror's URL and error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reasons = []
    for mirror in mirrors:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=".part")
        try:
            with os.fdopen(handle, "w+b") as file:
                fetch(mirror + name, file, timeout, deadline)
                check_hash(file, sha256, packed)
            os.chmod(temporary, 0o644)
            os.replace(temporary, folder / name)
            return folder / name
        except (OSError, EOFError, http.client.HTTPException, ValueError) as error:
            reasons.append(f"{mirror + name}: {error}")
        finally:
            Path(temporary).unlink(missing_ok=True)
    raise DownloadError("; ".join(reasons))


def fetch(url, file, timeout, deadline):
    """Write the content of `url` to `file`; retry as long as each attempt adds data."""
    resolve_host(urlsplit(url).hostname, timeout)
    while True:
        before = file.tell()
        try:
            if transfer(url, file, timeout, deadline):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError:
            raise
        except OSError as error:
            reason = error
        if file.tell() == before:
            raise OSError(f"{reason} after {before} bytes")


def transfer(url, file, timeout, deadline):
    """Append the rest of the content of `url` to `file` with one request.

    If the server ignores the requested range, the file is overwritten from its start.

    Returns
    -------
    bool
        Whether all of the content was received.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "cmlp"})
    if file.tell():
        request.add_header("Range", f"bytes={file.tell()}-")
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        if file.tell() and answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            file.seek(0)
            file.truncate()
        left = int(answer.headers.get("Content-Length", -1))
        with open_progress_bar(url, file.tell(), left) as bar:
            while chunk := answer.read1(READ_BYTES):
                if deadline is not None and time.monotonic() > deadline:
                    raise DownloadError("the deadline has passed")
                file.write(chunk)
                left -= len(chunk)
                bar.update(len(chunk))
    return left <= 0


def resolve_host(host, timeout):
    """Raise `OSError` unless the host's name can be resolved within `timeout` seconds.

    `socket.getaddrinfo` has no timeout and can block for much longer than a connection's, so
    it runs on a thread of its own.
    """
    failure = [OSError(f"the name {host} was not resolved within {timeout:g} s")]

    def resolve():
        try:
            socket.getaddrinfo(host, None)
            failure[0] = None
        except OSError as error:
            failure[0] = error

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(timeout)
    if failure[0] is not None:
        raise failure[0]


def check_hash(file, sha256, packed):
    """Raise `ValueError` unless the gzip file (`packed`) or its content has this SHA-256."""
    file.seek(0)
    found = hashlib.sha256()
    with gzip.GzipFile(fileobj=file) as unpacked:
        source = file if packed else unpacked
        while chunk := source.read(HASH_BYTES):
            found.update(chunk)
    if found.hexdigest() != sha256:
        raise ValueError(f"wrong content, its SHA-256 is {found.hexdigest()}, not {sha256}")


def open_progress_bar(url, done, left):
    """Return a tqdm bar, disabled unless standard error is a terminal.

    Parameters
    ----------
    url : str
        Its last component labels the bar.
    done, left : int
        Bytes already received, and bytes still to come; the latter is negative if unknown.
    """
    from tqdm import tqdm

    return tqdm(
        desc=url.rsplit("/", 1)[-1],
        initial=done,
        total=done + left if left >= 0 else None,
        unit="B",
        unit_scale=True,
        disable=not sys.stderr.isatty(),
        leave=False,
    )
