"""Standard errors, held to closed forms, other coordinates, the posterior, and repeated samples."""

import json

import numpy as np
import pytest
import xarray as xr
from curvature_truths import Angles, hessian, jacobian, log_likelihood
from helpers import from_labels, refuses, run_em
from results.synthetic import maximum_likelihood, point_result, two_components

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.errors import ConvergenceWarning, IdentificationWarning
from bayes_gmm.inference.em import point
from bayes_gmm.model import mixture, normal
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import CODES, Structure
from bayes_gmm.posterior import standard_errors as computed
from bayes_gmm.posterior.draws import Scalar, catalogue, flatten
from bayes_gmm.posterior.standard_errors import interval
from bayes_gmm.results.compare import compare
from bayes_gmm.results.reading import Fitted
from bayes_gmm.results.standard_errors import StandardErrors, errors_from_curvature

FAITHFUL = bg.datasets.load("faithful")
NAMES = ("a", "b", "c")
ROUND = ("EII", "VII")
ALONG_AXES = ("EEI", "VEI", "EVI", "VVI")
TWO_CLUSTERS = Parameters(
    [0.35, 0.65], [[0.0, 0.0], [2.5, 1.0]], [[[1.0, 0.5], [0.5, 1.0]], [[0.6, -0.3], [-0.3, 1.2]]]
)


@pytest.fixture(scope="module")
def mle():
    return bg.fit(FAITHFUL, 2, n_starts=3, seed=1)


@pytest.fixture(scope="module")
def observed(mle):
    return bg.standard_errors(mle)


@pytest.fixture(scope="module")
def faithful_like():
    """Clusters whose labels are certain, their maximum likelihood, and exact draws."""
    x, z, _, result = two_components(7)
    return x, maximum_likelihood(x, z, 2), result


def full_result(theta, x):
    result = point_result(theta, x)
    result.attrs["covariance"] = "VVV"
    return result


def fitted(x, theta, code="VVV", prior=None):
    structure = Structure.of(code, x.shape[1])
    names = tuple(f"x{j}" for j in range(x.shape[1]))
    estimator = "MLE" if prior is None else "MAP"
    return Fitted(Observations.of(x), theta, structure, prior, estimator, names)


def errors_of(x, theta, code="VVV", prior=None, method="observed"):
    found = errors_from_curvature(fitted(x, theta, code, prior), method=method, ci_prob=0.95)
    return found.table["standard error"]


