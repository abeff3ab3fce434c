"""Replacement of files: order of system calls, faults, permissions, links, and killed processes."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from cmlp import Network
from cmlp.formats import atomic


def write(path, data=b"new"):
    with atomic.replace_file(path) as file:
        file.write(data)


@pytest.fixture
def net():
    return Network([3, 4, 2], activation="relu", loss="cross_entropy", seed=0)


def test_data_reach_the_disk_before_the_rename(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(handle):
        status = os.fstat(handle)
        is_directory = stat.S_ISDIR(status.st_mode)
        events.append(("sync", status.st_ino, None if is_directory else status.st_size))
        fsync(handle)

    def record_replace(source, target):
        events.append(("rename", os.stat(source).st_ino, str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    paths = [tmp_path / "a", tmp_path / "b"]
    with atomic.replace_files(paths) as files:
        for file in files:
            file.write(b"12345")
    first, second = (path.stat().st_ino for path in paths)
    assert events == [
        ("sync", first, 5), ("sync", second, 5),  # all data: nothing was left in a buffer
        ("rename", first, str(paths[0])), ("rename", second, str(paths[1])),
        ("sync", tmp_path.stat().st_ino, None),
    ]  # fmt: skip


@pytest.mark.parametrize("failing", ["write", "fsync 1", "fsync 2", "rename 1"])
def test_several_files_are_replaced_or_none(tmp_path, net, monkeypatch, failing):
    path = tmp_path / "model.c"
    calls = []

    def fail_at(name, function):
        def call(*arguments):
            calls.append(name)
            if failing == f"{name} {calls.count(name)}":
                raise OSError(errno.ENOSPC, "No space left on device")
            return function(*arguments)

        return call

    if failing == "write":
        monkeypatch.setattr("cmlp.formats.c_source.SourceRenderer.render_arrays", lambda _: 1 / 0)
    monkeypatch.setattr(os, "fsync", fail_at("fsync", os.fsync))
    monkeypatch.setattr(os, "replace", fail_at("rename", os.replace))
    for before in (set(), {"model.c", "model.h"}):
        for name in before:
            (tmp_path / name).write_text("old")
        calls.clear()
        with pytest.raises((OSError, ZeroDivisionError)):
            net.to_c(path)
        assert set(os.listdir(tmp_path)) == before
        assert all((tmp_path / name).read_text() == "old" for name in before)


def test_a_full_disk_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    code = (
        "import sys, resource, signal; from cmlp import Network\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "net = Network([100, 90, 2], loss='cross_entropy', seed=0)\n"
        "net.to_c(sys.argv[1] + '/warm.c')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "for name, write in (('a.c', net.to_c), ('a.npz', net.save), ('a.onnx', net.to_onnx)):\n"
        "    try:\n        write(sys.argv[1] + '/' + name)\n"
        "    except OSError:\n        print('OSError')\n"
    )
    assert resource
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "OSError\n" * 3
    assert sorted(os.listdir(tmp_path)) == ["warm.c", "warm.h"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_an_existing_file_keeps_its_permissions(tmp_path, net, mode):
    path = tmp_path / "net.npz"
    for _ in range(2):
        net.save(path)
        path.chmod(mode)
    net.save(path)
    assert path.stat().st_mode & 0o7777 == mode


def test_data_of_a_private_file_are_never_readable_by_others(tmp_path):
    path = tmp_path / "file"
    path.touch(0o600)
    with atomic.replace_file(path) as file:
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path, net):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "net.npz", tmp_path / "link.npz"
    link.symlink_to(target)
    net.save(link)  # the target does not exist yet
    net.save(link)
    assert link.is_symlink()
    assert os.readlink(link) == str(target)
    assert not target.is_symlink()
    assert (Network.load(target).weight[0] == net.weight[0]).all()
    assert os.listdir(tmp_path / "folder") == ["net.npz"]
    again = tmp_path / "again.npz"
    again.symlink_to("link.npz")  # relative, to a link
    net.save(again)
    assert os.readlink(again) == "link.npz"
    loop = tmp_path / "loop.npz"
    loop.symlink_to("loop.npz")
    with pytest.raises((ValueError, OSError)):
        net.save(loop)
    assert loop.is_symlink()
    nowhere = tmp_path / "nowhere.npz"
    nowhere.symlink_to(tmp_path / "missing" / "net.npz")
    with pytest.raises(FileNotFoundError, match="path must be in an existing directory; got"):
        net.save(nowhere)


def test_other_files_are_refused(tmp_path, net):
    (tmp_path / "folder.npz").mkdir()
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("folder.npz", "pipe.npz"):
        with pytest.raises(ValueError, match=f"path must be a regular file .*{name}"):
            net.save(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["folder.npz", "pipe.npz"]


# Writes a file and is killed before it is complete, as far as the argument says.
WRITER = """
import os, signal, sys
from cmlp.formats import atomic

with atomic.replace_file(sys.argv[1]) as file:
    file.write(b"half of the data")
    file.flush()
    print("writing", flush=True)
    sys.stdin.readline()
