"""Tables in files: separators, headers, kinds of columns, Parquet."""

import gzip
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmlp._cli.columns import (
    CATEGORY,
    DATE,
    EMPTY,
    IDENTIFIER,
    NUMBER,
    ColumnScan,
    make_missing,
)
from cmlp._cli.csv_files import CsvFile
from cmlp._cli.errors import CommandError
from cmlp._cli.tables import is_table, read_table, scan_table
from cmlp._cli.targets import CLASSIFICATION, REGRESSION, take_target

DEFAULTS = SimpleNamespace(separator=None, header=None, encoding=None, missing=None)


def write(tmp_path, text, name="table.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return str(path)


def scan(tmp_path, text, *, target=None, dropped=(), categorical=(), **options):
    path = write(tmp_path, text)
    options = SimpleNamespace(**{**vars(DEFAULTS), **options})
    return scan_table(path, options, target, dropped, categorical)[0]


@pytest.mark.parametrize(
    ("text", "separator", "names"),
    [
        ("a,b\n1,2\n", ",", ["a", "b"]),
        ("a;b\n1,5;2,5\n", ";", ["a", "b"]),
        ("1,5;2,5\n3,5;4,5\n", ";", ["x0", "x1"]),
        ("a\tb c\n1\t2\n", "\t", ["a", "b c"]),
        ("a|b\n1|2\n", "|", ["a", "b"]),
        ("a\n1\n", ",", ["a"]),
        ('"a, c", "b;d"\n1, 2\n', ",", ["a, c", "b;d"]),
        ('a,b\n"x;y",1\n"z",2\n', ",", ["a", "b"]),
        ("\ufeffa,b\n1,2\n", ",", ["a", "b"]),
        ("a,b\r\n1,2\r\n", ",", ["a", "b"]),
        ("\n\na,b\n\n1,2\n", ",", ["a", "b"]),
        ("a,b\u2028\nx\u2028y,2\nz,3\n", ",", ["a", "b"]),
        ('"a\nb",c\n1,2\n', ",", ["a\nb", "c"]),
    ],
)
def test_separator_and_names(tmp_path, text, separator, names):
    file = CsvFile(write(tmp_path, text))
    assert (file.separator, file.names) == (separator, names)


@pytest.mark.parametrize(
    ("text", "has_header"),
    [
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", False),
        ("39,State-gov,?\n50,Self-emp,1\n38,State-gov,2\n51,Self-emp,?\n", False),
        ("0,1,y\n1,2,3\n", True),
        ("kind,price\nflat,1\nflat,2\n", True),
        ("1,2\n3,4\n", False),
        ("1;2,5\n3;4,5\n", False),
        ("a\nb\n", True),
    ],
)
def test_a_header_is_detected(tmp_path, text, has_header):
    assert CsvFile(write(tmp_path, text)).has_header == has_header
    assert CsvFile(write(tmp_path, text), header=True).has_header
    assert not CsvFile(write(tmp_path, text), header=False).has_header


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_encodings_and_gzip(tmp_path, encoding, compress):
    path = write(tmp_path, compress("größe,art\n1,ä\n".encode(encoding)), "table.csv.gz")
    table, target = scan_table(path, DEFAULTS)
    assert target == "art"
    assert list(table.columns) == ["größe", "art"]
    assert table.columns["art"].tolist() == ["ä"]
    assert is_table(path)


def test_another_encoding_is_an_option(tmp_path):
    path = write(tmp_path, "größe\n1\n", encoding="latin-1")
    with pytest.raises(CommandError, match=r"table.csv: not a text in utf-8: .*--encoding latin-1"):
        CsvFile(path)
    assert CsvFile(path, encoding="latin-1").names == ["größe"]
    with pytest.raises(CommandError, match="--encoding: unknown encoding: nothing"):
        CsvFile(path, encoding="nothing")


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2.5", "-3e4", "+.5"], NUMBER),
        (["1", "", "NA", "?", "nan", "n/a", "null"], NUMBER),
        (["01234", "90210"], CATEGORY),  # ZIP codes
        (["0.5", "0"], NUMBER),
        (["1_000", "2_000"], CATEGORY),
        (["1,5", "2"], NUMBER),
        (["1,5", "2.5"], CATEGORY),  # one of them separates thousands
        (["yes", "no"], CATEGORY),
        (["True", "False"], CATEGORY),
        (["1", "2", "many"], CATEGORY),
        (["", "NA"], EMPTY),
        ([f"id{i}" for i in range(30)], IDENTIFIER),
        ([f"id{i}" for i in range(30)] + ["id1"], CATEGORY),
        (["2021-03-04", "2020-01-01"], DATE),
        (["2021-03-04 12:00", ""], DATE),
        (["3/4/2021", "03.04.21"], DATE),
        (["2021-03-04", "never"], CATEGORY),
    ],
)
def test_kinds_of_columns(cells, kind):
    found = ColumnScan("a", make_missing(None))
    found.add(cells)
    assert found.choose_kind(";") == kind
    found = ColumnScan("a", make_missing(None))  # the same in two parts
    for cell in cells:
        found.add([cell])
    assert found.choose_kind(";") == kind


