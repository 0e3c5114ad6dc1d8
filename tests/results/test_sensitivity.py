import arviz as az
import numpy as np
import pytest
import xarray as xr
from results.synthetic import (
    conjugate_posterior,
    exact_draws,
    one_component,
    posterior_result,
    two_components,
)

from bayes_gmm.errors import InputError
from bayes_gmm.model.priors import Prior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.results.draws import Draws
from bayes_gmm.results.evidence import LABEL_FREE, RELABELLED
from bayes_gmm.results.sensitivity import CONFLICT, STRONG_PRIOR, sensitivity

NAMES = ["eruptions", "waiting"]


@pytest.fixture(scope="module")
def pair():
    return two_components(2, n=100, names=NAMES)


def normal_result(x, prior, n_draws=500, seed=0):
    """Exact posterior draws of one normal under a prior."""
    statistics = SufficientStatistics.of(x, np.ones((len(x), 1)), np.zeros((1, x.shape[1])), 0.0)
    draws = exact_draws(prior.posterior(statistics), 4, n_draws, np.random.default_rng(seed))
    return posterior_result(draws, x, prior)


def test_the_numbers_are_arviz_s_own(pair):
    posterior = pair[3]
    table = sensitivity(posterior).table
    free = posterior["invariants"].to_dataset()
    draws = posterior["posterior"].to_dataset()
    tree = xr.DataTree.from_dict(
        {
            "/posterior": draws.drop_vars("covariances").assign(sum2=free["sum_squared_weights"]),
            "/log_prior": xr.Dataset({"all": free["log_posterior"] - free["log_likelihood"]}),
            "/log_likelihood": free[["log_likelihood"]],
        }
    )
    truth = az.psense_summary(tree, round_to=12)
    for quantity, name in (
        ((LABEL_FREE, "sum_squared_weights"), "sum2"),
        ((RELABELLED, "weight[1]"), "weights[1]"),
        ((RELABELLED, "mean[1, waiting]"), "means[1, waiting]"),
    ):
        for column in ("prior", "likelihood"):
            assert table.loc[quantity, column] == pytest.approx(truth.loc[name, column], rel=1e-6)


def test_the_table_is_in_the_user_s_units(pair):
    table = sensitivity(pair[3]).table
    draws = Draws.of(pair[3])
    row = table.loc[(RELABELLED, "mean[0, eruptions]")]
    assert row["mean"] == pytest.approx(draws.means[..., 0, 0].mean())
    assert row["sd"] == pytest.approx(draws.means[..., 0, 0].std())
    row = table.loc[(RELABELLED, "sd[1, waiting]")]
    assert row["mean"] == pytest.approx(np.sqrt(draws.covariances[..., 1, 1, 1]).mean())
    quantities = table.index.get_level_values("quantity")
    assert not any(name.startswith(("covariance", "log_likelihood")) for name in quantities)
    assert "log_posterior" not in quantities


def test_a_shift_is_the_rate_at_which_the_mean_moves(pair):
    posterior = pair[3]
    table = sensitivity(posterior).table
    free = posterior["invariants"]
    likelihood = free["log_likelihood"].to_numpy()
    prior = free["log_posterior"].to_numpy() - likelihood
    values = Draws.of(posterior).means[..., 1, 0]
    for column, scaled in (("prior_shift", prior), ("likelihood_shift", likelihood)):
        means = []
        for alpha in (0.999, 1.001):
            weight = np.exp((alpha - 1) * (scaled - scaled.max()))
            means.append((weight * values).sum() / weight.sum())
        rate = (means[1] - means[0]) / np.log2(1.001 / 0.999)
        assert table.loc[(RELABELLED, "mean[1, eruptions]"), column] == pytest.approx(
            rate, rel=1e-3
        )


def test_the_shift_of_a_conjugate_mean_is_known():
    # With a known spread the posterior mean is (n xbar + alpha k m) / (n + alpha k), so that its
    # derivative by log alpha at alpha = 1 is n k (m - xbar) / (n + k)^2. Many degrees of freedom
    # make the spread known.
    x = np.random.default_rng(0).normal(size=(40, 1))
    x -= x.mean()
    spread = 1e5
    prior = Prior([1.0], [[1.0]], [10.0], [spread], [[[spread]]])
    result = normal_result(x, prior)
    row = sensitivity(result).table.loc[(RELABELLED, "mean[0, x0]")]
    exact = np.log(2) * 40 * 10 * 1.0 / 50**2
    log_prior = result["invariants"]["log_posterior"] - result["invariants"]["log_likelihood"]
    error = np.log(2) * row["sd"] * log_prior.std().item() / np.sqrt(log_prior.size)
    assert abs(row["prior_shift"] - exact) < 5 * error
    assert exact > 20 * error  # the test can tell


