from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from results.synthetic import conjugate_posterior, exact_draws, posterior_result, two_components

from bayes_gmm.model import mixture
from bayes_gmm.model.mixture import mixture_moments
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.posterior.criteria import criteria
from bayes_gmm.posterior.dispensable import SAVING, best_merger, merged
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.results.diagnostics import diagnose
from bayes_gmm.results.labels import prior_dataset
from tests.helpers import from_labels, random_parameters

UNKNOWN = np.full((1, 1), -np.inf)  # log-likelihood of draws that are to have no say


def as_draws(theta):
    return Draws(*(a[None, None] for a in (theta.weights, theta.means, theta.covariances)))


def found(theta, x, draws=None, log_likelihood=UNKNOWN):
    return best_merger(theta, draws or as_draws(theta), log_likelihood, x)


def bic(theta, x):
    n_components, n_features = theta.means.shape
    n_parameters = n_components * (n_features + 1) * (n_features + 2) / 2 - 1
    return criteria(mixture.log_likelihood(x, theta), n_parameters, len(x), 0.0)["bic"]


def moments(theta):
    return mixture_moments(theta.weights, theta.means, theta.covariances)


def one_cluster_split(seed, n=200):
    """One normal cluster, a second far away, and the first one split in two at random."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)) + 12.0 * (np.arange(n) < n // 2)[:, None]
    z = np.where(np.arange(n) < n // 2, 2, rng.integers(0, 2, n))
    return rng, x, z


@pytest.mark.parametrize("pair", [(0, 1), (0, 2), (1, 2), (2, 1)])
def test_a_merger_keeps_the_moments_of_the_mixture(pair):
    theta = random_parameters(np.random.default_rng(1), 3, 2)
    one = merged(theta, *pair)
    assert one.n_components == 2
    for ours, before in zip(moments(one), moments(theta), strict=True):
        np.testing.assert_allclose(ours, before, rtol=1e-12)
    kept = 3 - sum(pair)
    np.testing.assert_array_equal(one.means[0], theta.means[kept])
    assert one.weights[1] == pytest.approx(theta.weights[list(pair)].sum())


def test_components_without_weight_merge():
    theta = Parameters([0.0, 0.0, 1.0], [[0.0], [2.0], [9.0]], np.ones((3, 1, 1)))
    one = merged(theta, 0, 1)
    assert one.weights.tolist() == [1.0, 0.0]
    assert (one.means[1, 0], one.covariances[1, 0, 0]) == (1.0, 2.0)
    x = np.random.default_rng(0).normal(size=(50, 1)) + 9
    assert found(theta, x).saving == pytest.approx(3 * np.log(50))


@pytest.mark.parametrize("d", [1, 3])
def test_the_saving_is_the_difference_of_bic(d):
    rng = np.random.default_rng(d)
    theta = random_parameters(rng, 4, d)
    x, _ = mixture.sample(theta, 300, rng)
    savings = {
        pair: bic(theta, x) - bic(merged(theta, *pair), x) for pair in combinations(range(4), 2)
    }
    best = found(theta, x)
    assert (best.one, best.other) == max(savings, key=savings.get)
    assert best.saving == pytest.approx(max(savings.values()), abs=1e-8)


def test_the_saving_depends_on_neither_units_nor_names():
    rng, x, z = one_cluster_split(0)
    theta = from_labels(x, z)
    here = found(theta, x)
    assert (here.one, here.other) == (0, 1)
    shift, scale = np.array([4e-3, -3e6]), np.array([1e-6, 1e7])
    order = [2, 0, 1]
    there = found(theta.rescale(shift, scale).reorder(order), shift + scale * x)
    assert (there.one, there.other) == (1, 2)
    assert there.saving == pytest.approx(here.saving, abs=1e-6)
    among = rng.permutation(len(x))
    assert found(theta, x[among]).saving == pytest.approx(here.saving, abs=1e-8)


def test_one_component_has_none_to_merge_with():
    x = np.random.default_rng(0).normal(size=(50, 2))
    assert found(from_labels(x, np.zeros(50, int)), x) is None


def test_draws_that_lie_above_the_point_take_its_place():
    # The point tells two of the three clusters apart, one component of it being of no use.
    rng, x, z = one_cluster_split(1)
    x[z == 1] += [0.0, 8.0]
    poor, good = from_labels(x, np.where(z == 2, 2, rng.integers(0, 2, len(z)))), from_labels(x, z)
    assert found(poor, x).saving > SAVING
    height = mixture.log_likelihood(x, good)
    draws = Draws(
        *(
            np.concatenate(three, axis=1)
            for three in zip(*map(as_draws, (poor, good, poor)), strict=True)
        )
    )
    above, below = np.array([[height - 2, height, height - 3]]), np.full((1, 3), -1e9)
    below[0, 1] = height
    assert found(poor, x, draws, above) == found(good, x)
    assert found(good, x).saving < 0
    assert found(poor, x, draws, below) == found(poor, x)  # one draw may be high by chance


def posterior(x, z, seed, stuck=None):
    """A result whose draws are those of known labels; one chain of it may stand still."""
    k = z.max() + 1
    draws = exact_draws(conjugate_posterior(x, z, k), 4, 300, np.random.default_rng(seed))
    if stuck is not None:
        for array in draws:
            array[stuck] = array[stuck, :1]
    return posterior_result(draws, x, ConjugatePrior.default(x, k), pivot=from_labels(x, z))


def under_default_prior(result, x):
    """The same result, which says what prior it was made under."""
    prior = prior_dataset(ConjugatePrior.default(x, result.attrs["n_components"]), ("x0", "x1"))
    return result.assign(prior_parameters=xr.DataTree(prior))


def test_a_component_too_many_is_named_with_what_it_costs():
    # The split leaves a gap between the halves, so that nothing but BIC speaks against them.
    _, x, z = one_cluster_split(2)
    z = np.where((z < 2) & (x[:, 0] > 0.4), 1, np.where(z < 2, 0, 2))
    diagnosis = diagnose(posterior(x, z, 0))
    assert [finding.name for finding in diagnosis.reasons] == ["dispensable_component"]
    finding = diagnosis.reasons[0]
    assert finding.value == found(from_labels(x, z), x).saving > finding.threshold == SAVING
    assert diagnosis.converged and not diagnosis.identified
    assert diagnosis.verdict.startswith("Converged (")
    assert "but K may be too large. Components 0 and 1 may be redundant: " in (diagnosis.verdict)
    assert f"lowers BIC by {finding.value:.1f} (strong evidence from 6)." in diagnosis.verdict


def test_draws_that_bear_both_components_out_are_believed():
    _, x, z = one_cluster_split(2)
    z = np.where((z < 2) & (x[:, 0] > 0.4), 1, np.where(z < 2, 0, 2))
    result = under_default_prior(posterior(x, z, 0), x)
    assert diagnose(result).ok  # none of these draws, of known labels, has a small component
    # They tell nothing if they are too few, or if the prior treats components differently.
    few = result.isel(chain=slice(2), draw=slice(200))
    assert {"dispensable_component"} <= {one.name for one in diagnose(few).reasons}
    prior = result["prior_parameters"].to_dataset()
    moved = prior.assign(mean=prior["mean"] + [[1.0], [0.0], [0.0]])
    result["prior_parameters"] = xr.DataTree(moved)
    assert diagnose(result).reasons[0].name == "dispensable_component"


def test_a_component_too_many_is_seen_though_chains_are_short():
    _, x, z = one_cluster_split(2)
    diagnosis = diagnose(under_default_prior(posterior(x, z, 1), x).isel(draw=slice(80)))
    names = [finding.name for finding in diagnosis.reasons]
    assert names[0] == "short_chains" and "dispensable_component" in names


def test_a_component_too_many_is_seen_though_a_chain_is_stuck():
    _, x, z = one_cluster_split(2)
    diagnosis = diagnose(under_default_prior(posterior(x, z, 1, stuck=3), x))
    names = [finding.name for finding in diagnosis.reasons]
    assert names == ["stuck_chains", "dispensable_component"]
    assert diagnosis.verdict.startswith(
        "Not converged. Chain 3 hardly moved. A redundant component"
    )


def test_components_that_the_data_ask_for_are_not_accused():
    for seed in range(3):
        x, z, _, result = two_components(seed, n=60)
        assert found(from_labels(x, z), x).saving < -100
        assert diagnose(result).ok
