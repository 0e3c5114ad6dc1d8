import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from results.synthetic import two_components

import bayes_gmm as bg
from bayes_gmm.data.writing import replace
from bayes_gmm.errors import InputError
from bayes_gmm.results.analysis import read_point, save
from bayes_gmm.results.checks import check
from bayes_gmm.results.compare import compare
from bayes_gmm.results.loo import loo
from bayes_gmm.results.sensitivity import sensitivity

NAMES = ["eruptions", "waiting"]


@pytest.fixture(scope="module")
def results():
    x, _, _, posterior = two_components(6, n=80, n_chains=2, n_draws=250, names=NAMES)
    mle = bg.fit(pd.DataFrame(x, columns=NAMES), 2, n_starts=3, seed=0)
    return {
        "mle": mle,
        "map": bg.fit(pd.DataFrame(x, columns=NAMES), 2, prior="default", n_starts=3, seed=0),
        "posterior": posterior,
        "comparison": compare(mle, posterior),
        "checks": check(posterior, draws=20, seed=0),
        "sensitivity": sensitivity(posterior),
        "loo": loo(posterior),
    }


def test_everything_comes_back_from_the_file(results, tmp_path):
    tree = az.from_netcdf(save(results, tmp_path / "analysis.nc"))
    for group, kept in results["posterior"].children.items():
        xr.testing.assert_identical(tree[group].to_dataset(), kept.to_dataset())
    assert tree.attrs == results["posterior"].attrs
    for group, kept in results["mle"].children.items():
        xr.testing.assert_equal(tree[f"mle/{group}"].to_dataset(), kept.to_dataset())
    assert bg.point_estimate(tree["mle"]).weights == pytest.approx(
        bg.point_estimate(results["mle"]).weights
    )
    estimate = results["comparison"].dataset["estimate"]
    np.testing.assert_array_equal(tree["comparison/estimate"], estimate)
    np.testing.assert_array_equal(
        tree["checks/statistics/p_value"], results["checks"].tree["statistics/p_value"]
    )
    kept = tree["sensitivity"].to_dataset()
    np.testing.assert_array_equal(kept["prior"], results["sensitivity"].table["prior"])
    assert list(kept["quantity"].to_numpy()) == list(
        results["sensitivity"].table.index.get_level_values("quantity")
    )
    assert tree["loo"].attrs["elpd"] == results["loo"].elpd
    xr.testing.assert_equal(tree["loo/pareto_k"], results["loo"].pareto_k)
    tree.close()


def test_the_point_estimate_is_read_back_from_the_richest_result(results, tmp_path):
    for names, source in [
        (("posterior", "mle"), "posterior"),
        (("mle",), "mle"),
        (("mle", "map"), "map"),
    ]:
        saved = {name: results[name] for name in names}
        parameters, features = read_point(save(saved, tmp_path / "analysis.nc"))
        assert features == NAMES
        np.testing.assert_array_equal(parameters.means, bg.point_estimate(results[source]).means)


def test_a_file_without_a_point_estimate_is_refused(results, tmp_path):
    path = save({"checks": results["checks"]}, tmp_path / "checks.nc")
    with pytest.raises(InputError, match="holds no point estimate"):
        read_point(path)


def test_arviz_finds_the_draws_in_the_file(results, tmp_path):
    tree = az.from_netcdf(save(results, tmp_path / "analysis.nc"))
    summary = az.summary(tree, var_names=["weights"])
    assert float(summary["mean"].iloc[0]) == pytest.approx(
        float(results["posterior"]["posterior/weights"][..., 0].mean()), abs=0.01
    )
    tree.close()


def test_nothing_to_save_is_an_error(tmp_path):
    with pytest.raises(InputError, match="results is empty"):
        save({}, tmp_path / "analysis.nc")


def test_an_old_file_survives_a_failed_write(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(part):
        part.write_text("half")
        raise OSError

    with pytest.raises(OSError):
        replace(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