"""


def start_writer(path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "writing\n"
    return process


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("action", ["save", "resume"])
def test_files_of_killed_processes_are_removed(tmp_path, net, action):
    path, other = tmp_path / "net.npz", tmp_path / "net.npz.more.npz"
    net.save(path)
    for process in [start_writer(target) for target in (path, path, other)]:
        kill(process)
    (tmp_path / ".net.npz.mine.part").touch()  # not the name of a temporary file
    assert len(os.listdir(tmp_path)) == 5
    if action == "save":
        net.save(path)
    else:
        with pytest.raises(ValueError, match="without a checkpoint"):
            Network.resume(path)
    kept = sorted(os.listdir(tmp_path))
    assert len(kept) == 3
    assert kept[0] == ".net.npz.mine.part"
    assert kept[1].startswith(".net.npz.more.npz.")
    assert kept[2] == "net.npz"


def test_the_file_of_a_live_process_is_never_removed(tmp_path, net):
    path = tmp_path / "net.npz"
    process = start_writer(path)
    [temporary] = os.listdir(tmp_path)
    os.utime(tmp_path / temporary, (0, 0))  # however old it is
    net.save(path)
    with pytest.raises(ValueError, match="without a checkpoint"):
        Network.resume(path)
    assert sorted(os.listdir(tmp_path)) == [temporary, "net.npz"]
    process.communicate("\n")
    assert process.returncode == 0
    assert path.read_bytes() == b"half of the data"
    assert os.listdir(tmp_path) == ["net.npz"]


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def fail(handle, operation):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", fail)
    path = tmp_path / "file"
    old, recent = tmp_path / ".file.0123abcd.part", tmp_path / ".file.456789ef.part"
    for stale in (old, recent):
        stale.touch()
    os.utime(old, (time.time() - 2 * atomic.STALE_SECONDS,) * 2)
    write(path)
    assert sorted(os.listdir(tmp_path)) == [recent.name, "file"]


def test_many_threads_write_the_same_file(tmp_path):
    path, errors = tmp_path / "file", []

    def work(value):
        try:
            for _ in range(20):
                write(path, bytes([value]) * 10000)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    data = path.read_bytes()
    assert len(data) == 10000
    assert len(set(data)) == 1
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ['a"b.c', "a\nb.c", "a\\b.c", "a'b.c", "a\rb.c", "a\x00b.c"])
def test_names_that_an_include_cannot_quote_are_refused(tmp_path, net, name):
    with pytest.raises(ValueError, match=r"path must have a file name that #include can quote"):
        net.to_c(tmp_path / name)
    assert not os.listdir(tmp_path)


def test_names_with_other_characters(tmp_path, net):
    path = tmp_path / "mein Netz (ä) %n.c"
    net.to_c(path)
    assert path.read_text().startswith('#include <math.h>\n#include "mein Netz (ä) %n.h"\n')


def make_overflowing(dtype, value, normalization=None):
    """Return a network whose first layer has this value."""
    net = Network([3, 4, 2], activation="relu", loss="cross_entropy", dtype=dtype, seed=0,
                  normalization=normalization)  # fmt: skip
    net.weight[0][1, 2] = value
    return net


@pytest.mark.parametrize(("dtype", "value"), [("float32", np.nan), ("float32", -np.inf),
                                              ("float64", np.nan), ("float64", 1e39)])  # fmt: skip
@pytest.mark.parametrize("format", ["c", "int8", "onnx", "torch", "npz"])
def test_exports_refuse_parameters_that_are_not_finite(tmp_path, dtype, value, format):
    net = make_overflowing(dtype, value)
    exports = {
        "c": lambda: net.to_c(tmp_path / "net.c"),
        "int8": lambda: net.to_c(tmp_path / "net.c", weights="int8"),
        "onnx": lambda: net.to_onnx(tmp_path / "net.onnx"),
        "torch": lambda: net.to_torch(),
        "npz": lambda: net.save(tmp_path / "net.npz"),
    }
    if format == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    if value == 1e39 and format in ("torch", "npz"):
        exports[format]()  # float64 holds it
        return
    with pytest.raises(ValueError, match=r"weight\[0\] must be finite in .* at \[1, 2\]"):
        exports[format]()
    assert not os.listdir(tmp_path)


def test_exports_check_what_they_fold(tmp_path):
    net = make_overflowing("float64", 1e30, normalization="batch")
    net.running_variance[0][:] = 1e-30
    net.scale[0][:] = 1e10
    for write in (net.to_c, net.to_onnx):
        with pytest.raises(ValueError, match=r"weight\[0\] must be finite in float32"):
            write(tmp_path / "net.c")
    net = make_overflowing("float32", 1.0, normalization="batch")
    net.running_mean[0][3] = np.nan
    for write in (net.to_c, net.to_onnx):
        with pytest.raises(ValueError, match=r"running_mean\[0\] must be finite .* got nan at \[3"):
            write(tmp_path / "net.c")
    for parameter in (1e300, 1e-300):
        net = Network([3, 2], output=["elu", parameter], loss="mse", dtype="float64", seed=0)
        for write in (net.to_c, net.to_onnx):
            with pytest.raises(ValueError, match="the parameter of elu of layer 0 must be in the"):
                write(tmp_path / "net.c")
    assert not os.listdir(tmp_path)


def test_imports_refuse_parameters_that_are_not_finite():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2), torch.nn.ReLU(),
                                 torch.nn.Linear(2, 2))  # fmt: skip
    module[3].bias.data[1] = float("nan")
    with pytest.raises(ValueError, match=r"bias\[1\] must be finite in float32; got nan at \[1"):
        Network.from_torch(module)
    module[1].running_var[0] = -1
    with pytest.raises(ValueError, match="layer 1: BatchNorm1d must have variances of at least 0"):
        Network.from_torch(module)
    from sklearn.neural_network import MLPRegressor

    estimator = MLPRegressor(hidden_layer_sizes=(2,), max_iter=1)
    with pytest.warns(Warning, match="Maximum iterations"):
        estimator.fit(np.eye(3), np.arange(3.0))
    estimator.coefs_[1][0, 0] = np.inf
    with pytest.raises(ValueError, match=r"weight\[1\] must be finite in float64; got inf"):
        Network.from_sklearn(estimator)
