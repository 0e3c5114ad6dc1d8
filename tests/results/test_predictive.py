import numpy as np
import pandas as pd
import pytest
import xarray as xr
from results.synthetic import (
    FAR_APART,
    one_component,
    point_result,
    posterior_result,
    two_components,
)
from scipy import stats
from scipy.special import entr

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.posterior import predictive as in_blocks
from bayes_gmm.posterior.predictive import log_likelihood
from bayes_gmm.results import predictive
from bayes_gmm.results.predictive import log_density, predict
from bayes_gmm.results.reading import draws_of

NAMES = ["eruptions", "waiting"]
OVERLAPPING = Parameters(
    [0.4, 0.6], [[0.0, 0.0], [1.5, 1.0]], [[[1.0, 0.3], [0.3, 1.0]], [[2.0, 0.0], [0.0, 1.0]]]
)


def joint_density(x, theta):
    """Return phi_k N(x; mu_k, Sigma_k) by the textbook formula, inverse and determinant."""
    residual = x[:, None] - theta.means
    distance = np.einsum("nki,kij,nkj->nk", residual, np.linalg.inv(theta.covariances), residual)
    scale = np.sqrt(np.linalg.det(2 * np.pi * theta.covariances))
    return theta.weights / scale * np.exp(-distance / 2)


@pytest.fixture(scope="module")
def normal_posterior():
    return one_component(1)


@pytest.fixture(scope="module")
def pair_posterior():
    return two_components(2, n_draws=100)


@pytest.fixture(scope="module")
def named_fit():
    x, _ = mixture.sample(OVERLAPPING, 50, np.random.default_rng(3))
    return point_result(OVERLAPPING, x, names=NAMES)


def test_the_predictive_density_of_one_component_is_student_t(normal_posterior):
    x, exact, result = normal_posterior
    d = x.shape[1]
    kappa, nu = exact.mean_precision[0], exact.degrees_of_freedom[0] - d + 1
    truth = stats.multivariate_t(exact.mean[0], exact.scale[0] * (kappa + 1) / (kappa * nu), df=nu)
    far = x.mean(axis=0) + np.outer([-3.5, 0.0, 1.0, 2.0, 3.5], x.std(axis=0))
    draws = draws_of(result).thinned(10**6)
    densities = np.stack([joint_density(far, theta).sum(axis=1) for theta in draws])
    error = densities.std(axis=0) / np.sqrt(len(draws)) / densities.mean(axis=0)

    z = (log_density(result, far).to_numpy() - truth.logpdf(far)) / error
    assert np.abs(z).max() < 5
    plugged_in = mixture.marginal_log_density(far, Parameters([1.0], exact.mean, exact.scale / nu))
    assert (np.abs(plugged_in - truth.logpdf(far)) / error).max() > 10  # the test can tell


def test_a_predictive_density_integrates_to_one():
    x, _, result = one_component(4, d=1)
    grid = np.linspace(x.mean() - 15 * x.std(), x.mean() + 15 * x.std(), 4001)
    density = np.exp(log_density(result, grid).to_numpy())
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-6)


def test_posterior_responsibilities_are_the_average_over_the_draws(pair_posterior):
    _, _, _, result = pair_posterior
    between = np.array([[-2.0, 62.0], [0.0, 65.0], [1.0, 66.0], [8.0, 80.0]])
    joint = np.stack([joint_density(between, theta) for theta in draws_of(result).thinned(10**6)])
    shares = joint / joint.sum(axis=2, keepdims=True)
    predicted = predict(result, between, ci_prob=0.9)

    assert shares.mean(axis=0).max(axis=1).min() < 0.99  # some rows are in doubt
    np.testing.assert_allclose(predicted["responsibilities"], shares.mean(axis=0), rtol=1e-9)
    lower, upper = np.quantile(shares, (0.05, 0.95), axis=0)
    np.testing.assert_allclose(predicted["responsibilities_lower"], lower, rtol=1e-9)
    np.testing.assert_allclose(predicted["responsibilities_upper"], upper, rtol=1e-9)
    np.testing.assert_array_equal(predicted["label"], shares.mean(axis=0).argmax(axis=1))
    np.testing.assert_allclose(
        predicted["uncertainty"], 1 - shares.mean(axis=0).max(axis=1), atol=1e-12
    )


