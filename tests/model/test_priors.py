"""The conjugate prior, held to SciPy's densities, to Bayes' rule, and to a numerical maximizer."""

import numpy as np
import pytest
from helpers import (
    assert_same_mixture,
    complete_statistics,
    gradient,
    joint_by_scipy,
    log_prior_by_scipy,
    pack,
    random_covariances,
    random_parameters,
    random_prior,
    refuses,
    unpack,
    z_scores,
)
from scipy import optimize, stats

from bayes_gmm.model import normal
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior

SIZES = [(1, 1), (2, 1), (1, 2), (3, 2), (2, 4)]


def complete_data(rng, parameters: Parameters, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels, every label there at least twice."""
    n_components = parameters.n_components
    z = np.concatenate([np.repeat(np.arange(n_components), 2), rng.integers(n_components, size=n)])
    return 2 * rng.normal(size=(len(z), parameters.n_features)) + 1, z


@pytest.mark.parametrize("sizes", SIZES)
def test_log_density_is_scipys(sizes):
    rng = np.random.default_rng(10 * sizes[0] + sizes[1])
    prior = random_prior(rng, *sizes)
    assert prior.is_proper
    for _ in range(5):
        theta = random_parameters(rng, *sizes)
        expected = log_prior_by_scipy(prior, theta)
        assert prior.log_density(theta) == pytest.approx(expected, rel=1e-11)
        assert isinstance(prior.log_density(theta), float)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_posterior_is_prior_times_likelihood_up_to_a_constant(sizes):
    rng = np.random.default_rng(100 + 10 * sizes[0] + sizes[1])
    prior = random_prior(rng, *sizes)
    x, z = complete_data(rng, random_parameters(rng, *sizes), 12)
    posterior = prior.posterior(complete_statistics(x, z, sizes[0], rng.normal(size=sizes)))
    log_evidence = []
    for _ in range(6):
        theta = random_parameters(rng, *sizes)
        log_likelihood = joint_by_scipy(x, theta)[np.arange(len(x)), z].sum()
        log_evidence.append(
            log_prior_by_scipy(prior, theta) + log_likelihood - posterior.log_density(theta)
        )
    assert abs(posterior.log_density(theta) - prior.log_density(theta)) > 1
    np.testing.assert_allclose(log_evidence, log_evidence[0], rtol=1e-10)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_evidence_of_one_row_is_students(sizes):
    """p(x, z = k) = alpha_k / sum(alpha) T(x; m_k, Psi_k (kappa_k + 1) / (kappa_k f), f)."""
    rng = np.random.default_rng(200 + 10 * sizes[0] + sizes[1])
    prior = random_prior(rng, *sizes)
    theta = random_parameters(rng, *sizes)
    x = rng.normal(size=(1, sizes[1]))
    for k in range(sizes[0]):
        posterior = prior.posterior(complete_statistics(x, np.array([k]), sizes[0]))
        log_likelihood = joint_by_scipy(x, theta)[0, k]
        evidence = prior.log_density(theta) + log_likelihood - posterior.log_density(theta)
        kappa, freedom = prior.mean_precision[k], prior.degrees_of_freedom[k] - sizes[1] + 1
        shape = prior.scale[k] * (kappa + 1) / (kappa * freedom)
        student = stats.multivariate_t(prior.mean[k], shape, df=freedom).logpdf(x)
        share = np.log(prior.concentration[k] / prior.concentration.sum())
        assert evidence == pytest.approx(float(share + student), rel=1e-10)


def test_the_posterior_is_the_same_from_all_rows_at_once_or_from_one_after_another():
    rng = np.random.default_rng(1)
    prior = random_prior(rng, 3, 2)
    x, z = complete_data(rng, random_parameters(rng, 3, 2), 20)
    at_once = prior.posterior(complete_statistics(x, z, 3))
    step_by_step = prior
    for row, label in zip(x, z, strict=True):
        center = rng.normal(size=(3, 2))
        step_by_step = step_by_step.posterior(
            complete_statistics(row[None], np.array([label]), 3, center)
        )
    for name in ("concentration", "mean", "mean_precision", "degrees_of_freedom", "scale"):
        np.testing.assert_allclose(
            getattr(step_by_step, name), getattr(at_once, name), rtol=1e-10, err_msg=name
        )


@pytest.mark.parametrize("sizes", [(1, 1), (2, 1), (2, 2), (1, 3)])
def test_the_mode_is_where_a_numerical_maximizer_ends(sizes):
    rng = np.random.default_rng(300 + 10 * sizes[0] + sizes[1])
    prior = random_prior(rng, *sizes)
    mode = prior.mode()
    if sizes[0] == 1:
        assert mode.weights == [1.0]

    def loss(point):
        return -log_prior_by_scipy(prior, unpack(point, *sizes))

    at_mode = pack(mode)
    np.testing.assert_allclose(gradient(loss, at_mode, step=3e-4), 0, atol=1e-6)
    for _ in range(2):
        start = at_mode + 0.2 * rng.normal(size=at_mode.size)
        assert loss(start) > loss(at_mode) + 1e-3
        found = optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-5})
        assert found.fun == pytest.approx(loss(at_mode), abs=1e-7)
        assert_same_mixture(unpack(found.x, *sizes), mode, rtol=1e-4)


def test_nothing_nearby_is_denser_than_the_mode():
    rng = np.random.default_rng(2)
    prior = random_prior(rng, 3, 2)
    mode = prior.mode()
    best, at_mode = prior.log_density(mode), pack(mode)
    for size in (1e-3, 1e-2, 1e-1):
        for _ in range(30):
            other = unpack(at_mode + size * rng.normal(size=at_mode.size), 3, 2)
            assert prior.log_density(other) < best


@pytest.mark.parametrize(
    "changed",
    [{"concentration": [0.5, 2.0]}, {"concentration": [1.0, 1.0]}, {"degrees_of_freedom": -4.0}],
    ids=["concentration below 1", "flat weights", "degrees of freedom"],
)
def test_a_prior_without_a_mode_says_so(changed):
    fields = {
        "concentration": [2.0, 2.0],
        "mean": [0.0, 0.0],
        "mean_precision": 1.0,
        "degrees_of_freedom": 5.0,
        "scale": np.eye(2),
    }
    assert ConjugatePrior(**fields).mode().n_components == 2
    with refuses("mode", "concentration", "degrees_of_freedom"):
        ConjugatePrior(**{**fields, **changed}).mode()


@pytest.fixture(scope="module")
def draws():
    """A prior with finite variances, and draws from it."""
    rng = np.random.default_rng(4)
    prior = ConjugatePrior(
        concentration=[2.0, 5.0],
        mean=[[1.0, -2.0], [30.0, 0.5]],
        mean_precision=[0.5, 4.0],
        degrees_of_freedom=[9.0, 14.5],
        scale=random_covariances(rng, 2, 2),
    )
    return prior, [prior.sample(rng) for _ in range(3000)]


def test_sampled_weights_have_the_moments_of_the_dirichlet(draws):
    prior, sampled = draws
    weights = np.array([theta.weights for theta in sampled])
    share = prior.concentration / prior.concentration.sum()
    assert np.abs(z_scores(weights, share)).max() < 5
    variance = share * (1 - share) / (prior.concentration.sum() + 1)
    assert np.abs(z_scores((weights - share) ** 2, variance)).max() < 5


def test_sampled_covariances_are_inverse_wishart(draws):
    prior, sampled = draws
    covariances = np.array([theta.covariances for theta in sampled])
    excess = prior.degrees_of_freedom - 3  # nu - D - 1
    assert np.abs(z_scores(covariances, prior.scale / excess[:, None, None])).max() < 5
    expected = prior.degrees_of_freedom[:, None, None] * np.linalg.inv(prior.scale)
    assert np.abs(z_scores(np.linalg.inv(covariances), expected)).max() < 5
    for k in range(2):
        for direction in ([1.0, 0.0], [0.0, 1.0], [1.0, -1.0]):
            spread = np.einsum("i,nij,j->n", direction, covariances[:, k], direction)
            size = np.einsum("i,ij,j", direction, prior.scale[k], direction)
            marginal = stats.invgamma((prior.degrees_of_freedom[k] - 1) / 2, scale=size / 2)
            assert stats.kstest(spread, marginal.cdf).pvalue > 1e-4


def test_sampled_means_are_normal_given_their_covariance(draws):
    prior, sampled = draws
    for k in range(2):
        residual = np.array([theta.means[k] - prior.mean[k] for theta in sampled])
        covariances = np.array([theta.covariances[k] for theta in sampled])
        assert np.abs(z_scores(residual, 0.0)).max() < 5
        factors = np.linalg.cholesky(covariances / prior.mean_precision[k])
        whitened = np.linalg.solve(factors, residual[:, :, None])[:, :, 0]
        for column in whitened.T:
            assert stats.kstest(column, "norm").pvalue > 1e-4
        assert abs(z_scores(whitened[:, 0] * whitened[:, 1], 0.0)) < 5


def test_draws_of_components_and_weights_do_not_depend_on_each_other(draws):
    _, sampled = draws
    first = np.array([theta.means[0, 0] for theta in sampled])
    second = np.array([theta.means[1, 0] for theta in sampled])
    weight = np.array([theta.weights[0] for theta in sampled])
    for a, b in ((first, second), (first, weight), (first[1:], first[:-1])):
        assert stats.spearmanr(a, b).pvalue > 1e-4


def test_an_improper_prior_cannot_be_sampled():
    for prior in (
        ConjugatePrior.flat(2, 2),
        ConjugatePrior([1.0], [0.0, 0.0], 0.0, 4.0, np.eye(2)),
        ConjugatePrior([1.0], [0.0, 0.0], 1.0, 1.0, np.eye(2)),
        ConjugatePrior([1.0], [0.0, 0.0], 1.0, 4.0, np.zeros((2, 2))),
    ):
        assert not prior.is_proper
        with refuses("improper", "mean_precision", "degrees_of_freedom", "scale"):
            prior.sample(np.random.default_rng(0))


@pytest.mark.parametrize("sizes", SIZES)
def test_the_flat_prior_has_log_density_zero_everywhere(sizes):
    rng = np.random.default_rng(500)
    flat = ConjugatePrior.flat(*sizes)
    for _ in range(5):
        assert flat.log_density(random_parameters(rng, *sizes)) == 0.0


def test_the_flat_prior_has_log_density_zero_even_where_a_weight_is():
    theta = Parameters([1.0, 0.0], [[0.0], [1.0]], [[[1.0]], [[2.0]]])
    assert ConjugatePrior.flat(2, 1).log_density(theta) == 0.0


@pytest.mark.parametrize("sizes", SIZES)
def test_the_mode_under_the_flat_prior_is_maximum_likelihood(sizes):
    rng = np.random.default_rng(600 + 10 * sizes[0] + sizes[1])
    n_components, n_features = sizes
    z = np.repeat(np.arange(n_components), 10 + np.arange(n_components))
    x = rng.normal(size=(len(z), n_features)) + 5 * z[:, None]
    statistics = complete_statistics(x, z, n_components, rng.normal(size=sizes))
    mode = ConjugatePrior.flat(*sizes).posterior(statistics).mode()
    np.testing.assert_allclose(mode.weights, np.bincount(z) / len(z), rtol=1e-13)
    for k in range(n_components):
        mean, covariance = normal.maximum_likelihood(x[z == k])
        np.testing.assert_allclose(mode.means[k], mean, rtol=1e-12)
        np.testing.assert_allclose(mode.covariances[k], covariance, rtol=1e-9, atol=1e-12)


SHIFT, SCALE = np.array([3.0, -7.0]), np.array([1e-3, 1e4])


def test_a_rescaled_prior_is_the_distribution_of_rescaled_parameters():
    rng = np.random.default_rng(7)
    prior = random_prior(rng, 3, 2)
    moved = prior.rescale(SHIFT, SCALE)
    # per component: D means scale once, D (D + 1) / 2 covariances twice
    jacobian = 3 * (2 + 2) * np.log(SCALE).sum()
    for _ in range(4):
        theta = random_parameters(rng, 3, 2)
        found = moved.log_density(theta.rescale(SHIFT, SCALE))
        assert found == pytest.approx(prior.log_density(theta) - jacobian, rel=1e-9)
    assert_same_mixture(moved.mode(), prior.mode().rescale(SHIFT, SCALE), rtol=1e-9)


def test_bayes_rule_and_rescaling_can_be_taken_in_either_order():
    rng = np.random.default_rng(8)
    prior = random_prior(rng, 2, 2)
    x, z = complete_data(rng, random_parameters(rng, 2, 2), 15)
    here = prior.posterior(complete_statistics(x, z, 2)).rescale(SHIFT, SCALE)
    there = prior.rescale(SHIFT, SCALE).posterior(complete_statistics(SHIFT + SCALE * x, z, 2))
    for name in ("concentration", "mean", "mean_precision", "degrees_of_freedom", "scale"):
        np.testing.assert_allclose(
            getattr(there, name), getattr(here, name), rtol=1e-8, err_msg=name
        )


@pytest.mark.parametrize(("n_components", "n_features"), [(1, 1), (3, 1), (2, 2), (5, 3)])
def test_the_default_prior_is_the_documented_one(n_components, n_features):
    rng = np.random.default_rng(9)
    x = rng.normal(size=(30, n_features)) @ rng.normal(size=(n_features, n_features)) + 4
    prior = ConjugatePrior.default(x, n_components)
    covariance = np.cov(x.T, ddof=1).reshape(n_features, n_features)
    np.testing.assert_array_equal(prior.concentration, np.ones(n_components))
    np.testing.assert_allclose(prior.mean, np.tile(x.mean(axis=0), (n_components, 1)))
    np.testing.assert_array_equal(prior.mean_precision, np.full(n_components, 0.01))
    np.testing.assert_array_equal(prior.degrees_of_freedom, np.full(n_components, n_features + 2.0))
    expected = covariance / n_components ** (2 / n_features)
    np.testing.assert_allclose(prior.scale, np.tile(expected, (n_components, 1, 1)), rtol=1e-12)
    assert prior.is_proper


def test_the_default_prior_follows_a_change_of_units():
    x = np.random.default_rng(10).normal(size=(40, 2))
    here = ConjugatePrior.default(x, 3).rescale(SHIFT, SCALE)
    there = ConjugatePrior.default(SHIFT + SCALE * x, 3)
    np.testing.assert_allclose(there.mean, here.mean, rtol=1e-10)
    np.testing.assert_allclose(there.scale, here.scale, rtol=1e-8)


def test_one_feature_may_be_a_vector():
    x = np.array([1.0, 2.0, 4.0])
    np.testing.assert_array_equal(
        ConjugatePrior.default(x, 2).scale, ConjugatePrior.default(x[:, None], 2).scale
    )


GOOD = {
    "concentration": [1.0, 2.0],
    "mean": [0.0, 0.0],
    "mean_precision": 0.5,
    "degrees_of_freedom": 4.0,
    "scale": [[1.0, 0.5], [0.5, 2.0]],
}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("concentration", [1.0, 0.0], ["concentration", "positive"]),
        ("concentration", [1.0, -2.0], ["concentration", "positive"]),
        ("concentration", [1.0, np.nan], ["concentration"]),
        ("concentration", [1.0, np.inf], ["concentration"]),
        ("concentration", [[1.0, 1.0]], ["concentration"]),
        ("concentration", 1.0, ["concentration"]),
        ("concentration", [], ["concentration"]),
        ("concentration", ["a", "b"], ["concentration"]),
        ("mean", [0.0, np.nan], ["mean", "finite"]),
        ("mean", 0.0, ["mean"]),
        ("mean", [[0.0, 0.0]] * 3, ["mean", "(2, 2)", "(3, 2)"]),
        ("mean", ["a", "b"], ["mean"]),
        ("mean_precision", -0.1, ["mean_precision", ">= 0"]),
        ("mean_precision", np.nan, ["mean_precision", "finite"]),
        ("mean_precision", [1.0, 1.0, 1.0], ["mean_precision", "(2,)", "(3,)"]),
        ("degrees_of_freedom", np.inf, ["degrees_of_freedom", "finite"]),
        ("degrees_of_freedom", [1.0, 1.0, 1.0], ["degrees_of_freedom", "(2,)", "(3,)"]),
        ("scale", np.eye(3), ["scale", "(2, 2, 2)", "(3, 3)"]),
        ("scale", [[1.0, np.nan], [np.nan, 1.0]], ["scale", "finite"]),
        ("scale", [[1.0, 0.5], [0.0, 1.0]], ["scale", "symmetric"]),
        ("scale", [[-1.0, 0.0], [0.0, -1.0]], ["scale"]),
        ("scale", [1.0, 1.0], ["scale"]),
        ("scale", [[1.0, 2.0], [2.0, 1.0]], ["scale"]),
    ],
)
def test_what_is_no_prior_is_refused(name, value, words):
    with refuses(*words):
        ConjugatePrior(**{**GOOD, name: value})


def test_a_prior_holds_frozen_copies_of_full_shape():
    mean = np.zeros(2)
    prior = ConjugatePrior(**{**GOOD, "mean": mean})
    mean[0] = 9
    assert (prior.n_components, prior.n_features) == (2, 2)
    assert (prior.mean == 0).all()
    for name, shape in {"mean": (2, 2), "mean_precision": (2,), "scale": (2, 2, 2)}.items():
        assert getattr(prior, name).shape == shape
        with pytest.raises(ValueError, match="read-only"):
            getattr(prior, name)[0] = 1
