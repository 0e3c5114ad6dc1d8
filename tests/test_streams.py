"""However the rows are kept, the fit is the same to the last bit."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayes_gmm as bg
from bayes_gmm.data import Observations, files, streams
from bayes_gmm.data.streams import Stream, blocks, every
from bayes_gmm.errors import InputError

N, D = 3001, 3


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(size=(N, D)) + 4 * rng.integers(0, 2, size=(N, 1))


class Again:
    """Blocks of uneven sizes that can be iterated again and again."""

    def __init__(self, rows: np.ndarray) -> None:
        self.parts = np.array_split(rows, [1, 2, 1500, 1501, 2999])

    def __iter__(self):
        return iter(self.parts)


def stored(rows: np.ndarray, kind: str, folder) -> object:
    if kind == "memmap":
        path = folder / "rows.npy"
        np.save(path, rows)
        return np.load(path, mmap_mode="r")
    frame = pd.DataFrame(rows, columns=list("abc"))
    if kind.endswith("csv"):
        frame.to_csv(folder / "rows.csv", index=False, float_format="%.17g")
        return folder / "rows.csv"
    if kind.endswith("parquet"):
        frame.to_parquet(folder / "rows.parquet")
        return str(folder / "rows.parquet")
    if kind == "function":
        return lambda: (frame[start : start + 700] for start in range(0, N, 700))
    return {"iterable": Again(rows), "list": np.array_split(rows, 7)}[kind]


IN_MEMORY = ("memmap", "csv", "parquet")


@pytest.mark.parametrize(
    "kind", [*IN_MEMORY, "large_csv", "large_parquet", "function", "iterable", "list"]
)
def test_a_fit_is_the_same_however_the_rows_are_kept(kind, rows, tmp_path, monkeypatch):
    if kind.startswith("large"):
        monkeypatch.setattr(files, "MOST_BYTES", 1000)
        monkeypatch.setattr(files, "CHUNK_ROWS", 700)
    expected = bg.fit(rows, 2, seed=1)
    found = bg.fit(stored(rows, kind, tmp_path), 2, seed=1)
    for name in ("weights", "means", "covariances"):
        np.testing.assert_array_equal(
            found["point_estimate"][name].to_numpy(), expected["point_estimate"][name].to_numpy()
        )
    assert ("observed_data" in found.children) == (kind in IN_MEMORY)


@pytest.mark.parametrize("size", [1, 7, 1000, N, 2 * N])
def test_a_stream_is_cut_like_an_array(size, rows):
    parts = Again(rows)
    stream = Stream(lambda: iter(parts), N, D)
    for ours, theirs in zip(stream.blocks(size), blocks(rows, size), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("step", [1, 3, 500, 2 * N])
def test_every_so_many_rows_are_the_same_ones(step, rows, monkeypatch):
    monkeypatch.setattr(streams, "CHUNK_ROWS", 1000)
    stream = Stream(lambda: iter(np.array_split(rows, 7)), N, D)
    for values in (rows, stream):
        np.testing.assert_array_equal(every(values, step), rows[::step])


def test_a_stream_that_changes_is_noticed(rows):
    length = [N]

    def opened():
        length[0] -= 1
        return iter([rows[: length[0]]])

    with pytest.raises(InputError, match="the same rows every time"):
        bg.fit(opened, 2, seed=1)


@pytest.mark.parametrize(
    ("X", "says"),
    [
        (iter([np.ones((2, 2))]), "can be read only once"),
        (lambda: iter([]), "fewer than two rows"),
        (lambda: iter([np.eye(2), np.ones((2, 3))]), "columns x0, x1, x2 in block 1"),
        (lambda: iter([np.eye(2), [[np.nan, 1.0]]]), "nan in row 2, column 'x0'"),
        ("nowhere.parquet", "no such file"),
    ],
    ids=["iterator", "empty", "ragged", "nan", "missing"],
)
def test_a_bad_stream_gets_one_line(X, says):
    with pytest.raises(InputError, match=says) as caught:
        Observations.of(X)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "rows.xlsx"
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match="save the table as CSV or Parquet"):
        Observations.of(path)


def test_a_text_column_in_a_file_is_named(tmp_path):
    path = tmp_path / "iris.csv"
    bg.datasets.load("iris", labels=True).to_csv(path, index=False)
    with pytest.raises(InputError, match="'species' holds text"):
        bg.fit(path, 3)


@pytest.fixture(scope="module")
def posteriors(rows):
    """Of a stream and of an array."""
    settings = {"draws": 250, "tune": 50, "chains": 2, "seed": 1, "progressbar": False}
    return bg.sample(Again(rows), 2, **settings), bg.sample(rows, 2, **settings)


def test_a_posterior_is_the_same_however_the_rows_are_kept(posteriors):
    streamed, whole = posteriors
    assert "observed_data" in whole.children
    assert "observed_data" not in streamed.children
    for group in ("posterior", "sample_stats", "invariants", "point_estimate"):
        xr.testing.assert_identical(streamed[group].to_dataset(), whole[group].to_dataset())


def test_a_posterior_without_its_rows_is_judged_compared_and_asked(posteriors, rows, tmp_path):
    streamed, whole = posteriors
    assert bg.diagnose(streamed).verdict == bg.diagnose(whole).verdict
    found = bg.compare(bg.fit(Again(rows), 2, seed=1), streamed).dataset
    expected = bg.compare(bg.fit(rows, 2, seed=1), whole).dataset
    assert found["standard_error"].isnull().all()  # it would take the rows
    xr.testing.assert_allclose(*(d.drop_vars("standard_error") for d in (found, expected)))
    asked = bg.predict(streamed, rows[:5])
    xr.testing.assert_identical(asked, bg.predict(whole, rows[:5]))
    checked = [bg.check(*of, draws=20, seed=1).tree for of in ((streamed, rows), (whole,))]
    xr.testing.assert_identical(*checked)
    assert bg.report({"posterior": streamed}, tmp_path / "report.html").exists()
    for needs_rows in (bg.loo, bg.partition, bg.check):
        with pytest.raises(InputError, match="X is needed"):
            needs_rows(streamed)
    with pytest.raises(InputError, match="keeps no copy of its 3,001 rows"):
        bg.relabel(streamed, "stephens")
    with pytest.raises(InputError, match="fitted to other data"):
        bg.compare(bg.fit(Again(rows[:-1]), 2, seed=1), streamed)


@pytest.mark.parametrize("options", [{"engine": "nuts"}, {"engine": "pymc"}, {"prior": None}])
def test_only_gibbs_reads_blocks(rows, options):
    if "prior" in options:
        options = {"prior": bg.IndependentPrior.default(rows, 2)}
    with pytest.raises(InputError, match="only engine="):
        bg.sample(Again(rows), 2, **options)


def test_pages_of_a_mapped_file_are_handed_back_but_not_those_of_a_private_copy(
    rows, tmp_path, monkeypatch
):
    monkeypatch.setattr(streams, "MOST_HELD", 1000)
    path = tmp_path / "rows.npy"
    np.save(path, rows)
    for mode, dropped in (("r", True), ("r+", True), ("c", False)):
        mapped = np.load(path, mmap_mode=mode)
        values = Observations.of(mapped).values
        assert (streams._droppable(values) is not None) == dropped
        if mode == "c":
            mapped[0, 0] = 5.0
        read = np.concatenate(list(blocks(values, 100)))
        np.testing.assert_array_equal(read, mapped)
    assert streams._droppable(rows) is None
