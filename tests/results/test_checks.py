import numpy as np
import pytest
from results.synthetic import (
    conjugate_posterior,
    exact_draws,
    one_component,
    posterior_result,
    two_components,
)
from scipy import stats

from bayes_gmm.errors import InputError
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.posterior.checks import STATISTICS, Marginals, adjusted_p_values, p_values, shape
from bayes_gmm.results import checks
from bayes_gmm.results.checks import check
from bayes_gmm.results.reading import draws_of


def one_normal_fitted_to(x, seed=0, n_draws=200):
    rng = np.random.default_rng(seed)
    exact = conjugate_posterior(x, np.zeros(len(x), int), 1)
    return posterior_result(exact_draws(exact, 1, n_draws, rng), x, ConjugatePrior.default(x, 1))


@pytest.fixture(scope="module")
def pair():
    x, _, _, result = two_components(1, names=["eruptions", "waiting"])
    return x, result, check(result, seed=1)


def test_the_mean_of_replicates_follows_its_predictive_distribution():
    x, exact, result = one_component(3, n_draws=500)
    checked = check(result, draws=2000, seed=4)
    means = checked.tree["statistics"]["replicated"].sel(statistic="mean").to_numpy()
    assert means.shape == (2000, 2)
    # The mean of N new rows is Student t about the posterior mean, scaled by 1/kappa + 1/N.
    freedom = exact.degrees_of_freedom[0] - 1
    spread = np.diagonal(exact.scale[0]) / freedom * (1 / exact.mean_precision[0] + 1 / len(x))
    probabilities = stats.t.cdf((means - exact.mean[0]) / np.sqrt(spread), df=freedom)
    for column in probabilities.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    assert stats.kstest(probabilities[:, 0] ** 1.3, "uniform").pvalue < 1e-4  # the test can tell


def test_p_values_count_the_replicates_beyond_the_data(pair):
    _, _, checked = pair
    for group in ("statistics", "correlations"):
        data = checked.tree[group]
        replicated, observed = data["replicated"].to_numpy(), data["observed"].to_numpy()
        for place in np.ndindex(observed.shape):
            values = replicated[(slice(None), *place)]
            above = (1 + sum(values >= observed[place])) / 501
            below = (1 + sum(values <= observed[place])) / 501
            expected = min(1, 2 * min(above, below))
            if group == "statistics" and data["statistic"][place[1]] == "distance":
                expected = above
            assert data["p_value"].to_numpy()[place] == pytest.approx(expected)


def test_statistics_are_those_of_the_data(pair):
    x, _, checked = pair
    observed = checked.tree["statistics"]["observed"]
    for name, expected in {
        "mean": x.mean(axis=0),
        "sd": x.std(axis=0),
        "skewness": stats.skew(x),
        "kurtosis": stats.kurtosis(x, fisher=False),
        "min": x.min(axis=0),
        "q25": np.percentile(x, 25, axis=0),
        "max": x.max(axis=0),
    }.items():
        np.testing.assert_allclose(observed.sel(statistic=name), expected, rtol=1e-10)
    correlation = checked.tree["correlations"]
    assert correlation["pair"].to_numpy().tolist() == ["waiting, eruptions"]
    assert correlation["observed"].item() == pytest.approx(np.corrcoef(x.T)[1, 0])


def test_a_seed_repeats_the_replicates(pair):
    _, result, checked = pair
    again, other = check(result, seed=1), check(result, seed=2)
    assert again.tree.identical(checked.tree)
    assert not other.tree["statistics"].equals(checked.tree["statistics"])


def test_a_true_model_passes_and_prints_in_the_units_and_names_of_the_user(pair):
    x, _, checked = pair
    assert checked.ok
    assert checked.p_value > 0.05
    assert checked.verdict.startswith("The model makes data like these: none of 25 statistics")
    text = str(checked)
    for name in ("min[eruptions]", "q95[waiting]", "correlation[waiting, eruptions]"):
        assert name in text
    row = next(line for line in text.splitlines() if line.startswith("mean[waiting]"))
    assert abs(float(row.split()[1]) - x[:, 1].mean()) < 0.1
    assert "<table" in checked._repr_html_()
    assert (checked.table["lower"] < checked.table["upper"]).all()


