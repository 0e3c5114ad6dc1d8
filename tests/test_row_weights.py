"""Row weights are repeated rows: for every structure, every engine, and everything said later."""

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from exact_enumeration import enumerate_posterior, problems, sampled_quantities, worst, z_scores
from helpers import refuses
from scipy.special import logsumexp

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.data.row_weights import copies, in_rows
from bayes_gmm.inference.em.bootstrap import SCHEMES
from bayes_gmm.inference.engines import choose
from bayes_gmm.inference.gibbs import gibbs
from bayes_gmm.inference.gibbs.step import GibbsStep
from bayes_gmm.inference.pymc.model import pymc_model
from bayes_gmm.kernels.log_posterior import LogPosterior
from bayes_gmm.model import mixture
from bayes_gmm.model.free_coordinates import FreeCoordinates
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import CODES
from bayes_gmm.posterior.dispensable import best_merger
from bayes_gmm.results.reading import draws_of, kept_observations
from bayes_gmm.results.verdict_inputs import gather

pytestmark = pytest.mark.filterwarnings("ignore:.*Pareto")  # of few draws
PROBLEMS = {problem.name: problem for problem in problems()}
QUIET = {"progressbar": False}


def rows_and_times(n=60, seed=0):
    rng = np.random.default_rng(seed)
    theta = bg.Parameters([0.4, 0.6], [[0, 0], [3.2, 1.4]], [[[1, 0.5], [0.5, 1]], np.eye(2)])
    x = mixture.sample(theta, n, rng)[0] * [1.0, 20.0]
    return x, rng.integers(0, 4, n).astype(float)


X, TIMES = rows_and_times()
REPEATED = np.repeat(X, TIMES.astype(int), axis=0)
CRITERIA = ("log_likelihood", "bic", "icl", "aic", "entropy", "n_parameters")


def numbers(fit, names=CRITERIA):
    return [float(fit["optimizer_result"][name]) for name in names]


def assert_same_fit(one, other, scale=1.0):
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(
            one["point_estimate"][name], other["point_estimate"][name], rtol=1e-5, atol=1e-5
        )
    assert numbers(one)[0] == pytest.approx(scale * numbers(other)[0], rel=1e-10)


@pytest.mark.parametrize("far", [0.0, 1e8])
def test_coordinates_are_those_of_repeated_rows(far):
    one, other = Observations.of(X + far).weighted(TIMES), Observations.of(REPEATED + far)
    np.testing.assert_allclose(one.origin, other.origin, rtol=1e-14)
    np.testing.assert_allclose(one.scale, other.scale, rtol=1e-12)


@pytest.mark.parametrize("structure", CODES)
def test_a_fit_is_that_of_repeated_rows(structure):
    options = {"covariance": structure, "seed": 1, "n_starts": 6}
    weighted = bg.fit(X, 2, row_weights=TIMES, **options)
    repeated = bg.fit(REPEATED, 2, **options)
    assert_same_fit(weighted, repeated)
    np.testing.assert_allclose(numbers(weighted), numbers(repeated), rtol=1e-7, atol=1e-6)
    for method in ("observed", "sandwich"):
        errors = [
            bg.standard_errors(fit, method=method).dataset["standard_error"]
            for fit in (weighted, repeated)
        ]
        np.testing.assert_allclose(*errors, rtol=1e-4)


def test_a_map_estimate_and_its_prior_are_those_of_repeated_rows():
    weighted = bg.fit(X, 2, row_weights=TIMES, prior="default", seed=1)
    repeated = bg.fit(REPEATED, 2, prior="default", seed=1)
    assert_same_fit(weighted, repeated)
    for name, value in repeated["prior_parameters"].data_vars.items():
        np.testing.assert_allclose(weighted["prior_parameters"][name], value, rtol=1e-10)


@pytest.mark.parametrize("unit", [0.37, 1e-7, 2.0])
def test_the_maximum_of_the_likelihood_does_not_depend_on_the_unit_but_bic_does(unit):
    one = bg.fit(X, 2, row_weights=TIMES, seed=1)
    other = bg.fit(X, 2, row_weights=unit * TIMES, seed=1)
    assert_same_fit(other, one, scale=unit)
    height, bic, n_parameters = numbers(other, ("log_likelihood", "bic", "n_parameters"))
    n_rows = unit * TIMES.sum()
    assert bic == pytest.approx(-2 * height + n_parameters * np.log(n_rows))
    if unit > 0.1:  # so few observations have no useful errors
        errors = [
            bg.standard_errors(fit).dataset["standard_error"].to_numpy() for fit in (one, other)
        ]
        np.testing.assert_allclose(errors[1], errors[0] / np.sqrt(unit), rtol=1e-4)


