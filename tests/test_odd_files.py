"""Files as people have them: each is read as what it is, or one message says all that is wrong."""

import gzip
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from field_cases import lab

import bayes_gmm as bg
from bayes_gmm.data.faults import MAR_OFFER
from bayes_gmm.data.files import open_table
from bayes_gmm.errors import FileFormatWarning, InputError

AB = {"a": [1.5, 2.5, 3.25], "b": [10.0, 20.0, 40.0]}
POINTS = [("1.5", "10"), ("2.5", "20"), ("3.25", "40")]
COMMAS = [("1,5", "10"), ("2,5", "20"), ("3,25", "40")]


def lines(rows, sep=",", header=("a", "b"), end="\n"):
    return end.join(map(sep.join, [header, *rows])) + end


# text or bytes -> the table, and what must be said of how it was read
READ = {
    "plain": (lines(POINTS), AB, ""),
    "semicolons": (lines(POINTS, ";"), AB, "separated by semicolons"),
    "tabs": (lines(POINTS, "\t"), AB, "separated by tabs"),
    "bars": (lines(POINTS, "|"), AB, "separated by bars"),
    "spaces": (lines(POINTS, "   "), AB, "separated by spaces"),
    "aligned": ("  a     b\n1.5    10\n2.5    20\n3.25   40\n", AB, "separated by spaces"),
    "decimal_commas": (lines(COMMAS, ";"), AB, "decimal commas"),
    "decimal_commas_tabs": (lines(COMMAS, "\t"), AB, "separated by tabs, decimal commas"),
    "quoted_decimal_commas": ('a,b\n"1,5",10\n"2,5",20\n"3,25",40\n', AB, "decimal commas"),
    "one_column_of_decimal_commas": (
        "a\n1,5\n2,5\n3,25\n",
        {"a": [1.5, 2.5, 3.25]},
        "decimal commas",
    ),
    "thousands": (
        'a,b\n"1,234.5",10\n"2,500.25",20\n"12,345,678",40\n',
        {"a": [1234.5, 2500.25, 12345678.0], "b": [10, 20, 40]},
        "thousands separator ','",
    ),
    "thousands_with_points": (
        "a;b\n1.234,5;10\n2.500,25;20\n12.345.678;40\n",
        {"a": [1234.5, 2500.25, 12345678.0], "b": [10, 20, 40]},
        "decimal commas, thousands separator '.'",
    ),
    "thousands_beside_decimals": (
        'a,b\n1.5,"1,234"\n2.5,"2,500"\n3.25,"3,125"\n',
        {"a": AB["a"], "b": [1234.0, 2500.0, 3125.0]},
        "thousands separator ','",
    ),
    "latin1": (
        lines(POINTS, ",", ("a", "µ")).encode("latin-1"),
        {"a": AB["a"], "µ": AB["b"]},
        "encoding cp1252",
    ),
    "utf16": (lines(POINTS).encode("utf-16"), AB, "encoding utf-16"),
    "byte_order_mark": (lines(POINTS).encode("utf-8-sig"), AB, ""),
    "windows_ends": (lines(POINTS, end="\r\n"), AB, ""),
    "old_mac_ends": (lines(POINTS, end="\r"), AB, ""),
    "comments": ("# made by a logger\n# on Monday\n" + lines(POINTS), AB, "2 lines before"),
    "names_in_a_comment": ("# a, b\n" + lines(POINTS).partition("\n")[2], AB, "1 line before"),
    "quotes": ('"a","b"\n"1.5","10"\n"2.5","20"\n"3.25","40"\n', AB, ""),
    "blank_lines": ("\n\n" + lines(POINTS).replace("\n", "\n\n"), AB, ""),
    "signs_and_exponents": (
        "a,b\n+1.5,1e1\n2.5E0,+2e+1\n3.25,4.0e1\n",
        AB,
        "",
    ),
    "note_of_excel": ("sep=;\n" + lines(COMMAS, ";"), AB, "1 line before the table"),
    "separators_at_the_ends": (
        "a;b;\n1.5;10;\n2.5;20;\n3.25;40;\n",
        AB,
        "separated by semicolons, the empty column at the end left out",
    ),
    "three_digits_behind_a_zero": (
        "a;b\n0,126;1,132\n0,000;2,500\n",
        {"a": [0.126, 0.0], "b": [1.132, 2.5]},
        "decimal commas",
    ),
    "swiss_thousands": (
        "a,b\n1'234.5,10\n2.5,20\n",
        {"a": [1234.5, 2.5], "b": [10, 20]},
        'thousands separator "\'"',
    ),
    "thousands_with_spaces": (
        "a;b\n1\u00a0234,5;10\n2,5;20\n",
        {"a": [1234.5, 2.5], "b": [10, 20]},
        "decimal commas",
    ),
    "typographic_minus": (
        "a,b\n\u22121.5,10\n2.5,\u221220\n",
        {"a": [-1.5, 2.5], "b": [10, -20]},
        "",
    ),
    "dates_in_decimal_commas": (
        "day;a;b\n01.02.2024;1,5;10\n02.02.2024;2,5;20\n03.02.2024;3,25;40\n",
        AB,
        "decimal commas",
    ),
}
READ["row_labels"] = (",a,b\np,1.5,10\nq,2.5,20\nr,3.25,40\n", AB, "")

