"""CSV files as people keep them: what can be read is read, the rest is explained in one line."""

import gzip

import numpy as np
import pandas as pd
import pytest

import bayes_gmm as bg
from bayes_gmm.data.columns import select
from bayes_gmm.errors import InputError


@pytest.fixture
def csv(tmp_path):
    def write(text):
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


READ = {
    "plain": "a,b\n1,2.5\n3,4.5\n",
    "spaces": "a, b\n1, 2.5\n3, 4.5\n",
    "quotes": '"a","b"\n"1","2.5"\n3,4.5\n',
    "windows": "a,b\r\n1,2.5\r\n3,4.5\r\n",
    "byte_order_mark": "\ufeffa,b\n1,2.5\n3,4.5\n",
    "blank_lines": "\na,b\n1,2.5\n\n3,4.5\n\n",
    "no_final_newline": "a,b\n1,2.5\n3,4.5",
}


@pytest.mark.parametrize("text", READ.values(), ids=READ)
def test_a_csv_file_with_a_header_is_read(csv, text):
    table = bg.read(csv(text))
    assert table.to_dict("list") == {"a": [1, 3], "b": [2.5, 4.5]}
    assert table.index.tolist() == [0, 1]
    assert table.attrs["n_dropped"] == 0


def test_a_first_column_without_a_name_holds_row_labels(tmp_path):
    written = pd.DataFrame({"a": [1, 2], "b": [0.1, 26.96]}, index=["p", "q"])
    written.to_csv(tmp_path / "table.csv")
    table = bg.read(str(tmp_path / "table.csv"))
    pd.testing.assert_frame_equal(table, written)


def test_numbers_may_be_names_beside_row_labels(tmp_path):
    pd.DataFrame([[1.5, 2.5], [3.5, 4.5]]).to_csv(tmp_path / "table.csv")
    table = bg.read(tmp_path / "table.csv")
    assert table.to_dict("list") == {"0": [1.5, 3.5], "1": [2.5, 4.5]}


def test_numbers_are_read_to_the_last_digit(csv):
    numbers = np.random.default_rng(0).normal(size=200) * 10.0 ** np.arange(-100, 100)
    table = bg.read(csv("a\n" + "\n".join(map(repr, numbers.tolist()))))
    np.testing.assert_allclose(table["a"], numbers, rtol=4e-16)


def test_a_compressed_file_is_read(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"a\n1\n2\n"))
    assert bg.read(path)["a"].tolist() == [1, 2]


def test_columns_come_in_the_order_asked_for(csv):
    table = bg.read(csv("a,kind,b\n1,x,2\n3,y,4\n"), columns=["b", "a"])
    assert table.to_dict("list") == {"b": [2, 4], "a": [1, 3]}


def test_incomplete_rows_are_dropped_when_asked_and_counted(csv):
    path = csv("a,kind,b\n1,x,2\n3,,4\n,y,5\nNA,y,6\n,y,\n")
    table = bg.read(path, columns=["a", "b"], drop_missing=True)
    assert table.to_dict("list") == {"a": [1, 3], "b": [2, 4]}
    assert table.index.tolist() == [0, 1]
    assert table.attrs["n_dropped"] == 3


# what is wrong -> (text, options, what the message must say)
UNREADABLE = {
    "empty": ("", {}, ["is empty"]),
    "blank": ("\n\n", {}, ["is empty"]),
    "no_rows": ("a,b\n", {}, ["no rows"]),
    "no_header": ("1,2\n3,4\n", {}, ["no header", "1, 2"]),
    "no_header_scientific": ("1e3,-2.5\n3,4\n", {}, ["no header"]),
    "no_header_with_text": ("5.1,3.5,setosa\n4.9,3.0,setosa\n", {}, ["no header", "5.1"]),
    "duplicated_name": ("a,b,a\n1,2,3\n", {}, ["two columns", "'a'", "rename"]),
    "duplicated_but_for_spaces": ("a, a\n1,2\n", {}, ["two columns", "'a'"]),
    "unnamed_column": ("a,,c\n1,2,3\n", {}, ["no name for column 1"]),
    "unnamed_after_labels": (",a,\nx,1,2\n", {}, ["no name for column 2"]),
    "too_many_values": ("a,b\n1,2,3\n4,5,6\n", {}, ["more values", "(2)"]),
    "ragged": ("a,b\n1,2\n4,5,6\n", {}, ["line 3"]),
    "text": (
        "a,b,kind\n1,2,x\n3,4,y\n",
        {},
        ["'kind'", "'x' in line 2", "--columns a,b", "columns=['a', 'b']"],
    ),
    "text_names_with_spaces": (
        "a b,c\n1,x\n2,y\n",
        {},
        ["'c'", "--columns 'a b'", "columns=['a b']"],
    ),
    "typo": ("a,b\n1,2\n1.5x,3\n", {}, ["1 of 2", "'a'", "'1.5x' in line 3", "--na 1.5x"]),
    "missing": (
        "a,b\n1,\n3,4\n,\n",
        {},
        ["2 of 3 rows", "a: 1, b: 2", "--drop-missing", "in line 2"],
    ),
    "short_row": ("a,b\n1\n3,4\n", {}, ["1 of 2 rows", "b: 1"]),
    "never_complete": (
        "a,b\n1,\n2,\n",
        {"drop_missing": True},
        ["no complete row", "'b'", "2 missing", "2 rows"],
    ),
    "unknown_column": ("waiting,b\n1,2\n", {"columns": ["waitng"]}, ["'waitng'", "mean 'waiting'"]),
    "no_such_column": ("a,b\n1,2\n", {"columns": ["zzz"]}, ["'zzz'", "it has a, b"]),
    "no_columns": ("a,b\n1,2\n", {"columns": []}, ["no columns"]),
    "column_twice": ("a,b\n1,2\n", {"columns": ["a", "a"]}, ["'a'", "two columns"]),
    "chosen_text": ("a,kind\n1,x\n", {"columns": ["kind"]}, ["'kind'", "'x'"]),
}


@pytest.mark.parametrize(("text", "options", "says"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_bad_file_gets_one_line_with_cause_and_way_out(csv, text, options, says):
    path = csv(text)
    with pytest.raises(InputError) as caught:
        bg.read(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    for part in says:
        assert part in message


def test_a_missing_path_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv: no such file"):
        bg.read(tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match=r"cannot be read: Is a directory"):
        bg.read(tmp_path)
    (tmp_path / "broken.csv.gz").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(InputError, match=r"broken\.csv\.gz cannot be read"):
        bg.read(tmp_path / "broken.csv.gz")


def test_select_leaves_a_complete_table_as_it_is():
    table = pd.DataFrame({"a": [1, 2], "b": [3, 4]}, index=[7, 9])
    selected, n_dropped = select(table)
    pd.testing.assert_frame_equal(selected, table)
    assert n_dropped == 0