def test_p_values_are_uniform_where_no_parameter_is_fitted_and_alarms_are_rare():
    # Skewness and kurtosis do not depend on location and scale, so that replicates of one normal
    # have their exact distribution under the model, whatever the fit.
    rng = np.random.default_rng(0)
    checked = [
        check(one_normal_fitted_to(rng.normal(5, 3, size=(50, 1)), seed=s, n_draws=80), seed=s)
        for s in range(30)
    ]
    for name in ("skewness[x0]", "kurtosis[x0]"):
        p = [one.table.loc[name, "p_value"] for one in checked]
        assert stats.kstest(p, "uniform").pvalue > 0.01
    assert sum(not one.ok for one in checked) <= 4


@pytest.mark.parametrize("seed", range(5))
def test_one_normal_for_two_clusters_is_found_out(seed):
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(-2.5, 1, 60), rng.normal(2.5, 1, 60)])[:, None]
    checked = check(one_normal_fitted_to(x, seed), seed=seed)
    assert not checked.ok
    assert {"kurtosis[x0]", "distance[x0]"} & set(checked.surprising)
    assert checked.verdict.startswith("The model does not make data like these (joint p = 0.0")
    assert "*" in str(checked)


def test_of_many_surprises_some_are_named_and_the_rest_counted(pair):
    tree = pair[2].tree.copy(deep=True)
    for group in ("statistics", "correlations"):
        tree[group]["adjusted_p_value"][:] = 0.01
    several = checks.Check(tree)
    n_others = len(several.table) - 1
    assert (
        f"{several.surprising[5]} and {n_others - 5} more (marked in the table)" in several.verdict
    )
    assert several.surprising[6] not in several.verdict


def test_heavy_tails_are_found_out():
    x = np.random.default_rng(0).standard_t(1.5, size=(200, 2))
    checked = check(one_normal_fitted_to(x), seed=0)
    assert not checked.ok
    assert {"kurtosis[x0]", "kurtosis[x1]"} <= set(checked.surprising)


def test_one_feature_has_no_correlations():
    checked = check(one_normal_fitted_to(np.random.default_rng(0).normal(size=(50, 1))), seed=0)
    assert "correlations" not in checked.tree.children
    assert len(checked.table) == len(STATISTICS) + 1


def test_densities_share_one_grid_and_one_blur(pair):
    x, _, checked = pair
    density = checked.tree["density"]
    for j, feature in enumerate(["eruptions", "waiting"]):
        one = density.to_dataset().sel(feature=feature)
        width = float(one["x"][1] - one["x"][0])
        for curve in ("observed", "mean"):
            assert float(one[curve].sum()) * width == pytest.approx(1, abs=0.01)
        blur = Marginals.of(x).bandwidth[j]
        kernel = stats.gaussian_kde(x[:, j], bw_method=blur / x[:, j].std(ddof=1))
        difference = one["observed"].to_numpy() - kernel(one["x"].to_numpy())
        assert np.abs(difference).max() < 0.03 * float(one["observed"].max())
        assert (one["lower"] <= one["mean"]).all()
        inside = (one["lower"] <= one["observed"]) & (one["observed"] <= one["upper"])
        assert inside.mean() > 0.8


def test_shape_is_the_distribution_function_of_the_standardized_feature():
    x = np.random.default_rng(0).gamma(2, size=(50, 2))
    steps = np.linspace(-6, 6, 481)
    for column, found in zip(x.T, shape(x), strict=True):
        z = (column - column.mean()) / column.std()
        np.testing.assert_allclose(found, [(z <= step).mean() for step in steps])


