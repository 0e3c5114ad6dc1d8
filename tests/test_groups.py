"""The groups for ArviZ, held to SciPy's densities and to moments that are known in closed form."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from helpers import random_parameters, random_prior, refuses, z_scores
from results.synthetic import sampled_tree, shuffled, two_components
from scipy import stats

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.model.mixture import mixture_moments
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.results.groups import NAMES
from bayes_gmm.results.labels import prior_dataset, read_prior
from bayes_gmm.results.reading import raw_draws
from bayes_gmm.results.tree import posterior_tree

DRAWS = {"draws": 40, "tune": 20, "chains": 2, "seed": 1, "progressbar": False, "engine": "gibbs"}
X = bg.datasets.load("faithful").iloc[::4]


def priors():
    """One of each family, no two numbers alike where the family lets them differ."""
    rng = np.random.default_rng(3)
    independent = bg.IndependentPrior.default(X, 2)
    hierarchical = bg.HierarchicalPrior.default(X, 2)
    return {
        "Prior": random_prior(rng, 2, 2),
        "IndependentPrior": replace(independent, concentration=[1.5, 3.0]),
        "HierarchicalPrior": replace(hierarchical, concentration=[1.5, 3.0]),
    }


PRIORS = priors()


@pytest.fixture(scope="module")
def drawn():
    """A result with all groups."""
    return bg.sample(X, 2, groups=NAMES, **DRAWS)


def made_up(prior, more=lambda raw: {}):
    """A result under a prior, of draws whose components came in any order."""
    rng = np.random.default_rng(4)
    pivot = random_parameters(rng, 2, 2, spread=6.0)
    draws = Draws(
        *(
            np.broadcast_to(array, (2, 30, *array.shape)) * rng.uniform(0.9, 1.1, (2, 30, *extra))
            for array, extra in zip(
                (pivot.weights, pivot.means, pivot.covariances),
                ((2,), (2, 2), (2, 1, 1)),
                strict=True,
            )
        )
    )
    draws = draws._replace(weights=draws.weights / draws.weights.sum(axis=2, keepdims=True))
    raw, _ = shuffled(rng, draws)
    observations = Observations.of(X)
    sampled = sampled_tree(raw, observations.feature_names)
    sampled["posterior"] = xr.DataTree(sampled["posterior"].to_dataset().assign(more(raw)))
    return posterior_tree(sampled, pivot, observations, prior)


@pytest.fixture(scope="module", params=PRIORS)
def known(request):
    prior = PRIORS[request.param]
    return prior, made_up(prior)


def test_the_parts_of_the_log_prior_are_its_densities_and_follow_the_labels(known):
    prior, posterior = known
    parts = bg.add_groups(posterior, "log_prior")["log_prior"].to_dataset()
    raw, named = raw_draws(posterior), posterior["posterior"]
    order = posterior["sample_stats"]["permutation"].to_numpy()
    assert (order[..., 0] == 1).any() and (order[..., 0] == 0).any()
    for place in [(0, 0), (1, 7), *zip(*np.nonzero(order[..., 0]), strict=True)][:6]:
        weights = raw.weights[place]
        expected = stats.dirichlet(prior.concentration).logpdf(weights / weights.sum())
        assert float(parts["weights"][place]) == pytest.approx(expected, rel=1e-9)
        for k in range(2):
            own = order[place][k]  # the component in the order of the sampler, and of the prior
            mean, covariance = (named[name][place][k] for name in ("means", "covariances"))
            if isinstance(prior, bg.ConjugatePrior):
                spread = covariance / prior.mean_precision[own]
                of_mean = stats.multivariate_normal(prior.mean[own], spread).logpdf(mean)
                inverse = stats.invwishart(prior.degrees_of_freedom[own], prior.scale[own])
                found = float(parts["covariances"][place][k])
                assert found == pytest.approx(inverse.logpdf(covariance.to_numpy()), rel=1e-9)
            else:
                of_mean = stats.norm(prior.mean, prior.mean_sd).logpdf(mean).sum()
            assert float(parts["means"][place][k]) == pytest.approx(of_mean, rel=1e-9)


def test_the_parts_add_up_to_what_sensitivity_scales(known):
    _, posterior = known
    parts = bg.add_groups(posterior, "log_prior")["log_prior"]
    total = sum(parts[name].sum(parts[name].dims[2:]) for name in parts.data_vars)
    free = posterior["invariants"]
    np.testing.assert_allclose(total, free["log_posterior"] - free["log_likelihood"], rtol=1e-9)


def test_a_function_as_prior_is_evaluated_in_its_own_variables():
    def prior():
        weights = pm.Dirichlet("shares", [2.0, 3.0], dims="cluster")
        means = pm.Normal("centers", [3.0, 70.0], [2.0, 30.0], shape=(2, 2))
        sds = pm.HalfNormal("sds", [1.0, 15.0], dims=("cluster", "feature"))
        return weights, means, sds[:, :, None] * np.eye(2)

    def variables(raw):
        sds = np.sqrt(np.einsum("...jj->...j", raw.covariances))
        return {
            "shares": (("chain", "draw", "cluster"), raw.weights),
            "centers": (("chain", "draw", "centers_dim_0", "centers_dim_1"), raw.means),
            "sds": (("chain", "draw", "cluster", "feature"), sds),
        }

    posterior = made_up(prior, variables)
    with refuses("prior is needed"):
        bg.add_groups(posterior, "log_prior")
    result = bg.add_groups(posterior, ["prior", "log_prior"], prior=prior, draws=50, seed=1)
    drawn, parts = result["posterior"], result["log_prior"]
    assert {*parts.data_vars} == {"shares", "centers", "sds"}
    raw = raw_draws(posterior)
    expected = {
        "shares": [stats.dirichlet([2.0, 3.0]).logpdf(one) for one in raw.weights.reshape(-1, 2)],
        "centers": stats.norm([3.0, 70.0], [2.0, 30.0]).logpdf(raw.means),
        "sds": stats.halfnorm(scale=[1.0, 15.0]).logpdf(drawn["sds"]),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(parts[name].to_numpy().ravel(), np.ravel(values), rtol=1e-9)
    for name, array in drawn.data_vars.items():
        assert result["prior"][name].dims == array.dims
        assert result["prior"][name].shape == (1, 50, *array.shape[2:])
    again = bg.add_groups(posterior, "prior", prior=prior, draws=50, seed=1)
    xr.testing.assert_identical(again["prior"].to_dataset(), result["prior"].to_dataset())
    made = bg.add_groups(result, "prior_predictive", seed=1)["prior_predictive"]["x"]
    assert made.shape == (1, 50, len(X), 2)


def test_draws_of_the_prior_have_its_moments_in_its_own_order(known):
    prior, posterior = known
    group = bg.add_groups(posterior, "prior", draws=2000, seed=1)["prior"]
    alpha = prior.concentration
    z = z_scores(group["weights"][0].to_numpy(), alpha / alpha.sum())
    means = group["means"][0].to_numpy()
    assert abs(alpha[0] - alpha[1]) > 0.1
    assert np.abs(z).max() < 5
    assert np.abs(z_scores(means, prior.mean)).max() < 5
    if isinstance(prior, bg.ConjugatePrior):
        covariances = group["covariances"][0].to_numpy()
        degrees = prior.degrees_of_freedom[:, None, None]
        precisions = np.linalg.inv(covariances)
        expected = degrees * np.linalg.inv(prior.scale)
        assert np.abs(z_scores(precisions, expected)).max() < 5


def test_the_prior_has_the_variables_dims_and_labels_of_the_posterior(drawn):
    for name, array in drawn["posterior"].data_vars.items():
        other = drawn["prior"][name]
        assert other.dims == array.dims
        for dim in array.dims[2:]:
            np.testing.assert_array_equal(other[dim], array[dim])
    assert drawn["prior"].sizes["chain"] == 1
    assert drawn["prior"].sizes["draw"] == 1000


def test_the_labels_of_rows_draws_and_features_are_those_of_the_result(drawn):
    for group in ("log_likelihood", "posterior_predictive", "prior_predictive"):
        x = drawn[group]["x"]
        assert x.dims == ("chain", "draw", "obs_id", "feature")[: x.ndim]
        np.testing.assert_array_equal(x["obs_id"], X.index)
    for group in ("log_likelihood", "posterior_predictive", "log_prior"):
        for dim in ("chain", "draw"):
            np.testing.assert_array_equal(drawn[group][dim], drawn["posterior"][dim])


DATES = pd.date_range("2026-01-01", periods=20)
LABELS = {
    "dates": DATES,
    "dates of a zone": DATES.tz_localize("Europe/Berlin"),
    "text": pd.Index([f"row {i}" for i in range(20)]),
    "levels": pd.MultiIndex.from_product([["a", "b"], range(10)], names=["site", "day"]),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_rows_are_labelled_as_the_data_are_in_a_file_too(labels, tmp_path):
    table = X.head(20).set_axis(labels, axis=0)
    groups = ["log_likelihood", "posterior_predictive"]
    drawn = bg.sample(table, 1, groups=groups, **DRAWS)
    again = bg.load(bg.save(drawn, tmp_path / "drawn.nc"))
    for tree in (drawn, again):
        for group in groups:
            for name, own in tree["observed_data"].coords.items():
                if "obs_id" in own.dims:
                    xr.testing.assert_identical(tree[group].coords[name], own)
    renewed = bg.add_groups(again.drop_nodes("observed_data"), "log_likelihood", table)
    for group in ("log_likelihood", "observed_data"):
        xr.testing.assert_equal(renewed[group].to_dataset(), drawn[group].to_dataset())


@pytest.mark.parametrize("group", ["posterior_predictive", "prior_predictive"])
def test_replicates_have_the_moments_of_their_draw(group):
    """A row less the mean of its draw's mixture, by the factor of its covariance."""
    posterior = two_components(3, n=50, n_draws=50)[3]
    result = bg.add_groups(
        posterior, group, prior=bg.ConjugatePrior.default(X, 2), draws=200, seed=2
    )
    from_group = result["prior" if group == "prior_predictive" else "posterior"].to_dataset()
    arrays = [from_group[name].to_numpy() for name in ("weights", "means", "covariances")]
    mean, covariance = mixture_moments(*arrays)
    factor = np.linalg.cholesky(covariance)
    gap = result[group]["x"].to_numpy() - mean[:, :, None]
    standard = np.linalg.solve(factor[:, :, None], gap[..., None])[..., 0].reshape(-1, 2)
    assert np.abs(z_scores(standard, 0.0)).max() < 5
    squares = standard[:, :, None] * standard[:, None, :]
    assert np.abs(z_scores(squares, np.eye(2))).max() < 5
    # Rows of one draw are independent of each other, and draws differ.
    products = standard.reshape(-1, 50, 2)
    assert np.abs(z_scores(products[:, 0] * products[:, 1], 0.0)).max() < 5


