"""However a result was kept, every verb takes it."""

import pickle

import arviz as az
import numpy as np
import pytest
import xarray as xr

import bayes_gmm as bg
from bayes_gmm.errors import InputError
from bayes_gmm.results.analysis import Analysis
from bayes_gmm.results.groups import NAMES


@pytest.fixture(scope="module")
def rows():
    return bg.datasets.load("faithful").iloc[::2]


@pytest.fixture(scope="module")
def results(rows):
    options = {"draws": 100, "chains": 2, "seed": 0, "progressbar": False}
    return {
        "mle": bg.fit(rows, 2, seed=0),
        "map": bg.fit(rows, 2, prior="default", seed=0),
        "posterior": bg.sample(rows, 2, **options),
    }


KEPT = {
    "load": lambda result, path: bg.load(bg.save(result, path)),
    "open": lambda result, path: xr.open_datatree(bg.save(result, path)),
    "arviz": lambda result, path: az.from_netcdf(bg.save(result, path)),
    "xarray": lambda result, path: (result.to_netcdf(path), bg.load(path))[1],
    "pickle": lambda result, path: pickle.loads(pickle.dumps(result)),
}
OF_ANY = {
    "predict": lambda result, rows: bg.predict(result),
    "predict_rows": bg.predict,
    "log_density": lambda result, rows: bg.log_density(result),
    "sample_labels": lambda result, rows: bg.sample_labels(result, n_draws=5, seed=1),
    "co_clustering": lambda result, rows: bg.co_clustering(result),
    "parameters": lambda result, rows: bg.point_estimate(result).weights,
}
OF_ONE = {
    "mle": {"standard_errors": lambda result, rows: bg.standard_errors(result).table},
    "posterior": {
        "diagnose": lambda result, rows: bg.diagnose(result).verdict,
        "check": lambda result, rows: bg.check(result, seed=1).tree,
        "relabel": lambda result, rows: bg.relabel(result)["posterior"].to_dataset(),
        "add_groups": lambda result, rows: bg.add_groups(result, NAMES, draws=5, seed=1)[
            "log_prior"
        ].to_dataset(),
        "add_log_likelihood": lambda result, rows: bg.add_log_likelihood(result)[
            "log_likelihood"
        ].to_dataset(),
    },
}


@pytest.mark.parametrize("how", KEPT)
@pytest.mark.parametrize("name", ["mle", "map", "posterior"])
def test_a_result_that_was_kept_answers_as_before(name, how, results, rows, tmp_path):
    result = results[name]
    again = KEPT[how](result, tmp_path / "result.nc")
    if how == "open":
        assert bg.report(again, tmp_path / "report.html").exists()
    for verb in (OF_ANY | OF_ONE.get(name, {})).values():
        expected, found = verb(result, rows), verb(again, rows)
        if isinstance(expected, xr.Dataset | xr.DataArray):
            xr.testing.assert_equal(found, expected)
        elif isinstance(expected, xr.DataTree):
            xr.testing.assert_equal(found.to_dataset(), expected.to_dataset())
        elif hasattr(expected, "equals"):
            assert found.equals(expected)
        else:
            np.testing.assert_array_equal(found, expected)


def test_a_whole_analysis_comes_back(results, tmp_path):
    parts = results | {"comparison": bg.compare(results["mle"], results["posterior"])}
    tree = bg.load(bg.save(parts, tmp_path / "all.nc"))
    for name in ("mle", "map"):
        xr.testing.assert_equal(bg.predict(tree[name]), bg.predict(results[name]))
    xr.testing.assert_equal(bg.predict(tree), bg.predict(results["posterior"]))
    points = Analysis.of(tree).points
    assert {name: point.attrs["estimator"] for name, point in points.items()} == {
        "MLE": "MLE",
        "MAP": "MAP",
    }
    assert '<section id="em"' in bg.report(tree, tmp_path / "report.html").read_text()
    again = bg.load(bg.save(tree, tmp_path / "again.nc"))
    assert set(again.children) == set(tree.children) >= {"mle", "map", "comparison"}


def test_what_is_no_result_is_refused_in_one_line(results, tmp_path):
    path = bg.save({name: results[name] for name in ("mle", "map")}, tmp_path / "two.nc")
    with pytest.raises(InputError, match=r"choose \['map'\] or \['mle'\]"):
        bg.predict(bg.load(path))
    with pytest.raises(InputError, match=r"nowhere\.nc: no such file"):
        bg.load(tmp_path / "nowhere.nc")
    xr.Dataset({"x": 1}).to_netcdf(tmp_path / "other.nc")
    with pytest.raises(InputError, match="holds no point estimate"):
        bg.load(tmp_path / "other.nc")
    (tmp_path / "text.nc").write_text("no")
    with pytest.raises(InputError, match="no NetCDF file"):
        bg.load(tmp_path / "text.nc")