# text or bytes -> all that must be said
REFUSED = {
    "one_group_of_thousands": (
        'a,b\n"1,234",10\n"2,500",20\n',
        ["1,234", "a decimal mark or a thousands separator", "--decimal"],
    ),
    "units_below_the_header": (
        "a,b\nmm,kg\n1.5,10\n2.5,20\n3.25,40\n",
        ["1 of 4 entries of 'a'", "'mm' in line 2", "1 of 4 entries of 'b'", "'kg' in line 2"],
    ),
    "total": ("name,a\np,1.5\nq,2.5\nTotal,4\n", ["summary", "'Total'", "delete"]),
    "total_of_numbers": (
        "n,a\n1,1.5\n2,2.5\n3,2.5\nSumme,4\n",
        ["summary", "'Summe'"],
    ),
    "percent": ("a,b\n12%,1\n14%,2\n17%,3\n", ["'a'", "'12%' in line 2", "--columns b"]),
    "limits_of_detection": (
        "a,b\n<5,1\n6,2\n7,3\n<5,4\n8,\n",
        [
            "2 of 5 entries of 'a' are not numbers, first '<5' in line 2",
            "--na '<5'",
            "missing values in 1 of 5 rows (b: 1), first in line 6",
            "--drop-missing",
        ],
    ),
    "question_marks": ("a,b\n1,2\n?,3\n4,?\n5,6\n", ["'?' in line 3", "'?' in line 4", "--na '?'"]),
    "dashes": ("a,b\n1,2\n-,3\n4,5\n5,6\n", ["1 of 4", "'-' in line 3", "--na -"]),
    "dates": (
        "day,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,4\n",
        ["'day' holds text", "'2024-01-01' in line 2", "--columns a"],
    ),
    "title": ("My study 2024\na,b\n1,2\n3,4\n", ["'My study 2024'", "2 columns", "delete"]),
    "only_a_header": ("a,b\n", ["header but no rows"]),
    "nul": (b"a,b\n1,2\n3,\x004\n", ["NUL", "line 3", "encoding"]),
    "no_header": ("1.5,10\n2.5,20\n", ["no header", "--no-header", "header=False"]),
    "duplicated_names": ("a,b,a\n1,2,3\n4,5,6\n", ["two columns named 'a'"]),
    "ragged": ("a,b\n1,2\n3,4\n4,5,6\n7,8\n", ["line 4"]),
    "booleans": ("a,b\n1,True\n2,False\n3,True\n", ["'b'", "True/False", "--columns a"]),
    "infinite": ("a,b\n1,inf\n2,3\n4,5\n", ["1 of 3 entries of 'b' is infinite", "line 2"]),
    "line_break_in_quotes": (
        'note,a\n"x\ny",1\nz,2\nw,oops\nv,3\nu,5\n',
        ["'note' holds text", "line 2", "1 of 5 entries of 'a'", "'oops' in line 5"],
    ),
    "everything_at_once": (
        "id;day;a;b\nP1;01.02.2024;1,5;<5\nP2;02.02.2024;;7\nP3;03.02.2024;2,5;8\n",
        [
            "columns 'id', 'day' hold text, such as 'P1' in line 2",
            "1 of 3 entries of 'b' is not a number, first '<5' in line 2",
            "missing values in 1 of 3 rows (a: 1), first in line 3",
        ],
    ),
}


