"""Predictions written to a file block by block are those made in one piece."""

import numpy as np
import pandas as pd
import pytest

import bayes_gmm as bg
from bayes_gmm.data import files
from bayes_gmm.errors import InputError


@pytest.fixture(scope="module")
def iris():
    return bg.datasets.load("iris", labels=True)


@pytest.fixture(scope="module")
def fitted(iris):
    return bg.fit(iris.drop(columns="species"), 3, seed=0)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
@pytest.mark.parametrize("source", ["csv", "parquet", "frame", "stream", "result"])
def test_a_file_of_predictions(kind, source, iris, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHUNK_ROWS", 40)
    if source == "csv":
        given = tmp_path / "rows.csv"
        iris.to_csv(given, index=False)
    elif source == "parquet":
        given = tmp_path / "rows.parquet"
        iris.to_parquet(given)
    else:
        given = {"frame": iris, "result": None}.get(
            source, lambda: (iris[start : start + 40] for start in range(0, 150, 40))
        )
    out = bg.predict(fitted, given, out=tmp_path / f"out.{kind}")
    assert out == tmp_path / f"out.{kind}"
    read = pd.read_parquet if kind == "parquet" else pd.read_csv
    found, expected = read(out), bg.predict(fitted, iris)
    assert len(found) == 150
    kept = ["species"] if source != "result" else []
    assert set(kept) <= set(found.columns)
    np.testing.assert_array_equal(found["cluster"], expected["label"])
    share = expected["responsibilities"].isel(cluster=expected["label"])
    np.testing.assert_allclose(found["probability"], share, atol=1e-6)
    np.testing.assert_allclose(found["entropy"], expected["entropy"], atol=1e-6)
    np.testing.assert_array_equal(found["sepal_length"], iris["sepal_length"])
    assert found["row"].tolist() == list(range(150))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_column_that_is_there_keeps_its_name(fitted, iris, tmp_path):
    out = bg.predict(fitted, iris.assign(cluster="mine", row=7), out=tmp_path / "out.csv")
    found = pd.read_csv(out)
    assert set(found["cluster"]) == {"mine"}
    assert set(found["row"]) == {7}
    assert set(found["cluster_"]) == {0, 1, 2}
    assert found["row_"].tolist() == list(range(150))


def test_a_posterior_adds_the_ends_of_the_interval(faithful_posterior, tmp_path):
    rows = bg.datasets.load("faithful")
    out = bg.predict(faithful_posterior, rows, ci_prob=0.5, out=tmp_path / "out.parquet")
    found, expected = pd.read_parquet(out), bg.predict(faithful_posterior, rows, ci_prob=0.5)
    for end in ("lower", "upper"):
        values = expected[f"responsibilities_{end}"].isel(cluster=expected["label"])
        np.testing.assert_allclose(found[end], values, atol=1e-6)
    assert list(found.columns)[-5:] == ["cluster", "probability", "lower", "upper", "entropy"]


def test_a_failure_leaves_the_old_file(fitted, iris, tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("old")
    bad = iris.assign(sepal_width=np.where(np.arange(150) == 120, np.nan, iris["sepal_width"]))
    with pytest.raises(InputError, match="sepal_width: 1"):
        bg.predict(fitted, lambda: iter([bad[:100], bad[100:]]), out=out)
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]
    with pytest.raises(InputError, match=r"ends in \.csv"):
        bg.predict(fitted, iris, out=tmp_path / "out.xlsx")