def one_normal(code, n=80, seed=5):
    """Rows of three correlated features, and the maximum likelihood of a structure."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)) @ rng.normal(size=(3, 3)) + [1.0, -2.0, 5.0]
    mean, scatter = normal.maximum_likelihood(x)
    structure = Structure.of(code, 3)
    covariance = structure.covariances(scatter[None] * n, np.array([n]), scatter[None])
    return x, Parameters([1.0], [mean], covariance)


@pytest.mark.parametrize("code", CODES)
def test_one_normal_has_its_closed_form_under_every_structure(code):
    x, theta = one_normal(code)
    n, sigma = len(x), theta.covariances[0]
    errors = errors_of(x, theta, code)
    sd = np.sqrt(np.diagonal(sigma))
    for i in range(3):
        assert errors[f"mean[0, x{i}]"] == pytest.approx(sd[i] / np.sqrt(n))
        shared = 3 if code in ROUND else 1  # all features inform one variance
        assert errors[f"sd[0, x{i}]"] == pytest.approx(sd[i] / np.sqrt(2 * n * shared))
        for j in range(i):
            name, rho = f"[0, x{i}, x{j}]", sigma[i, j] / (sd[i] * sd[j])
            if code in ROUND + ALONG_AXES:
                expected, of_rho = 0.0, 0.0
            else:
                expected = np.sqrt((sigma[i, i] * sigma[j, j] + sigma[i, j] ** 2) / n)
                of_rho = (1 - rho**2) / np.sqrt(n)
            assert errors["covariance" + name] == pytest.approx(expected)
            assert errors["correlation" + name] == pytest.approx(of_rho)


def test_sandwich_of_one_normal_is_the_spread_of_its_products():
    x, theta = one_normal("VVV")
    errors = errors_of(x, theta, method="sandwich")
    d = x - theta.means[0]
    for i in range(3):
        assert errors[f"mean[0, x{i}]"] == pytest.approx(x[:, i].std() / np.sqrt(len(x)))
        for j in range(i + 1):
            products = (d[:, i] * d[:, j]).std() / np.sqrt(len(x))
            assert errors[f"covariance[0, x{i}, x{j}]"] == pytest.approx(products)


def test_a_prior_counts_as_the_rows_that_it_is_worth():
    x, _ = one_normal("VVV")
    prior = ConjugatePrior.default(x, 1)
    mean, scatter = normal.maximum_likelihood(x)
    n, k = len(x), float(prior.mean_precision[0])
    gap = mean - prior.mean[0]
    worth = n + float(prior.degrees_of_freedom[0]) + 3 + 2
    sigma = (prior.scale[0] + n * scatter + n * k / (n + k) * np.outer(gap, gap)) / worth
    center = (n * mean + k * prior.mean[0]) / (n + k)
    errors = errors_of(x, Parameters([1.0], [center], [sigma]), prior=prior)
    for i in range(3):
        assert errors[f"mean[0, x{i}]"] == pytest.approx(np.sqrt(sigma[i, i] / (n + k)))
        for j in range(i + 1):
            entry = np.sqrt((sigma[i, i] * sigma[j, j] + sigma[i, j] ** 2) / worth)
            assert errors[f"covariance[0, x{i}, x{j}]"] == pytest.approx(entry)


@pytest.mark.parametrize("code", CODES)
def test_errors_of_two_clusters_are_those_in_other_coordinates(code):
    """Volume, shape and angle as the formula has them, differentiated numerically at the optimum.

    Only at an optimum do second derivatives in other coordinates say the same.
    """
    x, _ = mixture.sample(TWO_CLUSTERS, 200, np.random.default_rng(2))
    structure = Structure.of(code, 2)
    theta = point.estimate(Observations.of(x), 2, None, structure, n_starts=4, seed=1).parameters
    angles = Angles(structure, 2)
    at = angles.pack(theta)
    np.testing.assert_allclose(angles.unpack(at)[2], theta.covariances, rtol=1e-6, atol=1e-8)
    steps = np.full(len(at), 2e-3)
    information = -hessian(lambda y: log_likelihood(x, *angles.unpack(y)), at, steps)
    slope = jacobian(lambda y: flatten(*angles.unpack(y)), at, steps)
    covariance = slope @ np.linalg.solve(information, slope.T)
    expected = np.sqrt(np.maximum(np.diagonal(covariance), 0))
    np.testing.assert_allclose(errors_of(x, theta, code), expected, rtol=2e-4, atol=1e-7)


def test_features_in_other_units_have_their_errors_in_these_units(observed):
    theta = bg.point_estimate(bg.fit(FAITHFUL, 2, n_starts=3, seed=1))
    x = FAITHFUL.to_numpy()
    scale, shift = np.array([1e-8, 1e8]), np.array([5e-6, -3e9])
    there = errors_of(shift + scale * x, theta.rescale(shift, scale))
    unit = {"weight": 0, "correlation": 0, "mean": 1, "sd": 1, "covariance": 2}
    scalars = catalogue(2, ("x0", "x1"))
    for scalar, ours, other in zip(scalars, observed.table["standard error"], there, strict=True):
        own = [scale[int(f[1])] for f in (scalar.feature, scalar.feature_bis) if f]
        factor = np.prod(own) if unit[scalar.kind] else 1.0
        assert other == pytest.approx(ours * factor, rel=1e-6), scalar.name


@pytest.mark.parametrize("code", ["EII", "EEV", "VEV", "EVE", "VVE"])
@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_structures_that_mix_features_keep_their_errors_in_common_units(code, scale):
    x, _ = mixture.sample(TWO_CLUSTERS, 150, np.random.default_rng(2))
    structure = Structure.of(code, 2)
    theta = point.estimate(Observations.of(x), 2, None, structure, n_starts=2, seed=1).parameters
    here = errors_of(x, theta, code)
    there = errors_of(x * scale, theta.rescale(np.zeros(2), np.full(2, scale)), code)
    for name in ("weight[0]", "correlation[1, x1, x0]"):
        assert there[name] == pytest.approx(here[name], rel=1e-5)
    assert there["mean[1, x0]"] == pytest.approx(scale * here["mean[1, x0]"], rel=1e-5)
    assert there["sd[0, x1]"] == pytest.approx(scale * here["sd[0, x1]"], rel=1e-5)


def test_components_in_another_order_carry_their_errors_along():
    x, _ = mixture.sample(TWO_CLUSTERS, 150, np.random.default_rng(2))
    theta = run_em(x, TWO_CLUSTERS).parameters
    there, here = errors_of(x, theta.reorder([1, 0])), errors_of(x, theta)
    for name, error in here.items():
        swapped = name.translate({ord("0"): "1", ord("1"): "0"}).replace("x1", "x?")
        swapped = swapped.replace("x0", "x1").replace("x?", "x0")  # features stay
        assert there[swapped] == pytest.approx(error, rel=1e-6)


def test_errors_of_old_faithful_are_the_posterior_sds(observed, faithful_posterior):
    prior_fit = bg.fit(FAITHFUL, 2, prior="default", n_starts=3, seed=1)
    table = bg.standard_errors(prior_fit).table
    compared = compare(prior_fit, faithful_posterior)
    assert list(compared.table.index) == list(table.index)
    np.testing.assert_allclose(compared.table["se MAP"], table["standard error"])
    np.testing.assert_allclose(table["standard error"] / compared.table["sd"], 1.0, atol=0.15)
    np.testing.assert_allclose(
        observed.table["standard error"] / compared.table["sd"], 1.0, atol=0.2
    )


def test_compare_shows_errors_beside_the_posterior_sd_whatever_the_order(faithful_like):
    x, theta, result = faithful_like
    for order in ([0, 1], [1, 0]):
        tree = full_result(theta.reorder(order), x)
        compared = compare(tree, result)
        expected = errors_of(x, theta)
        np.testing.assert_allclose(compared.table["se MLE"], expected, rtol=1e-6)
        assert list(compared.table.columns[1:4]) == ["mean", "sd", "se MLE"]
        assert "se MLE" in str(compared)
        assert max(map(len, str(compared).splitlines())) <= 100


def test_compare_leaves_errors_out_where_there_are_none(faithful_like, monkeypatch):
    x, theta, result = faithful_like
    assert "se point" not in compare(theta, result).table
    both = compare({"a": theta, "b": full_result(theta, x)}, result)
    assert [name for name in both.table if name.startswith("se ")] == ["se b"]
    monkeypatch.setattr(computed, "QUICK", 0)
    slow = compare(full_result(theta, x), result)
    assert "se MLE" not in slow.table
    assert "se MLE" not in str(slow)


def test_the_table_names_every_parameter_and_holds_its_interval(observed):
    table = observed.table
    assert list(table.columns) == ["estimate", "standard error", "2.5%", "97.5%"]
    assert table.index[2] == "mean[0, eruptions]"
    assert (table["2.5%"] < table["estimate"]).all()
    assert (table["estimate"] < table["97.5%"]).all()
    row = table.loc["mean[1, waiting]"]
    assert row["97.5%"] - row["estimate"] == pytest.approx(1.959964 * row["standard error"])
    data = observed.dataset
    assert data["standard_error"].sel(parameter="sd[0, waiting]").item() > 0
    variances = np.diagonal(data["covariance"])
    np.testing.assert_allclose(np.sqrt(variances), data["standard_error"])
    assert 0 < data.attrs["missing_information"] < 1
    assert data.attrs["positive_definite"] == 1


def test_missing_information_is_the_rate_at_which_em_converges(observed):
    x = FAITHFUL.to_numpy()
    steps = run_em(x, from_labels(x, (x[:, 0] > 3.5).astype(int)), accelerate=False, tol=1e-14)
    gains = np.diff(steps.objectives)
    gains = gains[(gains < 1e-4) & (gains > 1e-8)]
    # A gain is quadratic in the distance, and so shrinks by the rate squared.
    rate = np.sqrt(gains[1:] / gains[:-1])
    assert rate[-1] == pytest.approx(observed.dataset.attrs["missing_information"], abs=0.02)


def test_intervals_stay_within_the_bounds_of_their_numbers():
    scalars = [
        Scalar("weight", 0),
        Scalar("sd", 0, "a"),
        Scalar("correlation", 0, "b", "a"),
        Scalar("covariance", 0, "a", "a"),
        Scalar("covariance", 0, "b", "a"),
        Scalar("mean", 0, "a"),
    ]
    estimate = np.array([0.02, 0.1, -0.98, 0.01, 0.3, 0.0])
    lower, upper = interval(scalars, estimate, np.array([0.05, 1, 0.1, 1, 1, 1]), 0.95)
    assert (lower < estimate).all()
    assert (estimate < upper).all()
    assert 0 < lower[0] < upper[0] < 1
    assert min(lower[1], lower[3]) > 0
    assert -1 < lower[2] < upper[2] < 1
    assert lower[4] == pytest.approx(0.3 - 1.959964)


def test_it_prints_as_a_table_and_as_html(observed):
    text = str(observed)
    assert "MLE (VVV), standard errors from the observed information: 272 rows" in text
    assert "mean[0, eruptions]" in text
    assert "covariance[" not in text
    assert "Covariances are in .table" in text
    assert "The missing information (unknown labels) is at most 24." in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100
    assert "<table" in observed._repr_html_()
    assert repr(observed) == text


def test_numbers_that_the_structure_fixes_are_not_printed():
    x, theta = one_normal("VVI")
    found = errors_from_curvature(fitted(x, theta, "VVI"), method="observed", ci_prob=0.9)
    assert "correlation" not in str(found)
    assert not found.dataset["free"].sel(parameter="correlation[0, x1, x0]")
    assert found.table.loc["correlation[0, x1, x0]", "standard error"] == 0
    assert list(found.table.columns[2:]) == ["5%", "95%"]


def test_a_file_gives_back_what_was_written(observed, tmp_path):
    observed.dataset.to_netcdf(tmp_path / "errors.nc")
    with xr.open_dataset(tmp_path / "errors.nc") as read:
        assert str(StandardErrors(read.load())) == str(observed)
    json.dumps({name: str(value) for name, value in observed.dataset.attrs.items()})


def test_two_components_that_coincide_have_no_errors_of_their_own():
    x, one = one_normal("VVV")
    twins = Parameters([0.5, 0.5], np.tile(one.means, (2, 1)), np.tile(one.covariances, (2, 1, 1)))
    with pytest.warns(IdentificationWarning, match=r"(flat|saddle)"):
        found = errors_from_curvature(fitted(x, twins), method="observed", ci_prob=0.95)
    assert found.dataset.attrs["positive_definite"] == 0
    assert found.dataset.attrs["n_flat"] > 0
    assert np.isnan(found.table.loc["weight[0]", "standard error"])
    assert np.isnan(found.table.loc["mean[0, x0]", "97.5%"])
    assert "have no standard error" in " ".join(str(found).split())


def test_what_does_not_depend_on_a_flat_direction_keeps_its_error():
    """A round component has no axes to be determined; its mean and the other have all they need."""
    x, _ = mixture.sample(
        Parameters([0.5, 0.5], [[-30.0, 0.0], [30.0, 0.0]], [np.eye(2)] * 2),
        200,
        np.random.default_rng(0),
    )
    first = np.flatnonzero(x[:, 0] < 0)
    x[first] = normal_scores(len(first)) - np.array([30.0, 0.0])
    theta = from_labels(x, (x[:, 0] > 0).astype(int))
    structure = Structure.of("VVV", 2)
    assert np.ptp(np.linalg.eigvalsh(theta.covariances[0])) < 1e-12
    found = errors_from_curvature(fitted(x, theta, structure.name), method="observed", ci_prob=0.95)
    assert found.dataset.attrs["positive_definite"] == 1  # by matrices, axes are not needed
    circle = Parameters(theta.weights, theta.means, [theta.covariances[0]] * 2)
    with pytest.warns((IdentificationWarning, ConvergenceWarning)):
        found = errors_from_curvature(fitted(x, circle, "EEV"), method="observed", ci_prob=0.95)
    assert np.isfinite(found.table.loc["mean[0, x0]", "standard error"])


def normal_scores(n):
    """Rows whose covariance is exactly the identity, up to rounding."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(n, 2))
    z -= z.mean(axis=0)
    return z @ np.linalg.inv(np.linalg.cholesky(z.T @ z / n)).T