def test_what_sample_adds_is_what_add_groups_adds(drawn):
    later = bg.add_groups(bg.sample(X, 2, **DRAWS), NAMES, seed=DRAWS["seed"])
    for name in NAMES:
        xr.testing.assert_identical(later[name].to_dataset(), drawn[name].to_dataset())


def test_the_log_prior_of_components_follows_a_relabelling(known):
    groups = bg.add_groups(known[1], "log_prior")
    by_weight = bg.relabel(groups, "ordering", by=lambda draws: -draws.weights)
    assert not by_weight["posterior"].equals(groups["posterior"])
    again = bg.add_groups(by_weight, "log_prior")
    xr.testing.assert_allclose(
        by_weight["log_prior"].to_dataset(), again["log_prior"].to_dataset(), rtol=1e-12
    )


def test_each_group_is_repeatable_by_itself(drawn):
    alone = bg.add_groups(bg.sample(X, 2, **DRAWS), "posterior_predictive", seed=1)
    xr.testing.assert_identical(
        alone["posterior_predictive"].to_dataset(), drawn["posterior_predictive"].to_dataset()
    )
    assert not {*alone.children} & {"prior", "log_likelihood"}


def test_the_prior_predictive_is_of_the_prior_that_is_there(drawn):
    moved = drawn.copy()
    moved["prior"] = xr.DataTree(drawn["prior"].to_dataset().isel(draw=slice(3)) * 1.0)
    moved["prior"]["means"][:] += 1e6
    again = bg.add_groups(moved, "prior_predictive", seed=5)
    assert again["prior_predictive"].sizes["draw"] == 3
    assert float(again["prior_predictive"]["x"].min()) > 1e5
    renewed = bg.add_groups(moved, "prior", draws=4, seed=5)
    assert renewed["prior_predictive"].sizes["draw"] == 4
    assert float(renewed["prior_predictive"]["x"].min()) < 1e5


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_is_read_back_as_it_was(name, tmp_path):
    prior = PRIORS[name]
    group = prior_dataset(prior, ("a", "b"))
    xr.DataTree.from_dict({"/prior_parameters": group}).to_netcdf(tmp_path / "prior.nc")
    with xr.open_datatree(tmp_path / "prior.nc") as tree:
        read = read_prior(tree)
    assert type(read) is type(prior)
    theta = random_parameters(np.random.default_rng(0), 2, 2)
    assert read.log_density(theta) == prior.log_density(theta)