def test_entropy_splits_into_what_overlap_and_what_ignorance_leave(pair_posterior):
    _, _, _, result = pair_posterior
    between = np.array([[-2.0, 62.0], [0.0, 65.0], [1.0, 66.0], [8.0, 80.0]])
    joint = np.stack([joint_density(between, theta) for theta in draws_of(result).thinned(10**6)])
    shares = joint / joint.sum(axis=2, keepdims=True)
    mean = shares.mean(axis=0)
    total = entr(mean).sum(axis=1)
    information = (shares * np.log(shares / mean)).sum(axis=2).mean(axis=0)  # E KL(draw || mean)
    predicted = predict(result, between)

    assert information.max() > 0.01  # some rows are in doubt because of the parameters
    np.testing.assert_allclose(predicted["entropy"], total, atol=1e-12)
    np.testing.assert_allclose(predicted["mutual_information"], information, atol=1e-12)
    np.testing.assert_allclose(
        predicted["expected_entropy"] + predicted["mutual_information"], total, atol=1e-12
    )


def test_half_way_between_equal_components_nothing_is_known():
    twins = Parameters([0.5, 0.5], [[-1.0], [1.0]], [[[1.0]], [[1.0]]])
    predicted = predict(twins, [[0.0], [30.0]])
    np.testing.assert_allclose(predicted["entropy"], [np.log(2), 0], atol=1e-12)
    alone = predict(Parameters([1.0], [[0.0]], [[[1.0]]]), [[0.3]])
    assert alone["entropy"].item() == 0


def test_a_known_parameter_leaves_no_mutual_information(pair_posterior):
    x = pair_posterior[0]
    theta = draws_of(pair_posterior[3]).thinned(1)[0]
    same = tuple(
        np.broadcast_to(part, (2, 5, *part.shape))
        for part in (theta.weights, theta.means, theta.covariances)
    )
    predicted = predict(posterior_result(same, x, ConjugatePrior.default(x, 2)), [[0.0, 65.0]])
    assert predicted["mutual_information"].item() < 1e-15
    assert predicted["expected_entropy"].item() > 1e-3
    np.testing.assert_allclose(predicted["entropy"], predict(theta, [[0.0, 65.0]])["entropy"])


def test_the_band_of_the_log_density_holds_its_share_of_the_draws(pair_posterior):
    result = pair_posterior[3]
    rows = np.array([[-8.0, 50.0], [0.0, 65.0], [20.0, 90.0]])
    draws = draws_of(result).thinned(10**6)
    densities = np.log([joint_density(rows, theta).sum(axis=1) for theta in draws])
    found = log_density(result, rows, ci_prob=0.8)
    lower, upper = np.quantile(densities, (0.1, 0.9), axis=0)
    np.testing.assert_allclose(found["log_density_lower"], lower, rtol=1e-9)
    np.testing.assert_allclose(found["log_density_upper"], upper, rtol=1e-9)
    xr.testing.assert_identical(
        found["log_density"].drop_attrs(), log_density(result, rows).drop_attrs()
    )
    np.testing.assert_allclose(found["log_density"], np.log(np.exp(densities).mean(axis=0)))


def test_a_point_has_no_band(named_fit):
    with pytest.raises(InputError, match=r"ci_prob needs a result of bg\.sample"):
        log_density(named_fit, ci_prob=0.9)
    with pytest.raises(InputError, match="between 0 and 1"):
        log_density(named_fit, ci_prob=90)


def test_a_fit_of_too_many_rows_to_keep_predicts_rows_that_are_given(named_fit):
    kept_nothing = named_fit.filter(lambda node: node.name != "observed_data")
    assert "observed_data" not in kept_nothing.children
    with pytest.raises(InputError, match="keeps no copy"):
        predict(kept_nothing)
    frame = pd.DataFrame({"waiting": [0.3], "eruptions": [1.0]})
    xr.testing.assert_identical(predict(kept_nothing, frame), predict(named_fit, [[1.0, 0.3]]))


def test_rows_of_separate_clusters_get_their_own_labels_back(pair_posterior):
    _, z, _, result = pair_posterior
    predicted = predict(result)
    np.testing.assert_array_equal(predicted["label"], z)
    np.testing.assert_allclose(predicted["responsibilities"].sum("cluster"), 1)


def test_blocks_of_rows_change_nothing(pair_posterior, monkeypatch):
    result = pair_posterior[3]
    whole, density = predict(result), log_density(result)
    monkeypatch.setattr(in_blocks, "BLOCK_NUMBERS", 400 * 2 * 7)
    xr.testing.assert_allclose(predict(result), whole, rtol=1e-12)
    xr.testing.assert_allclose(log_density(result), density, rtol=1e-12)


def test_many_draws_are_thinned_evenly_over_all_chains(pair_posterior, monkeypatch):
    result = pair_posterior[3]
    monkeypatch.setattr(predictive, "MOST_DRAWS", 8)
    assert predict(result).attrs["n_draws"] == 8
    kept = {theta.weights[0] for theta in draws_of(result).thinned(8)}
    per_chain = [kept & set(chain) for chain in draws_of(result).weights[..., 0]]
    assert [len(part) for part in per_chain] == [2, 2, 2, 2]