def test_data_of_another_fit_are_noticed(mle):
    other = FAITHFUL.assign(waiting=FAITHFUL["waiting"] + 3)
    with pytest.warns(ConvergenceWarning, match="X is not the data of the fit"):
        found = bg.standard_errors(mle, other)
    assert found.dataset.attrs["distance_to_optimum"] > 1
    assert "nats below the maximum" in str(found)


def test_the_distance_to_the_optimum_is_in_nats():
    x, theta = one_normal("VVV")
    sd = np.sqrt(theta.covariances[0, 0, 0] / len(x))
    # One standard error away from the mean, the log-likelihood is half a nat lower.
    step = theta.covariances[0][:, 0] / np.sqrt(theta.covariances[0, 0, 0] * len(x))
    assert step[0] == pytest.approx(sd)
    beside = Parameters(theta.weights, theta.means + step, theta.covariances)
    with pytest.warns(ConvergenceWarning):
        found = errors_from_curvature(fitted(x, beside), method="observed", ci_prob=0.95)
    assert found.dataset.attrs["distance_to_optimum"] == pytest.approx(0.5, rel=0.1)


def test_data_may_be_given_where_the_result_does_not_keep_them(mle, observed):
    bare = xr.DataTree.from_dict(
        {"/": mle.to_dataset(), "/point_estimate": mle["point_estimate"].to_dataset()}
    )
    for X in (FAITHFUL, FAITHFUL.to_numpy()):
        again = bg.standard_errors(bare, X)
        np.testing.assert_allclose(
            again.table["standard error"], observed.table["standard error"], rtol=1e-9
        )
    with refuses("X is needed"):
        bg.standard_errors(bare)
    with refuses("270 rows", "272"):
        bg.standard_errors(bare, FAITHFUL[:270])
    with refuses("waiting", "eruptions"):
        bg.standard_errors(bare, FAITHFUL[["waiting", "eruptions"]])