def test_select_ranks_as_of_repeated_rows():
    options = {"covariance": ["EEI", "VVV"], "seed": 1, "n_starts": 6, **QUIET}
    weighted = bg.select(X, [1, 2], row_weights=TIMES, **options)
    repeated = bg.select(REPEATED, [1, 2], **options)
    for name in ("bic", "icl", "aic"):
        np.testing.assert_allclose(weighted.dataset[name], repeated.dataset[name], rtol=1e-8)
    np.testing.assert_array_equal(weighted.best["observed_data"]["row_weights"], TIMES)


def test_rows_of_weight_zero_count_for_nothing():
    centers = bg.point_estimate(bg.fit(X, 2, prior="default", seed=1)).means
    far = np.vstack([X, centers, [[1e30, -1e6]]])
    times = np.append(np.ones(len(X)), [0.0, 0.0, 0.0])
    for prior in (None, "default"):
        with_it = bg.fit(far, 2, row_weights=times, prior=prior, seed=1)
        assert_same_fit(with_it, bg.fit(X, 2, prior=prior, seed=1))
        assert not with_it["optimizer_result"].sizes.get("deciding", 0)
        assert with_it["observed_data"].sizes["obs_id"] == len(far)
    posterior = bg.sample(far, 2, row_weights=times, draws=50, tune=20, chains=2, seed=1, **QUIET)
    assert bg.loo(posterior).n_data_points == len(X)
    assert "deciding" not in str(bg.diagnose(posterior).table)
    watched = posterior["invariants"]["pair"].to_numpy()
    watched = [int(row) for pair in watched for row in pair.split(" & ")]
    assert max(*watched, *posterior["invariants"]["point"].to_numpy()) < len(X)


def test_a_row_seen_often_decides_as_its_copies_would():
    x, times = np.vstack([X, [[90.0, 30.0]]]), np.append(np.full(len(X), 3.0), 5.0)
    with pytest.warns(bg.errors.OutlierWarning) as told:
        bg.fit(x, 2, row_weights=times, prior="default", seed=1)
    with pytest.warns(bg.errors.OutlierWarning) as expected:
        bg.fit(np.repeat(x, times.astype(int), axis=0), 2, prior="default", seed=1)
    one, other = (str(found[0].message).replace("row 180", "row 60") for found in (told, expected))
    assert one == other


def scores_of(problem, engine):
    """Largest |z| of draws of weighted rows against the sum over the labellings of all copies."""
    x, times = np.unique(problem.x, axis=0, return_counts=True)
    assert times.max() > 1
    observations = Observations.of(x).weighted(times, what="row_weights")
    exact = enumerate_posterior(np.repeat(x, times, axis=0), problem.prior)
    draws = engine(observations, problem.prior, exact.theta)
    return worst(z_scores(sampled_quantities(exact, *draws), exact))


def by_gibbs(observations, prior, theta):
    names = np.arange(prior.n_components)
    starts = [theta.reorder(np.roll(names, chain)) for chain in range(4)]
    options = {"draws": 2000, "tune": 100, "cores": 2, "seed": 5, "thin": 3, **QUIET}
    tree = gibbs.sample(observations, prior, starts, **options)
    return [tree["posterior"][name].to_numpy() for name in ("weights", "means", "covariances")]


def by_step(observations, prior, theta):
    model = pymc_model(observations, prior)
    step, point, kept = GibbsStep(model=model, rng=4), model.initial_point(), []
    for _ in range(2500):
        point, _ = step.step(point)
        kept.append(step.parameters(point))
    return [np.array(part)[None] for part in zip(*kept, strict=True)]


@pytest.mark.parametrize("name", ["ties, K = 2", "ties, K = 3", "corners with a tie, K = 2"])
def test_gibbs_draws_are_those_of_all_labellings_of_the_copies(name):
    score, what = scores_of(PROBLEMS[name], by_gibbs)
    assert score < 5, what