@pytest.fixture
def file(tmp_path):
    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(("content", "expected", "said"), READ.values(), ids=READ)
def test_a_file_is_read_as_what_it_is_and_that_is_said(file, content, expected, said):
    path = file(content)
    columns = list(expected)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = bg.read(path, columns=columns)
    assert {name: table[name].tolist() for name in columns} == expected
    assert list(table.columns) == columns
    warned = [str(one.message) for one in caught if one.category is FileFormatWarning]
    assert len(warned) == bool(said)
    assert all(said in one and str(path) in one for one in warned)
    assert said in table.attrs["read_as"]


@pytest.mark.parametrize(("content", "says"), REFUSED.values(), ids=REFUSED)
def test_all_that_is_wrong_is_said_at_once(file, content, says):
    path = file(content)
    with warnings.catch_warnings(), pytest.raises(InputError) as caught:
        warnings.simplefilter("ignore", FileFormatWarning)
        bg.read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    for part in says:
        assert part in message
    with warnings.catch_warnings(), pytest.raises(InputError) as of_fit:
        warnings.simplefilter("ignore", FileFormatWarning)
        bg.fit(path, 1)
    assert str(of_fit.value).replace(MAR_OFFER, "") == message  # which `fit` offers too


@pytest.mark.parametrize("name", ["table.csv.gz", "table.txt", "table.tsv", "table"])
def test_the_name_of_a_text_file_does_not_matter(file, name):
    content = lines(POINTS).encode()
    path = file(gzip.compress(content) if name.endswith("gz") else content, name)
    assert bg.read(path).to_dict("list") == AB


def test_what_is_said_is_taken(file):
    rows = [("1,5", "x", "10"), ("2,5", "?", "20"), ("3,25", "7", "40")]
    content = ";".join(["1,5", "?", "10"]) + "\n" + lines(rows[1:], ";", rows[0])
    table = bg.read(
        file(content.replace("x", "8").encode("latin-1")),
        sep=";",
        decimal=",",
        encoding="latin-1",
        header=False,
        na=["?"],
        drop_missing=True,
    )
    assert table.columns.tolist() == ["x0", "x1", "x2"]
    assert table["x0"].tolist() == [1.5, 3.25]
    assert table["x1"].tolist() == [8, 7]
    assert table.attrs["n_dropped"] == 2
    assert open_table(file("a b\n1 2\n3 4\n"), sep=" ").frame().to_dict("list") == {
        "a": [1, 3],
        "b": [2, 4],
    }


@pytest.mark.parametrize(
    "given", [{"decimal": ";"}, {"sep": ""}, {"encoding": "klingon"}, {"encoding": "utf-16"}]
)
def test_what_is_said_and_cannot_be_is_refused(file, given):
    with pytest.raises(InputError, match=next(iter(given))):
        bg.read(file(lines(POINTS)), **given)


def test_a_decimal_that_is_given_settles_what_is_doubtful(file):
    path = file('a,b\n"1,234",10\n"2,500",20\n')
    assert bg.read(path, decimal=",")["a"].tolist() == [1.234, 2.5]
    with pytest.warns(FileFormatWarning, match="thousands separator ','"):
        assert bg.read(path, decimal=".")["a"].tolist() == [1234, 2500]


def test_a_large_file_is_checked_to_its_end_and_counted_over_all_blocks(file, monkeypatch):
    from bayes_gmm.data import files

    monkeypatch.setattr(files, "MOST_BYTES", 10)
    monkeypatch.setattr(files, "CHUNK_ROWS", 10)
    x = np.random.default_rng(0).normal(size=(95, 2)).round(3)
    rows = [[f"{a}".replace(".", ","), f"{b}".replace(".", ",")] for a, b in x]
    good = file(lines(rows, ";"), "good.csv")
    with pytest.warns(FileFormatWarning, match="decimal commas"):
        found = bg.fit(good, 1)
    np.testing.assert_allclose(found["point_estimate"]["means"].to_numpy()[0], x.mean(axis=0))
    assert found["point_estimate"]["feature"].to_numpy().tolist() == ["a", "b"]
    rows[57][0] = rows[93][0] = "<5"
    rows[60][1] = ""
    bad = file(lines(rows, ";"), "bad.csv")
    with pytest.warns(FileFormatWarning), pytest.raises(InputError) as caught:
        bg.fit(bad, 1)
    assert "2 of 95 entries of 'a' are not numbers, first '<5' in line 59" in str(caught.value)
    assert "missing values in 1 of 95 rows (b: 1), first in line 62" in str(caught.value)