def test_what_it_cannot_do_is_said(mle, observed):
    with refuses("result", "bg.fit"):
        bg.standard_errors(bg.point_estimate(mle), FAITHFUL)
    with refuses("method", "sandwich"):
        bg.standard_errors(mle, method="jackknife")
    with refuses("ci_prob"):
        bg.standard_errors(mle, ci_prob=95)
    with refuses("n_bootstrap"):
        bg.standard_errors(mle, method="bootstrap", n_bootstrap=1)


def test_the_prior_of_a_result_is_read_back():
    prior = ConjugatePrior(
        [2.0, 3.0], [[1.0, 50.0], [2.0, 60.0]], [0.1, 0.2], [5.0, 6.0], np.eye(2)
    )
    result = bg.fit(FAITHFUL, 2, prior=prior, n_starts=3, seed=1)
    read = Fitted.of(result).prior
    for name in ("concentration", "mean", "mean_precision", "degrees_of_freedom", "scale"):
        np.testing.assert_array_equal(getattr(read, name), getattr(prior, name))
    assert Fitted.of(bg.fit(FAITHFUL, 2, n_starts=3, seed=1)).prior is None


def test_the_estimate_under_the_prior_is_its_optimum():
    result = bg.fit(FAITHFUL, 2, prior="default", n_starts=3, seed=1)
    assert bg.standard_errors(result).dataset.attrs["distance_to_optimum"] < 1e-6


@pytest.mark.validate
@pytest.mark.parametrize("method", ["observed", "sandwich"])
def test_intervals_cover_the_truth_as_often_as_they_say(method):
    truth = Parameters(
        [0.4, 0.6], [[0.0, 0.0], [6.0, 2.0]], [[[1.0, 0.5], [0.5, 1.0]], [[2.0, 0.0], [0.0, 1.0]]]
    )
    names = [scalar.name for scalar in catalogue(2, ("x0", "x1"))]
    true = flatten(truth.weights, truth.means, truth.covariances)
    n_sets = 200
    covered = np.zeros((n_sets, len(names)))
    for i, seed in enumerate(np.random.SeedSequence(11).spawn(n_sets)):
        x, _ = mixture.sample(truth, 400, np.random.default_rng(seed))
        theta = run_em(x, truth).parameters
        table = errors_from_curvature(fitted(x, theta), method=method, ci_prob=0.95).table
        covered[i] = (table["2.5%"] <= true) & (true <= table["97.5%"])
    assert covered.mean() == pytest.approx(0.95, abs=0.015)
    # Four standard errors of a share of 200, and a little for the sandwich's own error.
    assert (np.abs(covered.mean(axis=0) - 0.95) < 0.07).all()
