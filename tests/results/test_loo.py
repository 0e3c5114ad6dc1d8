import warnings

import arviz as az
import numpy as np
import pytest
import xarray as xr
from results.synthetic import exact_draws, one_component, posterior_result, two_components
from scipy import stats

from bayes_gmm.api.groups import add_log_likelihood
from bayes_gmm.errors import InputError
from bayes_gmm.kernels.membership import Ensemble
from bayes_gmm.model import mixture
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.posterior import loo as loo_module
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.results.loo import loo
from bayes_gmm.results.reading import draws_of


@pytest.fixture(scope="module")
def pair():
    return two_components(2, n=80)


@pytest.mark.parametrize("one", [True, False])
def test_loo_is_that_of_arviz_on_the_whole_array(pair, one):
    posterior = one_component(1)[2] if one else pair[3]
    found, truth = loo(posterior), az.loo(add_log_likelihood(posterior), pointwise=True)
    for name in ("elpd", "se", "p", "good_k", "warning", "n_samples", "n_data_points", "scale"):
        assert getattr(found, name) == getattr(truth, name), name
    np.testing.assert_array_equal(found.elpd_i, truth.elpd_i)
    np.testing.assert_array_equal(found.pareto_k, truth.pareto_k)
    assert found.p_loo_i.sum().item() == pytest.approx(truth.p)
    assert str(found) == str(truth)


def test_the_relative_efficiency_can_be_given(pair):
    found = loo(pair[3], reff=0.3)
    truth = az.loo(add_log_likelihood(pair[3]), pointwise=True, reff=0.3)
    np.testing.assert_array_equal(found.elpd_i, truth.elpd_i)
    assert found.elpd != loo(pair[3]).elpd


def test_left_out_densities_of_one_component_are_student_t():
    x, _, _ = one_component(3, n=40)
    prior = ConjugatePrior.default(x, 1)

    def posterior_of(rows):
        ones = np.ones((len(rows), 1))
        return prior.posterior(SufficientStatistics.of(rows, ones, np.zeros((1, 2)), 0.0))

    rng = np.random.default_rng(0)
    result = posterior_result(exact_draws(posterior_of(x), 4, 500, rng), x, prior)
    truth = []
    for i in range(len(x)):
        exact = posterior_of(np.delete(x, i, axis=0))
        kappa, nu = exact.mean_precision[0], exact.degrees_of_freedom[0] - 1
        shape = exact.scale[0] * (kappa + 1) / (kappa * nu)
        truth.append(stats.multivariate_t(exact.mean[0], shape, df=nu).logpdf(x[i]))
    density = Ensemble.of(draws_of(result).thinned(2000)).log_density(x)
    inverse = np.exp(density.min(axis=1, keepdims=True) - density)
    error = inverse.std(axis=1) / inverse.mean(axis=1) / np.sqrt(2000)
    found = loo(result)
    z = (found.elpd_i - truth) / error
    assert np.abs(z).max() < 5
    in_sample = np.log(np.exp(density).mean(axis=1))
    assert (np.abs(in_sample - truth) / error).max() > 20  # the test can tell


def test_no_more_is_held_than_is_allowed_and_the_numbers_are_the_same(pair, monkeypatch):
    whole = loo(pair[3])
    seen = []
    original = Ensemble.log_density

    def watched(self, x):
        seen.append(len(x))
        return original(self, x)

    monkeypatch.setattr(Ensemble, "log_density", watched)
    monkeypatch.setattr(loo_module, "THREADS", 2)
    small = loo(pair[3], memory=0.0008)
    per_row = 8 * (loo_module.COPIES + 2) * 1000
    assert 1 < max(seen) <= 0.0008 * 2**30 / 2 / per_row
    assert sum(seen) == 80
    np.testing.assert_array_equal(small.elpd_i, whole.elpd_i)
    with pytest.raises(InputError, match="single row in 1,000 draws needs"):
        loo(pair[3], memory=1e-5)


def test_models_are_compared_by_arviz(pair):
    x, _, _, two = pair
    one = SufficientStatistics.of(x, np.ones((len(x), 1)), np.zeros((1, 2)), 0.0)
    exact = ConjugatePrior.default(x, 1).posterior(one)
    draws = exact_draws(exact, 4, 250, np.random.default_rng(1))
    single = posterior_result(draws, x, ConjugatePrior.default(x, 1))
    table = az.compare({"K = 1": loo(single), "K = 2": loo(two)}, round_to="none")
    assert table.index[0] == "K = 2"
    assert table.loc["K = 1", "elpd_diff"] == pytest.approx(loo(single).elpd - loo(two).elpd)


def test_an_influential_row_is_reported():
    x, _, _ = one_component(5, n=12)
    x[7] = x.mean(axis=0) + np.array([40, 0])
    prior = ConjugatePrior.default(x, 1)
    exact = prior.posterior(SufficientStatistics.of(x, np.ones((12, 1)), np.zeros((1, 2)), 0.0))
    result = posterior_result(exact_draws(exact, 4, 250, np.random.default_rng(0)), x, prior)
    with pytest.warns(
        UserWarning, match=r"Pareto k is above 0.67 in 1 row of 12 \(largest: .* row 7"
    ):
        found = loo(result)
    assert found.warning
    assert found.pareto_k.argmax("obs_id") == 7


def test_the_group_of_log_likelihoods_is_added_to_a_copy(pair):
    x, _, _, posterior = pair
    added = add_log_likelihood(posterior)
    assert "log_likelihood" not in posterior.children
    values = added["log_likelihood"]["x"]
    assert values.dims == ("chain", "draw", "obs_id")
    draws = draws_of(posterior)
    theta = draws.thinned(10**6)[draws.n_draws + 3]
    truth = mixture.marginal_log_density(x, theta)
    np.testing.assert_allclose(values.isel(chain=1, draw=3), truth, rtol=1e-11)
    total = posterior["invariants"]["log_likelihood"]
    np.testing.assert_allclose(values.sum("obs_id"), total, rtol=1e-11)


def test_too_large_an_array_is_refused_with_its_size(pair):
    posterior = pair[3]
    many = np.broadcast_to(pair[0][0], (10**6, 2))
    message = r"log_likelihood in 1,000 draws of 1,000,000 rows needs 7.45 GiB.*bg.loo.*=7.5"
    with pytest.raises(InputError, match=message):
        add_log_likelihood(posterior, many)


def test_rows_must_be_those_of_the_posterior(pair):
    x, _, _, posterior = pair
    told = posterior.copy()
    told.attrs["n_observations"] = len(x)
    np.testing.assert_array_equal(loo(told, x).elpd_i, loo(posterior).elpd_i)
    with pytest.raises(InputError, match="X has 79 rows, but the posterior was computed from 80"):
        loo(told, x[1:])


def test_few_draws_and_points_are_refused(pair):
    with pytest.raises(InputError, match="posterior has 40 draws, too few"):
        loo(two_components(1, n=20, n_draws=10)[3])
    with pytest.raises(InputError, match=r"must be a result of bg\.sample"):
        loo(xr.DataTree())


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_units_move_elpd_by_their_logarithm_and_nothing_else(scale):
    x, _, result = one_component(1)
    draws = draws_of(result)
    moved = Draws(draws.weights, scale * draws.means, scale**2 * draws.covariances)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = loo(posterior_result(moved, scale * x, ConjugatePrior.default(scale * x, 1)))
    found = loo(result)
    np.testing.assert_allclose(other.elpd_i + 2 * np.log(scale), found.elpd_i, rtol=1e-9)
    np.testing.assert_allclose(other.pareto_k, found.pareto_k, atol=1e-6)