def test_a_point_plugs_its_estimate_in(named_fit):
    x = named_fit["observed_data"]["x"].to_numpy()
    predicted = predict(named_fit)
    shares = mixture.responsibilities(x, OVERLAPPING)
    np.testing.assert_allclose(predicted["responsibilities"], shares, rtol=1e-9)
    assert set(predicted.data_vars) == {"responsibilities", "label", "uncertainty", "entropy"}
    assert predicted["responsibilities"].dims == ("obs_id", "cluster")
    np.testing.assert_allclose(
        log_density(named_fit), mixture.marginal_log_density(x, OVERLAPPING), rtol=1e-12
    )
    assert log_likelihood(OVERLAPPING, x) == pytest.approx(mixture.log_likelihood(x, OVERLAPPING))


def test_a_tiny_uncertainty_keeps_its_digits():
    uncertainty = predict(FAR_APART, [[8.0, 80.0]])["uncertainty"].item()
    assert 0 < uncertainty < 1e-20
    exact = mixture.responsibilities(np.array([[8.0, 80.0]]), FAR_APART).min()
    assert uncertainty == pytest.approx(exact)


def test_parameters_alone_need_rows():
    with pytest.raises(InputError, match="X is needed"):
        predict(OVERLAPPING)
    with pytest.raises(InputError, match="X is needed"):
        log_density(OVERLAPPING)
    assert predict(OVERLAPPING, [[0.0, 0.0]]).sizes == {"obs_id": 1, "cluster": 2}


def test_columns_are_matched_by_name_not_by_position(named_fit):
    rows = np.array([[0.0, 0.5], [1.5, 1.0], [-2.0, 4.0]])
    frame = pd.DataFrame(rows, columns=NAMES, index=["a", "b", "c"])
    shuffled = frame.assign(species="geyser")[["species", "waiting", "eruptions"]]
    labelled_rows = xr.DataArray(
        rows[:, ::-1], dims=("obs_id", "feature"), coords={"feature": NAMES[::-1]}
    )
    expected = mixture.marginal_log_density(rows, OVERLAPPING)
    assert abs(expected - mixture.marginal_log_density(rows[:, ::-1], OVERLAPPING)).min() > 0.01
    for X in (rows, rows.tolist(), frame, shuffled, labelled_rows, Observations.of(frame)):
        np.testing.assert_allclose(log_density(named_fit, X), expected, rtol=1e-12)
    assert log_density(named_fit, shuffled)["obs_id"].to_numpy().tolist() == ["a", "b", "c"]


def test_a_model_without_names_takes_named_columns_by_position():
    x, _ = mixture.sample(OVERLAPPING, 20, np.random.default_rng(3))
    result = point_result(OVERLAPPING, x)
    expected = log_density(result).to_numpy()
    np.testing.assert_allclose(log_density(result, pd.DataFrame(x, columns=NAMES)), expected)
    by_name = pd.DataFrame(x[:, ::-1], columns=["x1", "x0"])
    np.testing.assert_allclose(log_density(result, by_name), expected)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (pd.DataFrame({"eruptions": [1.0], "wait": [2.0]}), "no column 'waiting'.*'wait'"),
        (pd.DataFrame({"eruptions": [1.0, 2.0], "waiting": ["x", "y"]}), "'waiting' holds text"),
        (pd.DataFrame({"eruptions": [1.0, np.nan], "waiting": [1.0, 2.0]}), "missing values"),
        (np.zeros((4, 3)), "3 columns, but the model has 2"),
        (np.zeros((4, 1)), "1 column, but the model has 2"),
        (np.zeros((4, 2, 2)), r"got shape \(4, 2, 2\)"),
        (np.zeros((0, 2)), "no rows"),
        ([1.0, 2.0], r"give rows x columns, \[\[...\]\] for a single row"),
        ([[1.0, 2.0], [3.0, np.nan]], "row 1, column 'waiting', the first of 1"),
        ([[1.0, np.inf], [3.0, np.nan]], "row 0, column 'waiting', the first of 2"),
        ([[1.0, 2.0], [3.0]], "different lengths"),
        ([["a", "b"]], "not numbers"),
        (np.ones((2, 2), dtype=bool), "not numbers"),
    ],
)
def test_rows_that_do_not_fit_get_one_line_of_advice(named_fit, X, message):
    with pytest.raises(InputError, match=message) as raised:
        predict(named_fit, X)
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match=message):
        log_density(named_fit, X)


@pytest.mark.parametrize("ci_prob", [0, 1, 95, -0.5])
def test_a_probability_lies_between_zero_and_one(named_fit, ci_prob):
    with pytest.raises(InputError, match="ci_prob"):
        predict(named_fit, ci_prob=ci_prob)


def test_what_is_no_result_is_refused():
    with pytest.raises(InputError, match="must come from fit or sample"):
        predict("fit", [[0.0, 0.0]])