def test_the_step_in_pymc_gives_each_copy_a_label():
    score, what = scores_of(PROBLEMS["ties, K = 2"], by_step)
    assert score < 5, what


@pytest.mark.parametrize(
    ("rows", "times"), [(X, TIMES), (np.vstack([X, X]), np.tile(TIMES / 2, 2))]
)
def test_the_density_that_nuts_climbs_is_that_of_repeated_rows(rows, times):
    prior = ConjugatePrior.default(Observations.of(REPEATED), 2)
    observations = [Observations.of(rows).weighted(times), Observations.of(REPEATED)]
    free = 0.3 * np.random.default_rng(0).normal(size=11)
    found = []
    for one in observations:
        view = prior.rescale(-one.origin / one.scale, 1 / one.scale)
        found.append(LogPosterior(one, FreeCoordinates(view))(free))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-10)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-10, atol=1e-8)


@pytest.fixture(scope="module")
def density_of_repeated_rows():
    model = bg.pymc_model(REPEATED, 2)
    point = model.logp_dlogp_function(ravel_inputs=True)
    at = 0.1 * np.random.default_rng(0).normal(size=11)
    return at, point(at)


@pytest.mark.parametrize("likelihood", ["fused", "mixture"])
def test_the_model_in_pymc_has_the_density_of_repeated_rows(likelihood, density_of_repeated_rows):
    at, (height, slope) = density_of_repeated_rows
    model = bg.pymc_model(X, 2, row_weights=TIMES, likelihood=likelihood)
    found = model.logp_dlogp_function(ravel_inputs=True)(at)
    assert found[0] == pytest.approx(height, rel=1e-10)
    np.testing.assert_allclose(found[1], slope, rtol=1e-10, atol=1e-8)


def test_auto_is_an_engine_that_takes_the_weights():
    theta = bg.point_estimate(bg.fit(X, 2, row_weights=TIMES, seed=1))
    prior = ConjugatePrior.default(Observations.of(X), 2)
    for times, engine in ((TIMES, "gibbs"), (TIMES + 0.5, "nuts"), (TIMES * 2.0**32, "nuts")):
        weighted = Observations.of(X).weighted(times)
        assert choose("auto", weighted, theta, prior).engine == engine


@pytest.fixture(scope="module")
def posteriors():
    """The same draws as a posterior of weighted and of repeated rows."""
    weighted = bg.sample(
        X, 2, row_weights=TIMES, engine="gibbs", draws=200, tune=50, chains=2, seed=1, **QUIET
    )
    trace = xr.DataTree.from_dict({"/posterior": weighted["posterior"].to_dataset()})
    theta = bg.point_estimate(weighted)
    return [
        bg.from_trace(trace, x, prior="default", pivot=theta, row_weights=times)
        for x, times in ((X, TIMES), (REPEATED, None))
    ] + [weighted]


def test_what_a_posterior_says_is_what_repeated_rows_would_say(posteriors):
    weighted, repeated, sampled = posteriors
    for name, expected in repeated["invariants"].data_vars.items():
        np.testing.assert_allclose(weighted["invariants"][name], expected, rtol=1e-8, err_msg=name)
    np.testing.assert_allclose(
        sampled["invariants"]["log_posterior"], repeated["invariants"]["log_posterior"], rtol=1e-8
    )
    one, other = gather(weighted), gather(repeated)
    assert one.n_rows == other.n_rows == len(REPEATED)
    assert one.identification.reasons == other.identification.reasons
    for table in (
        lambda tree: bg.check(tree, draws=20, seed=3).table,
        lambda tree: bg.diagnose(tree).table,
        lambda tree: bg.sensitivity(tree).table,
    ):
        one, other = (table(tree).select_dtypes("number") for tree in posteriors[:2])
        # Rounding may order two draws otherwise, which R-hat of ranks can see.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-8)
    for method in ("ecr", "ecr-iterative", "stephens", "data"):
        orders = [
            bg.relabel(tree, method)["sample_stats"]["permutation"] for tree in posteriors[:2]
        ]
        np.testing.assert_array_equal(*orders)


def test_loo_leaves_out_one_copy(posteriors):
    one, other = (bg.loo(tree) for tree in posteriors[:2])
    for name in ("elpd", "se", "p"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9)
    assert one.n_data_points == len(REPEATED)
    counted = TIMES > 0
    np.testing.assert_array_equal(one.elpd_i["obs_id"], np.flatnonzero(counted))
    np.testing.assert_allclose(
        np.repeat(one.elpd_i, TIMES[counted].astype(int)), other.elpd_i, rtol=1e-9
    )