def test_a_prior_far_from_the_data_is_a_conflict():
    x = np.random.default_rng(1).normal(size=(30, 1))
    found = sensitivity(normal_result(x, Prior([1.0], [[4.0]], [10.0], [4.0], [[[1.0]]])))
    assert found.table.loc[(RELABELLED, "mean[0, x0]"), "diagnosis"] == CONFLICT
    assert "Potential prior-data conflict in" in found.verdict
    assert "The prior matters to" in found.verdict


def test_a_prior_that_outweighs_the_data_is_strong():
    x = np.random.default_rng(1).normal(size=(4, 1))
    tight = Prior([1.0], [[x.mean()]], [1000.0], [4.0], [[[1.0]]])
    found = sensitivity(normal_result(x, tight))
    assert found.table.loc[(RELABELLED, "mean[0, x0]"), "diagnosis"] == STRONG_PRIOR
    assert "the prior decides" in found.verdict


def test_the_prior_hardly_matters_to_many_rows():
    x = np.random.default_rng(2).normal(size=(2000, 1))
    weak = Prior([1.0], [[0.0]], [0.01], [3.0], [[[1.0]]])
    found = sensitivity(normal_result(x, weak))
    assert set(found.table["diagnosis"]) == {"-"}
    assert found.verdict.startswith("The prior hardly matters. It matters most to")
    strict = sensitivity(normal_result(x, weak), threshold=1e-6)
    assert CONFLICT in set(strict.table["diagnosis"])


def test_label_free_rows_do_not_know_names(pair):
    x, _, _, posterior = pair
    draws = Draws.of(posterior)
    order = np.random.default_rng(0).permuted(np.broadcast_to([0, 1], draws.weights.shape), axis=2)
    pivot = Draws.of(posterior).thinned(1)[0]
    both = [
        posterior_result(given, x, Prior.default(x, 2), pivot=pivot, names=NAMES)
        for given in (draws, draws.reorder(order))
    ]
    before, after = (sensitivity(result).table.loc[LABEL_FREE] for result in both)
    numbers = ["mean", "sd", "prior", "likelihood", "prior_shift"]
    np.testing.assert_allclose(after[numbers], before[numbers], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_units_change_means_and_not_sensitivities(scale):
    x, _, result = one_component(1)
    draws = Draws.of(result)
    moved = Draws(draws.weights, scale * draws.means, scale**2 * draws.covariances)
    other = sensitivity(posterior_result(moved, scale * x, Prior.default(scale * x, 1))).table
    table = sensitivity(result).table
    assert len(other) == len(table)
    np.testing.assert_allclose(other["prior"], table["prior"], rtol=1e-4)
    np.testing.assert_allclose(other["likelihood"], table["likelihood"], rtol=1e-4)
    place = (RELABELLED, "mean[0, x1]")
    for column in ("mean", "sd", "prior_shift"):
        assert other.loc[place, column] == pytest.approx(scale * table.loc[place, column], rel=1e-4)


def test_it_prints_as_a_verdict_and_a_table(pair):
    found = sensitivity(pair[3])
    written = str(found)
    assert written.startswith(found.verdict[:40])
    assert "mean[0, eruptions]" in written
    assert "shift by prior" in written
    assert "<table" in found._repr_html_()


def test_what_cannot_be_is_refused(pair):
    with pytest.raises(InputError, match="threshold must be a positive number"):
        sensitivity(pair[3], threshold=0)
    with pytest.raises(InputError, match="chains of 5 draws"):
        sensitivity(two_components(1, n=20, n_draws=5)[3])
    without = pair[3].copy()
    without["invariants"] = xr.DataTree(
        without["invariants"].to_dataset().drop_vars("log_posterior")
    )
    with pytest.raises(InputError, match="lack 'log_posterior'"):
        sensitivity(without)
    with pytest.raises(InputError, match=r"must be a result of bg\.sample"):
        sensitivity(conjugate_posterior)
