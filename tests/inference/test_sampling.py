import logging

import arviz as az
import numpy as np
import pymc as pm
import pytest

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.pymc_model import pymc_model
from bayes_gmm.inference.sampling import initial_values, sample
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import Prior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.results.draws import Draws
from tests.helpers import random_parameters, refuses

SHIFT, SCALE = np.array([1e8, -2e3]), np.array([1.0, 1e-5])


class Conjugate:
    """One component, whose posterior is known exactly, at 1e8 sds from zero and in odd units."""

    def __init__(self):
        rng = np.random.default_rng(5)
        x = SHIFT + SCALE * rng.multivariate_normal([0, 0], [[1.0, 0.8], [0.8, 1.0]], size=40)
        observations = Observations.of(x)
        prior = Prior.default(x, 1)
        self.model = pymc_model(observations, prior)
        statistics = SufficientStatistics.of(
            x, np.ones((40, 1)), observations.origin[None], log_normalizer=0.0
        )
        self.posterior = prior.posterior(statistics)
        # The mode itself: there every entry of the gradient is zero, or nearly.
        self.start = Parameters([1.0], self.posterior.mean, self.posterior.scale / (40 + 2 * 2 + 4))

    def sample(self, seed, cores):
        return sample(
            self.model,
            self.start,
            draws=500,
            tune=300,
            chains=3,
            cores=cores,
            seed=seed,
            progressbar=False,
        )["posterior"].dataset


@pytest.fixture(scope="module")
def conjugate():
    return Conjugate()


@pytest.fixture(scope="module")
def conjugate_draws(conjugate):
    return conjugate.sample(seed=3, cores=2)


def standard_error_of_mean(draws):
    """Monte Carlo standard error of the mean of draws (chain, draw, ...)."""
    flat = draws.reshape(*draws.shape[:2], -1)
    errors = [az.mcse(flat[..., i], method="mean") for i in range(flat.shape[-1])]
    return np.reshape(errors, draws.shape[2:])


def test_one_component_has_its_conjugate_posterior(conjugate, conjugate_draws):
    exact = conjugate.posterior
    means = (conjugate_draws["means"].to_numpy()[..., 0, :] - SHIFT) / SCALE
    covariances = conjugate_draws["covariances"].to_numpy()[..., 0, :, :] / np.outer(SCALE, SCALE)
    scale = exact.scale[0] / np.outer(SCALE, SCALE)
    degrees, precision = exact.degrees_of_freedom[0], exact.mean_precision[0]
    expected_covariance = scale / (degrees - 3)  # E Sigma = Psi / (nu - D - 1)
    expected_square = expected_covariance / precision  # Cov mu = E Sigma / kappa
    gap = means - (exact.mean[0] - SHIFT) / SCALE
    checks = {
        "mean of mu": (gap, np.zeros(2)),
        "covariance of mu": (gap[..., :, None] * gap[..., None, :], expected_square),
        "mean of Sigma": (covariances, expected_covariance),
        "mean of Sigma^-1": (np.linalg.inv(covariances), degrees * np.linalg.inv(scale)),
    }
    for what, (draws, expected) in checks.items():
        z = (draws.mean(axis=(0, 1)) - expected) / standard_error_of_mean(draws)
        assert np.isfinite(z).all()
        assert (np.abs(z) < 5).all(), (what, z)


def test_the_number_of_cores_does_not_change_the_draws(conjugate, conjugate_draws):
    again = conjugate.sample(seed=3, cores=1)
    for name in ("weights", "means", "covariances"):
        np.testing.assert_array_equal(again[name], conjugate_draws[name])


def test_another_seed_gives_other_draws_and_a_quiet_run_prints_nothing(
    conjugate, conjugate_draws, capfd, caplog
):
    logger = logging.getLogger("pymc")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.DEBUG, logger="pymc"):
        other = conjugate.sample(seed=4, cores=2)
    logger.removeHandler(caplog.handler)
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
    for draws in (other, conjugate_draws):  # chains differ too
        assert len(np.unique(draws["means"][:, 0, 0, 0])) == 3
    assert (other["means"].to_numpy() != conjugate_draws["means"].to_numpy()).all()


def test_chains_start_at_the_point_given_and_not_around_it(conjugate, monkeypatch):
    calls = []
    monkeypatch.setattr(pm, "sample", lambda *args, **options: calls.append(options))
    theta = random_parameters(np.random.default_rng(0), 1, 2).rescale(SHIFT, SCALE)
    sample(
        conjugate.model,
        theta,
        draws=1,
        tune=1,
        chains=1,
        cores=None,
        seed=None,
        progressbar=True,
    )
    (options,) = calls
    assert options["compile_kwargs"] == {"jitter_rvs": set()}
    assert options["nuts_sampler"] == "nutpie"
    assert not options["quiet"]
    sd = np.sqrt(np.diagonal(theta.covariances[0]))
    assert (np.abs(options["initvals"]["means"] - theta.means) < 1e-3 * sd).all()
    np.testing.assert_array_equal(options["initvals"]["covariances"], theta.covariances)
    np.testing.assert_array_equal(options["initvals"]["weights"], theta.weights)


def test_a_component_without_weight_still_has_a_place_to_start():
    values = initial_values(Parameters([1.0, 0.0], [[0.0], [1.0]], np.ones((2, 1, 1))))
    assert values["weights"].min() > 0
    assert values["weights"].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("draws", 0), ("draws", 2.5), ("tune", 0), ("chains", 0), ("cores", 0), ("seed", -1)],
)
def test_a_number_out_of_range_is_refused(conjugate, name, value):
    options = {"draws": 5, "tune": 5, "chains": 1, "cores": 1, "seed": 1, "progressbar": False}
    with refuses(name, repr(value)):
        sample(conjugate.model, conjugate.start, **{**options, name: value})


def test_faithful_converges(faithful_posterior):
    for group in ("posterior", "invariants"):
        rhat = az.rhat(faithful_posterior[group].to_dataset())
        for name, values in rhat.items():
            assert (values < 1.01).all(), f"{name}: {values.to_numpy()}"
    assert not faithful_posterior["sample_stats"]["diverging"].any()


def test_chains_from_one_point_agree_on_the_names(faithful_posterior):
    permutation = faithful_posterior["sample_stats"]["permutation"].to_numpy()
    assert permutation.shape == (4, 1000, 2)
    assert (permutation == np.arange(2)).all()


def test_the_maximum_likelihood_estimate_of_faithful_is_in_every_interval(faithful_posterior):
    point = bg.parameters(bg.fit(bg.datasets.load("faithful"), 2, seed=1))
    draws = Draws.of(faithful_posterior)
    for name, values in draws._asdict().items():
        low, high = np.quantile(values, [0.005, 0.995], axis=(0, 1))
        assert (low < getattr(point, name)).all(), name
        assert (getattr(point, name) < high).all(), name


def test_two_seeds_agree_within_monte_carlo_error(
    faithful_posterior, faithful_posterior_other_seed
):
    both = faithful_posterior, faithful_posterior_other_seed
    for group in ("posterior", "invariants"):
        one, other = (tree[group].to_dataset() for tree in both)
        for name in one.data_vars:
            ours, theirs = one[name].to_numpy(), other[name].to_numpy()
            assert (ours != theirs).any()
            error = np.hypot(standard_error_of_mean(ours), standard_error_of_mean(theirs))
            z = (ours.mean(axis=(0, 1)) - theirs.mean(axis=(0, 1))) / error
            assert (np.abs(z) < 5).all(), (name, z)
