"""Every verb takes every kind of table, and answers the same."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr

import bayes_gmm as bg

FRAME = bg.datasets.load("faithful").iloc[:80]
SHORT = {"draws": 60, "tune": 10, "chains": 2, "seed": 0, "progressbar": False}


def csv(folder):
    FRAME.to_csv(folder / "rows.csv", index=False)
    return folder / "rows.csv"


def german_csv(folder):
    FRAME.to_csv(folder / "german.csv", index=False, sep=";", decimal=",", encoding="utf-16")
    return str(folder / "german.csv")


def parquet(folder):
    FRAME.to_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


TABLES = {
    "lists": lambda folder: FRAME.to_numpy().tolist(),
    "frame": lambda folder: FRAME,
    "dict": lambda folder: FRAME.to_dict("list"),
    "records": lambda folder: FRAME.to_dict("records"),
    "polars": lambda folder: pl.DataFrame(FRAME.to_dict("list")),
    "lazy": lambda folder: pl.LazyFrame(FRAME.to_dict("list")),
    "arrow": lambda folder: pa.Table.from_pandas(FRAME),
    "dataarray": lambda folder: xr.DataArray(FRAME, dims=("obs_id", "feature")),
    "csv": csv,
    "german_csv": german_csv,
    "parquet": parquet,
    "function": lambda folder: lambda: iter([FRAME[:30], FRAME[30:]]),
    "blocks": lambda folder: [FRAME[:30].to_numpy(), FRAME[30:].to_numpy()],
}


@pytest.fixture(scope="module")
def world():
    return bg.fit(FRAME, 2, seed=0), bg.sample(FRAME, 2, **SHORT)


VERBS = {
    "fit": lambda world, X: bg.fit(X, 2, seed=0)["point_estimate"]["means"],
    "select": lambda world, X: bg.select(
        X, [1, 2], covariance="EEE", seed=0, progressbar=False
    ).dataset["bic"],
    "how_many": lambda world, X: bg.how_many(
        X, [1, 2], criteria=["bic", "modes"], covariance="EEE", seed=0, progressbar=False
    ).dataset[["bic", "n_modes"]],
    "merge": lambda world, X: bg.merge(world[0], X).dataset["responsibilities"],
    "sample": lambda world, X: bg.sample(X, 2, **SHORT)["posterior"]["means"],
    "predict": lambda world, X: bg.predict(world[1], X)["responsibilities"],
    "log_density": lambda world, X: bg.log_density(world[0], X),
    "check": lambda world, X: bg.check(world[1], X, draws=20, seed=0).tree.to_dataset(),
    "loo": lambda world, X: bg.loo(world[1], X).elpd_i,
    "co_clustering": lambda world, X: bg.co_clustering(world[1], X),
    "standard_errors": lambda world, X: bg.standard_errors(world[0], X).table.to_xarray(),
}


@pytest.mark.filterwarnings("ignore::bayes_gmm.errors.FileFormatWarning")
@pytest.mark.filterwarnings("ignore:.*Pareto k")
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_answers_the_same_whatever_the_table_is(verb, world, tmp_path):
    expected = VERBS[verb](world, FRAME)
    for kind, table in TABLES.items():
        found = VERBS[verb](world, table(tmp_path))
        for one, other in zip(_variables(found), _variables(expected), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=kind)


def _variables(found):
    if isinstance(found, xr.DataArray):
        return [found.to_numpy()]
    return [array.to_numpy() for array in found.data_vars.values()]
