"""The border accepts whatever is a table of numbers, and says in one line why the rest is not."""

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr

import bayes_gmm as bg
import bayes_gmm.data.observations
from bayes_gmm.data import Observations
from bayes_gmm.data.row_labels import restored, stored
from bayes_gmm.errors import InputError

GOOD = np.array([[1.0, 20.0], [2.0, 10.0], [4.0, 60.0], [3.0, 50.0]])


def with_entry(value: float, row: int = 2, column: int = 1) -> np.ndarray:
    table = GOOD.copy()
    table[row, column] = value
    return table


def frame(table: np.ndarray = GOOD, **columns) -> pd.DataFrame:
    return pd.DataFrame(table, columns=["a", "b"]).assign(**columns)


ACCEPTED = {
    "array": GOOD,
    "fortran": np.asfortranarray(GOOD),
    "big_endian": GOOD.astype(">f8"),
    "integers": GOOD.astype(np.int32),
    "unsigned": GOOD.astype(np.uint8),
    "halves": GOOD.astype(np.float16),
    "long_doubles": GOOD.astype(np.longdouble),
    "strided": np.repeat(GOOD, 2, axis=0)[::2],
    "lists": GOOD.tolist(),
    "tuples": tuple(map(tuple, GOOD.tolist())),
    "unmasked": np.ma.masked_invalid(GOOD),
    "frame": frame(),
    "nullable_frame": frame().astype({"a": "Int64", "b": "Float32"}),
    "dataarray": xr.DataArray(GOOD, dims=["obs_id", "feature"]),
    "dict": {"a": GOOD[:, 0], "b": GOOD[:, 1].tolist()},
    "records": [{"a": a, "b": b} for a, b in GOOD],
    "polars": pl.DataFrame(GOOD, schema=["a", "b"]),
    "lazy_polars": pl.DataFrame(GOOD, schema=["a", "b"]).lazy(),
    "arrow_table": pa.table({"a": GOOD[:, 0], "b": GOOD[:, 1]}),
    "arrow_batch": pa.record_batch({"a": GOOD[:, 0], "b": GOOD[:, 1]}),
    "narwhals": nw.from_native(pl.DataFrame(GOOD, schema=["a", "b"])),
    "transposed_dataarray": xr.DataArray(GOOD.T, dims=["feature", "obs_id"]),
}