def test_a_comma_is_no_decimal_comma_where_it_separates(tmp_path):
    table = scan(tmp_path, 'a,b\n"1,5",1\n"2,5",2\n')
    assert table.columns["a"].tolist() == ["1,5", "2,5"]


def test_columns_are_read(tmp_path):
    text = " a;b ; zip;c\n 1,5 ; x ;01234;1\n?;;00001;2\n 2;x;12345;3\n"
    table = scan(tmp_path, text, categorical=["c"])
    np.testing.assert_array_equal(table.columns["a"], [1.5, np.nan, 2])
    assert table.columns["b"].tolist() == ["x", None, "x"]
    assert table.columns["zip"].tolist() == ["01234", "00001", "12345"]
    assert table.columns["c"].tolist() == ["1", "2", "3"]
    assert table.lines.tolist() == [2, 3, 4]
    assert list(scan(tmp_path, text, dropped=["a", "-1"]).columns) == ["b", "zip"]


@pytest.mark.parametrize("texts", [
    [f"{i},234,567" for i in range(30)], ["1,234", "950", "2,001"] * 9,
    [f"${1000 + i}" for i in range(30)], ["12%", "13.5 %"] * 9, ["1 234,5 €", "999 €"] * 9,
    ["$1,200", "n.a."] + ["-$3,100.50"] * 8,
])  # fmt: skip
def test_numbers_in_another_form_are_pointed_out(tmp_path, texts):
    rows = "\n".join(f'{i},"{text}",{i % 7}.5' for i, text in enumerate(texts))
    table = scan(tmp_path, "a,price,y\n" + rows)
    [doubt] = table.doubts
    left_out = "price" not in table.columns
    assert doubt.startswith(
        f"column 'price' {'is left out' if left_out else 'is a category'}, as its"
    )
    assert repr(next(text for text in texts if not text.isdigit())) in doubt
    with pytest.raises(CommandError, match="target 'price' must hold numbers without separators"):
        take_target(scan(tmp_path, "a,price,y\n" + rows, target="price"), "price")
    with pytest.raises(CommandError, match="target 'price' must hold numbers without separators"):
        take_target(scan(tmp_path, "a,price,y\n" + rows, target="price"), "price", REGRESSION)
    rows = "a,price\n1,5%\n1,5%\n1,6%\n"
    take_target(scan(tmp_path, rows, target="price"), "price", CLASSIFICATION)


@pytest.mark.parametrize("texts", [["a1", "a2"] * 9, ["001", "002"] * 9, ["1-2", "5%"] * 9])
def test_categories_are_not_pointed_out(tmp_path, texts):
    rows = "\n".join(f"{i},{text},{i % 7}.5" for i, text in enumerate(texts))
    assert scan(tmp_path, "a,price,y\n" + rows).doubts == []


def test_columns_that_may_be_a_mistake_are_pointed_out(tmp_path):
    rows = "".join(f"{i},{i},id{i},,{i if i % 9 else 'many'}\n" for i in range(30))
    table = scan(tmp_path, f",a,id,none,count\n{rows}")
    assert list(table.columns) == ["a", "count"]
    index, identity, none, count = table.doubts
    assert "column 1 has numbers and no name; it is left out" in index
    assert "'id' has another text in every row; it is left out; --categorical id" in identity
    assert "'none' has no values; it is left out" in none
    assert "'count' is a category, as 4 of its 30 values are not numbers, such as 'many'" in count
    for target, others in (("id", ["a"]), ("none", ["a"]), ("x0", ["a"]), ("a", ["a"])):
        names = {*others, "count", target}
        assert set(scan(tmp_path, f",a,id,none,count\n{rows}", target=target).columns) == names
    table = scan(tmp_path, f",a,id,none,count\n{rows}", categorical=["id"])
    assert list(table.columns) == ["a", "id", "count"]
    table = scan(tmp_path, f",a,id,none,count\n{rows}", missing="many,few", dropped=["id"])
    assert np.isnan(table.columns["count"]).sum() == 4
    assert len(table.doubts) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file has no rows"),
        ("\n\n", "the file has no rows"),
        ("a,b\n", "the file has no rows below the header"),
        ("a,a\n1,2\n", "2 columns have the name 'a'"),
        ("a,b\n1,2\n3\n", "row 3 has 1 columns instead of 2"),
        ("a,b\n1,2\n3,4,5\n", "row 3 has 3 columns instead of 2"),
        ("a,sold\n1,2021-03-04\n2,\n", "column 'sold' must not hold dates; got '2021-03-04'; .* "
         "--drop sold"),
        ("a,b\n1,2\n1,inf\n", "row 3, column 'b' must hold a finite number; got 'inf'"),
    ],
)  # fmt: skip
def test_files_that_are_no_tables(tmp_path, text, message):
    with pytest.raises(CommandError, match=f"table.csv: {message}"):
        scan(tmp_path, text)