def test_loo_leaves_out_a_whole_row_that_is_less_than_one_copy(posteriors):
    tree = posteriors[2].copy()
    rows = tree["observed_data"].to_dataset()
    tree["observed_data"] = rows.assign_coords(row_weights=("obs_id", np.full(len(X), 0.25)))
    found = bg.loo(tree)
    mixtures = draws_of(tree).thinned(400)
    heights = np.array([mixture.marginal_log_density(X, theta) for theta in mixtures])
    elpd = logsumexp(0.75 * heights, axis=0) - logsumexp(-0.25 * heights, axis=0)
    np.testing.assert_allclose(found.elpd_i, elpd, atol=0.02)
    assert found.elpd == pytest.approx(0.25 * float(found.elpd_i.sum()))


def test_a_check_takes_two_observations(posteriors):
    tree = posteriors[2].copy()
    rows = tree["observed_data"].to_dataset()
    tree["observed_data"] = rows.assign_coords(row_weights=("obs_id", np.full(len(X), 0.01)))
    with refuses("row_weights sum to 0.6", "two"):
        bg.check(tree)


def test_merging_takes_the_number_of_copies():
    x, times = rows_and_times(40, seed=2)
    options = {"draws": 100, "tune": 50, "chains": 2, "seed": 1, "engine": "gibbs", **QUIET}
    fits = [
        bg.sample(rows, 3, row_weights=weights, **options)
        for rows, weights in ((x, times), (np.repeat(x, times.astype(int), axis=0), None))
    ]
    draws, theta = draws_of(fits[0]), bg.point_estimate(fits[0])
    height = np.full(draws.weights.shape[:2], -1e9)
    found = [best_merger(theta, draws, height, kept_observations(tree)) for tree in fits]
    assert found[0][:2] == found[1][:2]
    assert found[0].saving == pytest.approx(found[1].saving, rel=1e-9)


def test_the_result_keeps_the_weights_and_other_verbs_do_not_ask(posteriors, tmp_path):
    posterior = posteriors[2]
    np.testing.assert_array_equal(weights_of(posterior), TIMES)
    loaded = bg.load(bg.save(posterior, tmp_path / "one.nc"))
    assert bg.loo(posterior).elpd == pytest.approx(bg.loo(loaded).elpd, rel=1e-12)
    # As of more rows than a result keeps: it has the weights all the same.
    rowless = posterior.copy()
    rowless["observed_data"] = posterior["observed_data"].to_dataset().drop_vars("x")
    assert bg.loo(rowless, X).elpd == pytest.approx(bg.loo(posterior).elpd)
    with refuses("X is needed"):
        bg.loo(rowless)
    more = bg.add_groups(rowless, "log_likelihood", X)
    assert more["observed_data"]["x"].coords["row_weights"].equals(weights_of(posterior))


def weights_of(tree):
    return tree["observed_data"]["row_weights"]


def test_functions_of_arviz_find_no_variable_that_they_take_for_data():
    posterior = bg.sample(
        X,
        2,
        row_weights=TIMES,
        draws=100,
        tune=50,
        chains=2,
        seed=1,
        groups=["log_likelihood", "posterior_predictive"],
        **QUIET,
    )
    one = az.loo_pit(bg.one_feature(posterior, "x0"))
    assert list(one.data_vars) == ["x"]
    assert az.loo(posterior).n_data_points == len(X)


def test_a_point_is_compared_with_a_posterior_of_the_same_weights(posteriors):
    fit = bg.fit(X, 2, row_weights=TIMES, seed=1)
    found = bg.compare(fit, posteriors[2]).dataset
    assert float(found["log_likelihood"][0]) == pytest.approx(numbers(fit)[0], rel=1e-10)
    with refuses("other row weights"):
        bg.compare(bg.fit(X, 2, seed=1), posteriors[2])