@pytest.mark.parametrize("X", ACCEPTED.values(), ids=ACCEPTED)
def test_every_kind_of_table_gives_the_same_numbers(X):
    observations = Observations.of(X)
    np.testing.assert_array_equal(observations.values, GOOD)
    assert observations.values.dtype == np.float64
    assert observations.values.dtype.isnative
    assert observations.values.flags.c_contiguous
    assert type(observations.values) is np.ndarray
    assert (observations.n_rows, observations.n_features) == (4, 2)
    np.testing.assert_allclose(observations.origin, GOOD.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(observations.scale, GOOD.std(axis=0), rtol=1e-14)


@pytest.mark.parametrize(
    ("X", "name"),
    [
        (GOOD[:, 0], "x0"),
        (GOOD[:, 0].tolist(), "x0"),
        (pd.Series(GOOD[:, 0]), "x0"),
        (pd.Series(GOOD[:, 0], name="waiting"), "waiting"),
        (pl.Series("waiting", GOOD[:, 0]), "waiting"),
        (pa.array(GOOD[:, 0]), "x0"),
        (range(1, 5), "x0"),
        (xr.DataArray(GOOD[:, 0], dims="obs_id"), "x0"),
        (xr.DataArray(GOOD[:, 0], dims="obs_id", name="waiting"), "waiting"),
    ],
    ids=[
        *("array", "list", "series", "named_series", "polars", "arrow", "range"),
        *("dataarray", "named_dataarray"),
    ],
)
def test_one_dimension_is_one_column(X, name):
    observations = Observations.of(X)
    expected = GOOD[:, :1] if not isinstance(X, range) else np.arange(1.0, 5.0)[:, None]
    np.testing.assert_array_equal(observations.values, expected)
    assert observations.feature_names == (name,)


def test_observations_are_taken_as_they_are():
    observations = Observations.of(GOOD)
    assert Observations.of(observations) is observations


def test_good_arrays_are_not_copied():
    assert np.shares_memory(Observations.of(GOOD).values, GOOD)


def test_names_and_row_labels_are_the_users():
    table = frame().set_index(pd.Index(["p", "q", "r", "s"]))
    observations = Observations.of(table)
    assert observations.feature_names == ("a", "b")
    assert observations.index.tolist() == ["p", "q", "r", "s"]
    labelled = xr.DataArray(
        GOOD.T, dims=["feature", "obs_id"], coords={"feature": ["a", "b"], "obs_id": [5, 6, 7, 9]}
    )
    observations = Observations.of(labelled)
    assert observations.feature_names == ("a", "b")
    assert observations.index.tolist() == [5, 6, 7, 9]
    assert Observations.of(frame().drop(index=1)).index.tolist() == [0, 2, 3]
    assert Observations.of(pd.DataFrame(GOOD)).feature_names == ("0", "1")
    plain = Observations.of(GOOD)
    assert plain.feature_names == ("x0", "x1")
    assert plain.index.tolist() == [0, 1, 2, 3]


LABELS = {
    "text": pd.Index(list("pqrs"), name="sample"),
    "numbers": pd.Index([3, 5, 8, 13]),
    "dates": pd.DatetimeIndex(["2020-01-03", "2020-01-01", "2021-05-01", "2022-01-01"]),
    "dates_of_a_zone": pd.DatetimeIndex(
        ["2020-01-03", "2020-07-01", "2021-05-01", "2022-01-01"], tz="Europe/Vienna"
    ),
    "spans": pd.TimedeltaIndex(["1h", "3h", "2h", "9h"]),
    "periods": pd.period_range("2020", periods=4, freq="Y"),
    "levels": pd.MultiIndex.from_product([["p", "q"], [1, 2]], names=["site", None]),
    "levels_of_dates": pd.MultiIndex.from_arrays(
        [pd.DatetimeIndex(["2020-01-03", "2020-01-01", "2021-05-01", "2022-01-01"]), list("abab")]
    ),
}


@pytest.mark.parametrize("index", LABELS.values(), ids=LABELS)
def test_row_labels_come_back_as_they_were_from_memory_and_from_a_file(index, tmp_path):
    labels = Observations.of(frame().set_index(index)).index
    pd.testing.assert_index_equal(labels, index, check_names=False)
    saved = xr.Dataset({"x": ("obs_id", GOOD[:, 0])}, stored(labels))
    saved.to_netcdf(tmp_path / "x.nc")
    with xr.open_dataset(tmp_path / "x.nc") as again:
        found = restored(again.load())
    assert found.dtype == index.dtype or index.dtype.kind in "OM"
    pd.testing.assert_index_equal(found, index, check_names=False, exact=False)


@pytest.mark.parametrize(
    "index",
    [pd.interval_range(0, 4), pd.CategoricalIndex(list("abca")), pd.Index(["a", 1, None, 2.5])],
    ids=["intervals", "categories", "mixed"],
)
def test_row_labels_that_no_file_can_hold_become_text(index, tmp_path):
    saved = xr.Dataset({"x": ("obs_id", GOOD[:, 0])}, stored(index))
    saved.to_netcdf(tmp_path / "x.nc")
    assert restored(saved).tolist() == [str(label) for label in index]


@pytest.mark.parametrize("index", LABELS.values(), ids=LABELS)
def test_predictions_have_the_labels_of_the_rows(index):
    table = frame().set_index(index)
    theta = bg.Parameters([0.5, 0.5], [[1.0, 20.0], [4.0, 60.0]], [np.eye(2)] * 2)
    result = bg.fit(table, 1, prior="default", seed=0)
    for found in (bg.predict(result), bg.predict(result, table), bg.predict(theta, table)):
        series = found["label"].to_series()
        pd.testing.assert_index_equal(series.index, index, check_names=False)
    pd.testing.assert_index_equal(
        bg.log_density(result, table).to_series().index, index, check_names=False
    )


# what is wrong -> (X, what the message must say)
REJECTED = {
    "nan": (with_entry(np.nan), ["1 value", "nan", "row 2", "'x1'"]),
    "inf": (with_entry(-np.inf), ["1 value", "-inf", "row 2", "'x1'"]),
    "several_nans": (np.where(GOOD > 40, np.nan, GOOD), ["2 values", "nan", "row 2", "'x1'"]),
    "nan_in_frame": (frame(with_entry(np.nan)), ["1 of 4 rows", "row 2", "b: 1", "dropna"]),
    "missing_in_nullable_frame": (
        frame(a=pd.array([1, 2, None, 4])),
        ["1 of 4 rows", "row 2", "a: 1"],
    ),
    "masked": (np.ma.masked_greater(GOOD, 55), ["1 value", "row 2", "'x1'"]),
    "too_large_for_a_double": (GOOD.astype(np.longdouble) * np.longdouble("1e400"), ["inf"]),
    "text_column": (
        frame(kind=list("xyxy")),
        ["'kind'", "text, such as 'x' in row 0", "X[['a', 'b']]"],
    ),
    "text_columns": (frame(kind=list("xyxy"), place="here"), ["'kind', 'place'", "X[['a', 'b']]"]),
    "typo_in_column": (frame(a=["1", "2", "3,5", "4"]), ["'a'", "'3,5'", "row 2", "X[['b']]"]),
    "numbers_as_text": (frame(a=["1", "2", "3", "4"]), ["'a'", "astype(float)"]),
    "categories": (frame(kind=pd.Categorical(list("xyxy"))), ["'kind'", "'x' in row 0"]),
    "only_text": (pd.DataFrame({"kind": list("xyxy")}), ["'kind'", "no column of numbers"]),
    "bool_column": (frame(flag=[True, False, True, False]), ["'flag'", "bool", "X[['a', 'b']]"]),
    "date_column": (frame(day=pd.date_range("2020", periods=4)), ["'day'", "datetime"]),
    "complex_column": (frame(z=GOOD[:, 0] * 1j), ["'z'", "complex"]),
    "text_array": (np.array([["1", "a"], ["2", "b"]]), ["'a'", "row 0", "'x1'"]),
    "mixed_lists": ([["a", 1.0], ["b", 2.0]], ["'a'", "row 0", "'x0'"]),
    "none": ([[1.0, None], [2.0, 3.0]], ["None", "row 0", "'x1'"]),
    "text_of_numbers": (np.array(["1", "2"]), ["astype(float)"]),
    "objects": (GOOD.astype(object), ["objects", "astype(float)"]),
    "bools": (GOOD > 3, ["True/False"]),
    "complex": (GOOD * 1j, ["complex"]),
    "dates": (np.array(["2020-01-01", "2021-01-01"], dtype="M8[D]"), ["dates"]),
    "durations": (np.array([1, 2], dtype="m8[D]"), ["time differences"]),
    "records": (np.zeros(3, dtype=[("a", float)]), ["records"]),
    "ragged": ([[1.0, 2.0], [3.0]], ["differ in length"]),
    "uneven_dict": ({"a": [1, 2], "b": [3]}, ["different lengths", "a: 2, b: 1"]),
    "dict_of_numbers": ({"a": 1, "b": 2}, ["'a'", "one number for each row"]),
    "empty_dict": ({}, ["empty dict"]),
    "text_in_polars": (
        pl.DataFrame({"a": [1, 2], "kind": ["x", "y"]}),
        ["'kind'", "'x' in row 0"],
    ),
    "gap_in_arrow": (pa.table({"a": [1.0, None, 3.0]}), ["1 of 3 rows", "row 1"]),
    "spans_in_frame": (
        frame(time=pd.to_timedelta(["1h", "2h", "3h", "4h"])),
        ["'time'", "time differences", "X[['a', 'b']]"],
    ),
    "scalar": (3.0, ["float", "not a table"]),
    "name": ("faithful", ["path", "no such file", "datasets.load"]),
    "nothing": (None, ["NoneType", "not a table"]),
    "scalar_dataarray": (xr.DataArray(3.0), ["not a table"]),
    "dataset": (xr.Dataset({"x": ("obs_id", GOOD[:, 0])}), ["Dataset", "(x)"]),
    "three_dimensions": (np.zeros((2, 3, 4)), ["3 dimensions", "2 x 3 x 4", "reshape"]),
    "no_rows": (GOOD[:0], ["no rows"]),
    "empty_list": ([], ["no rows"]),
    "empty_frame": (pd.DataFrame(), ["no columns"]),
    "frame_without_rows": (frame().iloc[:0], ["no rows"]),
    "no_columns": (GOOD[:, :0], ["no columns"]),
    "one_row": (GOOD[:1], ["one row"]),
    "duplicated_names": (pd.DataFrame(GOOD, columns=["a", "a"]), ["two columns", "'a'"]),
    "names_alike_as_text": (pd.DataFrame(GOOD, columns=[1, "1"]), ["two columns", "'1'"]),
    "constant": (with_entry(7, slice(None)), ["constant", "'x1'", "7"]),
    "zeros": (np.zeros(5), ["constant", "'x0'"]),
    "constant_but_for_rounding": (np.array([0.1 + 0.2, 0.3, 0.3]), ["constant", "0.3"]),
    "huge_constant": (np.full(5, 1.7e308), ["constant"]),
    "huge_spread": (GOOD * 1e200, ["'x0'", "out of the range", "unit"]),
    "overflowing_spread": (np.array([1.7e308, -1.7e308, 0.0]), ["'x0'", "unit"]),
    "tiny_spread": (GOOD * 1e-200, ["'x0'", "unit"]),
    "long_entry": ([["a\n" * 500, 1.0], ["b", 2.0]], ["..."]),
    "name_with_a_line_break": (pd.DataFrame({"a\nb": list("xy")}), ["'a\\nb'"]),
}


@pytest.mark.parametrize(("X", "says"), REJECTED.values(), ids=REJECTED)
def test_wrong_input_gets_one_line_with_cause_and_way_out(X, says):
    with pytest.raises(InputError) as caught:
        Observations.of(X, what="the table")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("the table")
    assert len(message) < 300
    assert ": " in message, "what to do comes after a colon"
    for part in says:
        assert part in message


def test_the_input_is_called_x_unless_it_has_a_name():
    with pytest.raises(InputError, match=r"^X has one row"):
        Observations.of([1.0])


@pytest.mark.parametrize("stored", [lambda x: x, lambda x: lambda: iter([x])])
def test_a_spread_that_is_expected_serves_where_there_is_none(stored):
    spread = np.array([2.0, 5.0])
    one = Observations.of(stored(GOOD[:1]), spread=spread)
    assert one.n_rows == 1
    np.testing.assert_array_equal(one.origin, GOOD[0])
    np.testing.assert_array_equal(one.scale, spread)
    still = Observations.of(stored(with_entry(7, slice(None))), spread=spread)
    np.testing.assert_allclose(still.scale, [GOOD[:, 0].std(), 5.0], rtol=1e-14)
    with pytest.raises(InputError, match=r"no rows|fewer than"):
        Observations.of(stored(GOOD[:0]), spread=spread)


@pytest.mark.parametrize("block", [3, 64, 1 << 16])
def test_moments_do_not_depend_on_the_blocks(block, monkeypatch):
    monkeypatch.setattr(bayes_gmm.data.observations, "BLOCK", block)
    X = np.random.default_rng(1).normal(size=(501, 3)) * [1, 100, 1e-3] + [0, 5, -7]
    observations = Observations.of(X)
    np.testing.assert_allclose(observations.origin, X.mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(observations.scale, X.std(axis=0), rtol=1e-13)


def test_the_first_bad_number_is_found_in_any_block(monkeypatch):
    monkeypatch.setattr(bayes_gmm.data.observations, "BLOCK", 4)
    X = np.random.default_rng(1).normal(size=(50, 2))
    X[[31, 31, 47], [0, 1, 0]] = np.nan
    with pytest.raises(InputError, match=r"3 values .* nan in row 31, column 'x0'"):
        Observations.of(X)


@pytest.mark.parametrize("block", [16, 1 << 16])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8, 1e90, 1e-90])
@pytest.mark.parametrize("offset", [0.0, 1e8, -1e8])
def test_moments_survive_any_unit_and_a_large_offset(offset, scale, block, monkeypatch):
    monkeypatch.setattr(bayes_gmm.data.observations, "BLOCK", block)
    noise = np.random.default_rng(2).integers(-(2**20), 2**20, size=1000) / 2**20
    X = (offset + noise) * scale
    observations = Observations.of(X)
    exact = (X - X[0]).astype(np.longdouble)  # close numbers have an exact difference
    mean = X[0].astype(np.longdouble) + exact.mean()
    np.testing.assert_allclose(observations.scale, float(exact.std()), rtol=1e-12)
    assert abs(observations.origin[0] - mean) <= 4 * np.spacing(abs(X).max())