@given(st.text(alphabet='ab01.,;-?"\n\t NA', max_size=40))
def test_any_text_is_a_table_or_an_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(text)
    try:
        table, target = scan_table(str(path), DEFAULTS)
    except CommandError:
        return
    assert target in table.columns
    assert all(len(column) == len(table) for column in table.columns.values())


def test_a_damaged_archive_is_an_error(tmp_path):
    data = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)
    with pytest.raises(CommandError, match="cannot be read"):
        scan(tmp_path, data[:-20])


def test_a_header_of_any_length(tmp_path):
    # The beginning of the file, which is read to detect the separator, ends within the first row.
    names = [f"name_{i}" for i in range(40_000)]
    text = ",".join(names) + "\n" + ",".join("1" for _ in names) + "\n"
    assert CsvFile(write(tmp_path, text)).names == names


def test_columns_of_given_kinds(tmp_path):
    path = write(tmp_path, "a,b,c\n1,2,x\n,3,\n")
    kinds = {"b": CATEGORY, "a": NUMBER}
    table = read_table(path, DEFAULTS, lambda names, has_names: kinds)
    assert table.columns["b"].tolist() == ["2", "3"]
    np.testing.assert_array_equal(table.columns["a"], [1, np.nan])
    with pytest.raises(CommandError, match=r"row 2, column 'c' must hold a number.*got 'x'"):
        read_table(path, DEFAULTS, lambda names, has_names: {"c": NUMBER})


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_parquet(tmp_path, monkeypatch, library):
    polars = pytest.importorskip("polars")
    pytest.importorskip(library)
    path = str(tmp_path / "table.parquet")
    polars.DataFrame(
        {
            "n": [1, 2, None],
            "x": [0.5, None, 1],
            "s": ["a", None, "NA"],
            "b": [True, False, None],
            "d": [Decimal("1.5"), None, Decimal(2)],
        }
    ).write_parquet(path)
    if library == "polars":
        monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    table, target = scan_table(path, DEFAULTS)
    assert target == "d"
    np.testing.assert_array_equal(table.columns["d"], [1.5, np.nan, 2])
    np.testing.assert_array_equal(table.columns["n"], [1, 2, np.nan])
    np.testing.assert_array_equal(table.columns["x"], [0.5, np.nan, 1])
    assert table.columns["s"].tolist() == ["a", None, None]
    assert table.columns["b"].tolist() == ["True", "False", None]
    assert scan_table(path, DEFAULTS, None, [], ["n"])[0].columns["n"].tolist() == ["1", "2", None]
    read = read_table(path, DEFAULTS, lambda names, has_names: {"n": CATEGORY, "x": NUMBER})
    assert read.columns["n"].tolist() == ["1", "2", None]


def test_parquet_files_that_are_no_tables(tmp_path, monkeypatch):
    polars = pytest.importorskip("polars")
    path = str(tmp_path / "table.parquet")
    dates = polars.Series(["2021-03-04"]).str.to_date()
    for column, message in ((dates, "must not hold dates"), ([[1]], "numbers, text or booleans")):
        polars.DataFrame({"a": column}).write_parquet(path)
        with pytest.raises(CommandError, match=f"column 'a' {message}|column 'a' must.*{message}"):
            scan_table(path, DEFAULTS)
    with pytest.raises(CommandError, match="not a Parquet file"):
        scan_table(write(tmp_path, "a,b\n1,2\n", "other.parquet"), DEFAULTS)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(ImportError, match=r"requires PyArrow or Polars.*pip install pyarrow"):
        scan_table(path, DEFAULTS)