def test_rows_that_a_result_does_not_keep_become_observed_data(drawn):
    rowless = drawn.drop_nodes("observed_data")
    with refuses("X is needed"):
        bg.add_groups(rowless, "log_likelihood")
    again = bg.add_groups(rowless, "log_likelihood", X)
    xr.testing.assert_equal(
        again["observed_data"].to_dataset(), drawn["observed_data"].to_dataset()
    )
    xr.testing.assert_equal(
        again["log_likelihood"].to_dataset(), drawn["log_likelihood"].to_dataset()
    )
    assert "observed_data" not in bg.add_groups(rowless, "log_prior").children


def test_sample_stats_has_no_sums_that_arviz_takes_for_those_of_rows(drawn):
    assert "log_likelihood" not in drawn["sample_stats"]
    total = drawn["log_likelihood"]["x"].sum("obs_id")
    np.testing.assert_allclose(total, drawn["invariants"]["log_likelihood"], rtol=1e-11)


def test_one_feature_leaves_everything_else(drawn):
    one = bg.one_feature(drawn, "waiting")
    for group in ("observed_data", "posterior_predictive", "prior_predictive"):
        expected = drawn[group]["x"].sel(feature="waiting", drop=True)
        xr.testing.assert_identical(one[group]["x"], expected)
    for group in {*drawn.children} - {"observed_data", "posterior_predictive", "prior_predictive"}:
        xr.testing.assert_identical(one[group].to_dataset(), drawn[group].to_dataset())
    assert one.attrs == drawn.attrs
    with refuses("feature is None", "eruptions, waiting"):
        bg.one_feature(drawn)
    alone = bg.sample(X[["waiting"]], 1, groups="posterior_predictive", **DRAWS)
    assert "feature" not in bg.one_feature(alone)["posterior_predictive"].dims