def test_a_column_that_varies_in_its_last_digits_is_kept():
    X = 1e14 + np.arange(10.0)
    np.testing.assert_allclose(Observations.of(X).scale, np.arange(10).std(), rtol=1e-14)


@pytest.fixture
def on_disk(tmp_path):
    def write(dtype, order=False):
        values = np.random.default_rng(3).normal(size=(5000, 4)).astype(dtype)
        np.save(tmp_path / "x.npy", np.asfortranarray(values) if order else values)
        return np.load(tmp_path / "x.npy", mmap_mode="r")

    return write


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_memory_mapped_file_stays_on_disk(on_disk, dtype):
    X = on_disk(dtype)
    observations = Observations.of(X)
    assert observations.values.dtype == dtype
    assert np.shares_memory(observations.values, X)
    assert observations.origin.dtype == observations.scale.dtype == np.float64
    np.testing.assert_allclose(observations.scale, X.astype(np.float64).std(axis=0), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.int16, np.float16, ">f8"])
def test_other_memory_mapped_files_become_float64(on_disk, dtype):
    assert Observations.of(on_disk(dtype)).values.dtype == np.float64
    assert Observations.of(on_disk(np.float32, order=True)).values.dtype == np.float64


def test_measuring_takes_memory_for_a_block_only(on_disk, monkeypatch):
    import tracemalloc

    monkeypatch.setattr(bayes_gmm.data.observations, "BLOCK", 400)
    X = on_disk(np.float32)
    tracemalloc.start()
    Observations.of(X[:, :])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < X.nbytes