def test_lab_results_go_from_one_message_to_clusters(file, tmp_path):
    """Semicolons, decimal commas, latin-1, units in the header, two values below a limit."""
    path = lab(tmp_path)
    command = [sys.executable, "-m", "bayes_gmm.cli", "select", str(path), "--most", "2"]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    assert first.returncode == 2
    for part in (
        "columns 'Probe', 'Datum' hold text, such as 'P0000' in line 2",
        "--columns 'Natrium (mmol/l),Kreatinin (µmol/l)'",
        "2 of 180 entries of 'Kreatinin (µmol/l)' are not numbers, first '<5,0' in line 41",
        "--na '<5,0'",
    ):
        assert part in first.stderr
    more = ["--columns", "Natrium (mmol/l),Kreatinin (µmol/l)", "--na", "<5,0", "--drop-missing"]
    second = subprocess.run(
        [*command, *more, "--covariance", "VVV"], capture_output=True, text=True, check=True
    )
    assert "178 rows of Natrium (mmol/l), Kreatinin (µmol/l), 2 incomplete" in second.stdout
    assert "separated by semicolons, decimal commas, encoding cp1252" in second.stdout
    assert "VVV with 2 components" in second.stdout


def test_row_labels_are_no_feature_wherever_the_table_comes_from(tmp_path):
    x = np.random.default_rng(5).normal(size=(20, 2))
    frame = pd.DataFrame(x, columns=["r", "v"])
    frame.to_csv(tmp_path / "indexed.csv")
    frame.to_parquet(tmp_path / "indexed.parquet")
    again = pd.read_csv(tmp_path / "indexed.csv")
    assert again.columns[0] == "Unnamed: 0"
    for table in (tmp_path / "indexed.csv", str(tmp_path / "indexed.parquet"), again, frame):
        found = bg.fit(table, 1)
        assert found["point_estimate"]["feature"].to_numpy().tolist() == ["r", "v"]
        predicted = bg.predict(found, table)
        assert predicted["label"].sizes == {"obs_id": 20}


def test_a_column_may_label_the_rows(file, tmp_path):
    path = file("sample;a;b\nP1;1,5;10\nP2;2,5;?\nP3;3,25;40\n")
    given = {"labels": "sample", "sep": ";", "decimal": ","}
    with pytest.raises(InputError, match="1 of 3 entries of 'b'"):
        bg.read(path, **given)
    table = bg.read(path, na="?", drop_missing=True, **given)
    assert table.index.tolist() == ["P1", "P3"]
    assert table.columns.tolist() == ["a", "b"]
    out = bg.predict(
        bg.Parameters([1.0], [[2.0, 20.0]], [np.eye(2)]), table, out=tmp_path / "o.csv"
    )
    assert pd.read_csv(out)["sample"].tolist() == ["P1", "P3"]
    with pytest.raises(InputError, match="no column 'samples': did you mean 'sample'"):
        bg.read(path, **{**given, "labels": "samples"})


def test_a_name_is_found_by_its_beginning(file):
    path = file("sodium (mmol/l),b\n1,2\n3,4\n")
    with pytest.raises(InputError, match=r"did you mean 'sodium \(mmol/l\)'"):
        bg.read(path, columns=["Sodium"])


def test_predictions_never_overwrite_the_rows(file):
    path = file(lines(POINTS))
    before = path.read_bytes()
    with pytest.raises(InputError, match="the file from which X is read"):
        bg.predict(bg.Parameters([1.0], [[2.0, 20.0]], [np.eye(2)]), path, out=str(path))
    assert path.read_bytes() == before


def test_an_address_and_a_sparse_matrix_are_named_for_what_they_are():
    from scipy.sparse import csr_array

    with pytest.raises(InputError, match="is a URL"):
        bg.fit("https://example.org/x.csv", 2)
    with pytest.raises(InputError, match=r"sparse matrix: give X\.toarray"):
        bg.fit(csr_array(np.eye(3)), 1)
