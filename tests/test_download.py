"""Downloads from a local server: complete, interrupted, wrong, missing."""

import functools
import gzip
import hashlib
import http.server
import re
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from test_datasets import idx_bytes

from cmlp import datasets
from cmlp.datasets import download as downloads
from cmlp.datasets import mnist

CONTENT = {
    name: idx_bytes(np.full((5, 4, 4) if "images" in name else 5, i, np.uint8))
    for i, name in enumerate(mnist.FILES)
}
PACKED = {f"/{name}.gz": gzip.compress(data) for name, data in CONTENT.items()}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves PACKED: /cut/ closes the connection early, /wrong/ and /junk/ send other bytes."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        kind, name = re.fullmatch(r"/(\w+)(/.*)", self.path).groups()
        if kind == "absent":
            self.send_error(404)
            return
        data = PACKED[name]
        if kind == "wrong":
            data = gzip.compress(b"other content")
        if kind == "junk":
            data = b"this is no gzip file"
        start = 0
        wanted = self.headers.get("Range")
        if wanted and kind != "restart":
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        if kind == "stuck" or (kind in ("cut", "restart") and not wanted):
            body = body[: len(body) // 2 if kind != "stuck" else 0]
        if kind == "slow":
            for byte in body:
                time.sleep(0.05)
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        server.daemon_threads = True
        thread = threading.Thread(target=functools.partial(server.serve_forever, 0.01))
        thread.start()
        server.address = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def source(server, monkeypatch, tmp_path):
    """Return a function that sets MNIST's mirrors to these kinds; the cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("CMLP_DATA", raising=False)
    hashes = tuple(hashlib.sha256(CONTENT[name]).hexdigest() for name in mnist.FILES)

    def use(*kinds):
        mirrors = tuple(f"{server.address}/{kind}/" for kind in kinds)
        made = replace(mnist.MNIST, mirrors=mirrors, sha256=hashes)
        monkeypatch.setattr(mnist, "MNIST", made)
        return made

    return use


def check(data):
    (x_train, y_train), (x_test, y_test) = data
    assert x_train.shape == x_test.shape == (5, 4, 4)
    assert [a.flat[0] for a in (x_train, y_train, x_test, y_test)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "kinds", [["good"], ["absent", "good"], ["wrong", "good"], ["junk", "good"], ["cut"],
              ["restart"], ["stuck", "good"]],
)  # fmt: skip
def test_download(source, server, kinds):
    source(*kinds)
    check(datasets.load_mnist())
    asked = len(server.asked)
    check(datasets.load_mnist(download=False))
    assert len(server.asked) == asked
    folder = mnist.get_cache_directory() / "mnist"
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"{n}.gz" for n in mnist.FILES)
    resumed = {wanted for _, wanted in server.asked if wanted}
    assert bool(resumed) == (kinds[0] in ("cut", "restart"))


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        (["absent", "absent"], "404"),
        (["wrong"], "wrong content, its SHA-256 is"),
        (["junk"], "Not a gzipped file"),
        (["stuck"], "the connection was cut after 0 bytes"),
    ],
)
def test_a_failed_download_names_the_reason_and_leaves_no_file(source, kinds, reason):
    source(*kinds)
    with pytest.raises(FileNotFoundError, match=reason) as caught:
        datasets.load_mnist()
    folder = mnist.get_cache_directory() / "mnist"
    assert f"into {folder}, or into the subdirectory 'mnist' of the directory in CMLP_DATA" in str(
        caught.value
    )
    assert list(folder.iterdir()) == []


def test_hash_of_the_packed_file(source, server, tmp_path):
    name = f"{mnist.FILES[0]}.gz"
    packed = hashlib.sha256(PACKED["/" + name]).hexdigest()
    mirrors = [f"{server.address}/good/"]
    assert downloads.download(name, mirrors, packed, tmp_path, packed=True).is_file()
    with pytest.raises(downloads.DownloadError, match="wrong content"):
        downloads.download(name, mirrors, packed, tmp_path)


def test_a_slow_download_is_abandoned(source):
    source("slow")
    with pytest.raises(FileNotFoundError, match="the deadline has passed"):
        datasets.load_mnist(patience=0.3)


def test_offline(source, monkeypatch):
    # Port 9 of the local host refuses connections; the resolver does not answer in time.
    monkeypatch.setattr(mnist, "MNIST", replace(source(), mirrors=("http://127.0.0.1:9/",) * 2))
    with pytest.raises(FileNotFoundError, match="refused"):
        datasets.load_mnist()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: time.sleep(2))
    with pytest.raises(OSError, match=r"name nowhere was not resolved within 0.1 s"):
        downloads.resolve_host("nowhere", 0.1)


def test_directories_that_are_searched(source, tmp_path, monkeypatch):
    source()
    with pytest.raises(FileNotFoundError, match="may not be downloaded"):
        datasets.load_mnist(download=False)
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for name, data in CONTENT.items():
        (folder / name).write_bytes(data)
    check(datasets.load_mnist(folder, download=False))
    check(datasets.load_mnist(folder.parent, download=False))
    monkeypatch.setenv("CMLP_DATA", str(folder.parent))
    check(datasets.load_mnist(download=False))
    with pytest.raises(FileNotFoundError, match="fashion-mnist is not on this machine"):
        datasets.load_fashion_mnist(download=False)
    (folder / mnist.FILES[1]).write_bytes(idx_bytes(np.zeros(4, np.uint8)))
    with pytest.raises(ValueError, match="must have one label for each image"):
        datasets.load_mnist(download=False)


def test_every_mirror_is_https():
    for source in (mnist.MNIST, mnist.FASHION_MNIST):
        assert len(source.mirrors) == 2
        assert all(mirror.startswith("https://") for mirror in source.mirrors)
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in source.sha256)


def test_the_real_digits_have_the_known_hashes():
    folder = mnist.find(mnist.MNIST, None)
    if folder is None:
        pytest.skip("CMLP_DATA has no MNIST")
    for name, digest in zip(mnist.FILES, mnist.MNIST.sha256, strict=True):
        path = mnist.find_file(folder, name)
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        assert hashlib.sha256(data).hexdigest() == digest
