"""Files from public mirrors: into place whole, and only with the right content."""

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

CHUNK = 1 << 16


class DownloadError(OSError):
    """A file could not be had from any mirror."""


def download(name, mirrors, sha256, folder, *, packed=False, timeout=4.0, deadline=None):
    """Fetch a gzip file into `folder` from the first mirror that gives the right bytes.

    A transfer that is cut off goes on where it stopped, on the same mirror while it gains
    ground and otherwise, from the beginning, on the next.

    Parameters
    ----------
    name : str
        Of the file, on the mirrors and here.
    mirrors : sequence of str
        Base addresses.
    sha256 : str
        Hexadecimal, of the decompressed bytes, or, when `packed`, of the gzip file itself.
    folder : pathlib.Path
    packed : bool
    timeout : float
        Seconds that a mirror may take to answer, and to go on.
    deadline : float, optional
        Of `time.monotonic`, for the whole.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    DownloadError
        Naming each mirror and why it failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reasons = []
    for mirror in mirrors:
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=".part")
        try:
            with os.fdopen(handle, "w+b") as file:
                fetch(mirror + name, file, timeout, deadline)
                check(file, sha256, packed)
            os.chmod(temporary, 0o644)
            os.replace(temporary, folder / name)
            return folder / name
        except (OSError, EOFError, http.client.HTTPException, ValueError) as error:
            reasons.append(f"{mirror + name}: {error}")
        finally:
            Path(temporary).unlink(missing_ok=True)
    raise DownloadError("; ".join(reasons))


def fetch(url, file, timeout, deadline):
    """Write the content of `url` to `file`, resuming while each attempt gains ground."""
    look_up(urlsplit(url).hostname, timeout)
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
    """Append to `file` what one request gives; return whether that was all."""
    request = urllib.request.Request(url, headers={"User-Agent": "cmlp"})
    if file.tell():
        request.add_header("Range", f"bytes={file.tell()}-")
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        if file.tell() and answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            file.seek(0)
            file.truncate()
        left = int(answer.headers.get("Content-Length", -1))
        with progress_bar(url, file.tell(), left) as bar:
            while chunk := answer.read1(CHUNK):
                if deadline is not None and time.monotonic() > deadline:
                    raise DownloadError("it takes too long")
                file.write(chunk)
                left -= len(chunk)
                bar.update(len(chunk))
    return left <= 0


def look_up(host, timeout):
    """Resolve a host's name within `timeout` seconds, which the resolver alone may exceed."""
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


def check(file, sha256, packed):
    """Raise `ValueError` unless the gzip `file`, or what it unpacks to, has this hash."""
    file.seek(0)
    found = hashlib.sha256()
    with gzip.GzipFile(fileobj=file) as unpacked:
        source = file if packed else unpacked
        while chunk := source.read(1 << 20):
            found.update(chunk)
    if found.hexdigest() != sha256:
        raise ValueError(f"wrong content, its SHA-256 is {found.hexdigest()}, not {sha256}")


def progress_bar(url, done, left):
    """Return a bar on a terminal, and elsewhere one that shows nothing."""
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