def test_a_trace_of_a_weighted_model_brings_its_weights(posteriors):
    sampled = posteriors[2]
    trace = xr.DataTree.from_dict(
        {
            "/posterior": sampled["posterior"].to_dataset(),
            "/constant_data": xr.Dataset({"row_weights": ("obs_id", TIMES)}),
        }
    )
    result = bg.from_trace(trace, X, seed=1)
    np.testing.assert_allclose(
        result["invariants"]["log_likelihood"], sampled["invariants"]["log_likelihood"], rtol=1e-10
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_bootstrap_draws_copies(scheme):
    rng, total = np.random.default_rng(0), TIMES.sum()
    draws = np.array([SCHEMES[scheme](len(TIMES), TIMES, rng) for _ in range(4000)])
    np.testing.assert_allclose(draws.sum(axis=1), total)
    share = TIMES / total
    variance = total * share * (1 - share) * (1 if scheme == "bootstrap" else total / (total + 1))
    error = np.sqrt(variance / len(draws))
    assert (np.abs(draws.mean(axis=0) - TIMES) <= 5 * error).all()
    counted = TIMES > 0
    np.testing.assert_allclose(draws.var(axis=0)[counted], variance[counted], rtol=0.25)


SERIES = pd.Series(np.ones(len(X)), index=np.arange(len(X))[::-1])
WRONG = {
    "too few": (np.ones(7), ("shape 7", "60 rows")),
    "a table": (np.ones((60, 1)), ("60 x 1",)),
    "a number": (2.0, ("single number",)),
    "text": (["once"] * 60, ("not numbers",)),
    "negative": (np.where(np.arange(60) > 50, -1.0, 1.0), ("9 entries", "-1 in row 51", ">= 0")),
    "missing": (np.where(np.arange(60) == 3, np.nan, 1.0), ("an entry", "nan in row 3")),
    "infinite": (np.where(np.arange(60) == 3, np.inf, 1.0), ("inf in row 3",)),
    "nothing": (np.zeros(60), ("0 for every row",)),
    "one row": (np.eye(60)[0], ("one row only",)),
    "other order": (SERIES, ("labelled 59 in row 0", "reorder it like X")),
}


@pytest.mark.parametrize("verb", [bg.fit, bg.sample, bg.pymc_model, bg.select])
@pytest.mark.parametrize("wrong", WRONG)
def test_weights_that_cannot_be_used_are_refused(verb, wrong):
    weights, words = WRONG[wrong]
    n_components = [2] if verb is bg.select else 2
    with refuses("row_weights", *words):
        verb(X, n_components, row_weights=weights)


def test_what_weights_cannot_be_used_for_is_said():
    with refuses("row_weights", "in memory"):
        bg.fit(lambda: iter([X]), 2, row_weights=TIMES)
    with refuses("row_weights is 0.5 in row 0", "whole numbers", "nuts", "pymc"):
        bg.sample(X, 2, row_weights=np.full(len(X), 0.5), engine="gibbs")
    with refuses("row_weights sums to 1", "60"):
        bg.sample(X, 2, row_weights=np.full(len(X), 1 / 60))
    constant = np.column_stack([X[:, 0], np.arange(60) > 1])
    with refuses("row_weights", "x1", "constant"):
        bg.fit(constant, 2, row_weights=np.arange(60.0) > 1)


def test_a_prior_of_the_users_takes_one_row_and_a_column_that_does_not_vary():
    prior = ConjugatePrior([1.0, 1.0], [0.0, 0.0], 1.0, 5.0, np.eye(2))
    one = bg.fit(X, 2, prior=prior, row_weights=np.eye(60)[4], seed=1)
    assert_same_fit(one, bg.fit(X[4:5], 2, prior=prior, seed=1))


def test_whole_numbers_are_counts_and_others_have_the_scale_of_rows():
    for weights, expected, unit in (
        ([2.0, 4.0, 0.0], [2.0, 4.0, 0.0], 1.0),
        ([0.5, 1.0, 0.0], [1.0, 2.0, 0.0], 0.5),
        ([np.pi, np.e, 0.0], np.array([np.pi, np.e, 0]) * 2 / (np.pi + np.e), (np.pi + np.e) / 2),
    ):
        found, scale = in_rows(np.array(weights))
        np.testing.assert_allclose(found, expected)
        assert scale == pytest.approx(unit)
    assert copies(np.array([2.0, 0.0, 3.0])).tolist() == [2, 0, 3]
    assert copies(np.full(5, 0.4)).sum() == 2
    assert copies(np.full(4, 1.5)).tolist() == [2, 1, 1, 2]