def test_units_and_origin_change_no_p_value():
    x, _, result = one_component(3, n_draws=100)
    shift, scale = np.array([1e3, -1e6]), np.array([1e-3, 1e7])
    draws = draws_of(result)
    moved = posterior_result(
        (draws.weights, shift + scale * draws.means, draws.covariances * np.outer(scale, scale)),
        shift + scale * x,
        ConjugatePrior.default(x, 1),
    )
    here, there = check(result, seed=5), check(moved, seed=5)
    columns = ["p_value", "adjusted_p_value"]
    np.testing.assert_allclose(there.table[columns], here.table[columns], atol=0.01)
    np.testing.assert_allclose(there.table.loc["max[x1]", "observed"], -1e6 + 1e7 * x[:, 1].max())


def test_many_rows_are_represented_by_some(pair, monkeypatch):
    x, result, _ = pair
    monkeypatch.setattr(checks, "MOST_ROWS", 60)
    checked = check(result, seed=3)
    assert checked.tree.attrs["n_rows_used"] == 60
    assert "60 rows, a random part of 200" in " ".join(str(checked).split())
    smallest = checked.tree["statistics"]["observed"].sel(statistic="min").to_numpy()
    assert all(value in column for value, column in zip(smallest, x.T, strict=True))
    spread = checked.tree["statistics"]["replicated"].sel(statistic="mean").std("draw")
    # A mean of 60 new rows about a posterior mean that 200 rows have told.
    np.testing.assert_allclose(spread, x.std(axis=0) * np.sqrt(1 / 60 + 1 / 200), rtol=0.15)


def test_statistics_can_be_chosen_and_added(pair):
    _, result, _ = pair
    chosen = check(result, statistics=["min", "max"], draws=50, seed=0)
    assert chosen.tree["statistics"]["statistic"].to_numpy().tolist() == ["min", "max", "distance"]
    own = check(result, statistics={"range": lambda x: np.ptp(x, axis=0)}, draws=50, seed=0)
    assert "range[waiting]" in own.table.index
    with pytest.raises(InputError, match="no 'mode': choose from mean, sd"):
        check(result, statistics=["mode"])
    with pytest.raises(InputError, match="'total' must return one number per feature"):
        check(result, statistics={"total": np.sum})
    with pytest.raises(InputError, match="draws must be at least 1"):
        check(result, draws=0)


def test_few_replicates_give_no_verdict(pair):
    _, result, _ = pair
    assert check(result, draws=19, seed=0).verdict.startswith("No verdict: 19 replicates")
    assert not check(result, draws=20, seed=0).verdict.startswith("No verdict")


def test_adjusted_p_values_hold_for_all_statistics_together():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12))
    smallest, raw = [], []
    one_sided = np.arange(12) < 3
    for _ in range(400):
        values = np.exp(0.3 * rng.normal(size=(100, 12)) @ mixing)
        smallest.append(adjusted_p_values(values[1:], values[0], one_sided).min())
        raw.append(p_values(values[1:], values[0], one_sided).min())
    assert 0.02 < np.mean(np.array(smallest) <= 0.05) < 0.08
    assert np.mean(np.array(raw) <= 0.05) > 0.2  # what adjusting is for
    assert stats.kstest(smallest, "uniform").pvalue > 0.01


def test_a_statistic_that_never_varies_surprises_only_if_the_data_differ():
    replicated = np.column_stack([np.zeros(99), np.random.default_rng(0).normal(size=99)])
    both_sides = np.zeros(2, dtype=bool)
    assert adjusted_p_values(replicated, np.array([0.0, 0.0]), both_sides).tolist()[0] == 1
    assert adjusted_p_values(replicated, np.array([1.0, 0.0]), both_sides)[0] == 0.01


def test_a_small_value_surprises_unless_only_large_ones_do():
    replicated = np.random.default_rng(0).normal(size=(99, 2))
    observed = np.array([-9.0, 0.0])
    for adjust in (p_values, adjusted_p_values):
        assert adjust(replicated, observed, np.array([False, False]))[0] <= 0.02
        assert adjust(replicated, observed, np.array([True, False]))[0] == 1


def test_only_a_posterior_is_checked():
    with pytest.raises(InputError, match=r"must be a result of bg.sample"):
        check(np.zeros((3, 2)))