def test_what_cannot_be_added_is_refused_before_anything_is_computed(drawn, monkeypatch):
    plain = two_components(1, n=20, n_draws=20)[3]
    monkeypatch.setattr("bayes_gmm.api.groups.added", None)
    monkeypatch.setattr("bayes_gmm.inference.engines.run", None)
    for groups, said in ((["loglik"], "has 'loglik'"), (None, "is None"), ([["prior"]], "has")):
        with refuses(f"groups {said}", "choose of log_likelihood, posterior_predictive"):
            bg.add_groups(plain, groups)
    with refuses("prior is needed", "to bg.sample or bg.from_trace"):
        bg.add_groups(plain, "log_prior")
    with refuses("prior is given, but the result already has its own"):
        bg.add_groups(drawn, "log_prior", prior=PRIORS["Prior"])
    with refuses("prior is for 3 components and 2 features", "2 and 2"):
        bg.add_groups(plain, "prior", prior=bg.ConjugatePrior.default(X, 3))
    with refuses(
        "log_likelihood in 80 draws and posterior_predictive in 80 draws of 20 rows needs"
    ):
        bg.add_groups(plain, ["posterior_predictive", "log_likelihood"], memory=1e-6)
    with refuses("prior in 1,000 draws and prior_predictive in 1,000 draws", "fewer draws of the"):
        prior = PRIORS["Prior"]
        bg.add_groups(plain, "prior_predictive", prior=prior, memory=1e-6)
    with refuses("X has 19 rows", "computed from 68"):
        bg.add_groups(drawn, "log_likelihood", X.head(19))
    with refuses("in 4,000,000 draws of 68 rows needs 4.05 GiB", "omit groups", "memory=4.1"):
        bg.sample(X, 2, groups="posterior_predictive", draws=10**6)
    with refuses("groups has 'posterior'"):
        bg.sample(X, 2, groups=["posterior"])
    with refuses("X is read block by block", "groups="):
        bg.sample(lambda: iter([X]), 2, groups=["log_likelihood"])


def test_a_thinned_posterior_gets_groups_of_its_own_draws(drawn):
    thinned = bg.sample(X, 2, **DRAWS).isel(draw=slice(None, None, 10))
    added = bg.add_groups(thinned, "log_likelihood")["log_likelihood"].to_dataset()
    expected = drawn["log_likelihood"].to_dataset().isel(draw=slice(None, None, 10))
    xr.testing.assert_equal(added, expected)
