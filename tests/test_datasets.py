"""Readers of IDX, CSV and NPZ files, and generated digits."""

import contextlib
import gzip
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cmlp import MLP, SGD, datasets
from cmlp.datasets import idx, tables


def idx_bytes(array):
    codes = {np.dtype(name).newbyteorder("="): code for code, name in idx.TYPES.items()}
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, codes[array.dtype], array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


ARRAYS = hnp.arrays(
    st.sampled_from([np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]),
    hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
)


@given(array=ARRAYS, packed=st.booleans())
@settings(max_examples=60)
def test_idx_files_of_any_type_and_shape(tmp_path_factory, array, packed):
    path = tmp_path_factory.mktemp("idx") / "file"
    data = idx_bytes(array)
    path.write_bytes(gzip.compress(data) if packed else data)
    read = datasets.load_idx(path)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)


GOOD = idx_bytes(np.arange(24, dtype=np.int16).reshape(2, 3, 4))


@pytest.mark.parametrize("pack", [lambda b: b, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x08", "not an IDX file"),
        (b"\0\0\x07\1\0\0\0\1a", "not an IDX file"),
        (b"PK\3\4 and more", "not an IDX file"),
        (GOOD[:9], "sizes of 3 dimensions are missing"),
        (GOOD[:-1], "truncated, its shape"),
        (GOOD + b"x", "oversized"),
        (struct.pack(">BBBB4I", 0, 0, 8, 4, *[2**32 - 1] * 4), "truncated, its shape"),
    ],
)
def test_bad_idx_files(tmp_path, pack, data, message):
    path = tmp_path / "images"
    path.write_bytes(pack(data))
    with pytest.raises(ValueError, match=f"{path}: .*{message}"):
        datasets.load_idx(path)


def test_corrupt_gzip(tmp_path):
    whole = bytearray(gzip.compress(idx_bytes(np.arange(3000, dtype=np.int32))))
    path = tmp_path / "images.gz"
    for damage in (whole[:-9], whole[:200], whole[:50] + b"damage" + whole[56:]):
        path.write_bytes(damage)
        with pytest.raises(ValueError, match=f"{path}: "):
            datasets.load_idx(path)


def test_generated_digits_depend_on_the_seed():
    X, y = datasets.make_digits(300, 5)
    assert (X.dtype, X.shape, y.dtype, y.shape) == (np.uint8, (300, 28, 28), np.uint8, (300,))
    assert set(y) == set(range(10))
    again, labels = datasets.make_digits(300, 5)
    assert (again == X).all()
    assert (y == labels).all()
    assert (datasets.make_digits(300, 6)[0] != X).any()
    assert datasets.make_digits(0)[0].shape == (0, 28, 28)
    assert X.reshape(300, -1).max(axis=1).min() > 150
    with pytest.raises(ValueError, match="n must be at least 0"):
        datasets.make_digits(-1)


def test_generated_digits_are_as_hard_as_mnist():
    train, test = datasets.make_digits(20_000, 0), datasets.make_digits(4_000, 1)
    net = MLP([784, 30, 10], seed=0)
    net.fit(*train, epochs=10, batch_size=10, optimizer=SGD(3.0))
    assert 0.93 < net.score(*test) < 0.98


def test_csv(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,label,b\n1,2,3.5\n4,0,6\n\n")
    X, y = datasets.load_csv(path)
    assert X.tolist() == [[1, 3.5], [4, 6]]
    assert y.tolist() == [2, 0]
    assert (X.dtype, y.dtype) == (np.float32, np.int64)
    assert datasets.load_csv(path, "b")[1].tolist() == [3.5, 6]
    assert datasets.load_csv(path, 0)[1].tolist() == [1, 4]
    X, y = datasets.load_csv(path, label=False)
    assert X.shape == (2, 3)
    assert y is None
    path.write_text("1,2\n3,4\n")
    assert datasets.load_csv(path)[1].tolist() == [2, 4]
    assert datasets.load_csv(path, -2)[1].tolist() == [1, 3]
    assert datasets.load_csv(path, header=True)[1].tolist() == [4]


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ("", None, "the file has no rows"),
        ("a,b\n", None, "the file has no rows below the header"),
        ("a,b\n1,2\n3,x\n", None, "row 3, column 1 holds 'x', which is not a finite number"),
        ("1,2\n3,nan\n", None, "row 2, column 1 holds 'nan'"),
        ("1,2\n3\n", None, "row 2 has 1 columns instead of 2"),
        ("a,b\n1,2\n", "c", "column 'c' does not exist; the columns are a, b"),
        ("1,2\n", "c", "column 'c' does not exist; the file has no header"),
        ("1,2\n", 2, "column 2 does not exist; the file has 2 columns"),
    ],
)
def test_bad_csv(tmp_path, text, label, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path}: {message}"):
        datasets.load_csv(path, label)


def test_npz(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, X=np.eye(3), y=np.arange(3))
    (X, y), test = datasets.load_npz(path)
    assert X.shape == (3, 3)
    assert y.tolist() == [0, 1, 2]
    assert test is None
    np.savez(path, x_train=[[1]], y_train=[1], x_test=[[2]], y_test=[2])
    assert datasets.load_npz(path)[1][1].tolist() == [2]
    np.savez(path, Z=[1])
    with pytest.raises(ValueError, match="it must hold X and y"):
        datasets.load_npz(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=str(path)):
        datasets.load_npz(path)
    np.savez(path, X=np.array([{}]), y=[1])
    with pytest.raises(ValueError, match=f"{path}: not a NumPy archive: Object arrays"):
        datasets.load_npz(path)


def make_npy(header, data=b""):
    """Return the bytes of an ``.npy`` member with this text as its header."""
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


VECTOR = "{'descr': '<f8', 'fortran_order': False, 'shape': (%s,), }"


@pytest.mark.parametrize(
    ("contents", "method", "message"),
    [
        (make_npy("{'descr': '<f8', 'shape': (2"), zipfile.ZIP_STORED, "header is invalid"),
        (make_npy(VECTOR % 2 + " @"), zipfile.ZIP_STORED, "header is invalid"),
        (make_npy(VECTOR % -2), zipfile.ZIP_STORED, "header is invalid"),
        (make_npy(VECTOR % "5 * 10**14"), zipfile.ZIP_STORED, "header is invalid"),
        (make_npy(VECTOR % 500000000000000), zipfile.ZIP_STORED, "the 4000000000000000 bytes"),
        (make_npy(VECTOR % 500000000000000), zipfile.ZIP_DEFLATED, "the 4000000000000000 bytes"),
        (make_npy(VECTOR % 2, b"\0" * 15), zipfile.ZIP_DEFLATED, "does not have the 16 bytes"),
        (make_npy(VECTOR % 2, b"\0" * 17), zipfile.ZIP_DEFLATED, "does not have the 16 bytes"),
        (make_npy(VECTOR % 2, b"\0" * 16), zipfile.ZIP_BZIP2, "must be stored or deflated"),
        (make_npy(VECTOR % ("0, " + "9" * 30)), zipfile.ZIP_STORED, ""),
    ],
)
def test_damaged_archives_are_refused(tmp_path, contents, method, message):
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("X.npy", contents)
    with pytest.raises(ValueError, match=f"{path}: not a NumPy archive: .*{message}"):
        datasets.load_npz(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_every_damaged_byte_of_an_archive_is_read_or_refused(memory_path, compressed):
    path, save = memory_path / "data.npz", np.savez_compressed if compressed else np.savez
    save(path, X=np.arange(6.0).reshape(2, 3), y=np.array([0, 1]))
    whole = path.read_bytes()
    for position in range(len(whole)):
        for value in (0, 255, whole[position] ^ 8):
            path.write_bytes(whole[:position] + bytes([value]) + whole[position + 1 :])
            with contextlib.suppress(ValueError):
                datasets.load_npz(path)


def test_only_the_arrays_of_the_data_are_read(tmp_path, monkeypatch):
    path = tmp_path / "data.npz"
    np.savez(path, X=np.ones((2, 2)), y=[0, 1], more=np.ones(10), objects=np.array([{}]))
    members = []
    read_member = tables.read_member
    monkeypatch.setattr(
        tables, "read_member", lambda a, m: members.append(m.filename) or read_member(a, m)
    )
    assert datasets.load_npz(path)[0][1].tolist() == [0, 1]
    assert members == ["X.npy", "y.npy"]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"1,2\n\xff,4\n", "not a CSV file in UTF-8"),
        (b"1,2\n" + b"9" * 200000 + b",3\n", "not a CSV file in UTF-8"),
        (b"1,2\n1e39,3\n", "row 2 holds 1e\\+39, which is beyond float32"),
    ],
)
def test_other_csv_files_are_refused(tmp_path, contents, message):
    path = tmp_path / "data.csv"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=f"{path}: {message}"):
        datasets.load_csv(path)


def test_labels_beyond_integers_stay_numbers(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("1,1e300\n2,0\n")
    assert datasets.load_csv(path)[1].tolist() == [1e300, 0]


def test_an_idx_file_without_elements_and_with_a_large_shape_is_refused(tmp_path):
    path = tmp_path / "data.idx"
    path.write_bytes(struct.pack(">HBB4I", 0, 8, 4, 0, *[2**32 - 1] * 3))
    with pytest.raises(ValueError, match=f"{path}: its shape .* is too large"):
        datasets.load_idx(path)
