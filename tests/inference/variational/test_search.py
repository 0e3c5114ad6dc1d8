"""The best optimum of the lower bound: against a numerical maximizer and against exact evidence."""

import warnings

import numpy as np
import pytest
from exact_enumeration import enumerate_posterior, problems
from helpers import gradient, refuses
from missing_enumeration import MissingExact
from scipy.optimize import minimize
from sklearn.mixture import BayesianGaussianMixture
from structured_enumeration import StructuredExact
from variational_bound import Fields, lower_bound

from bayes_gmm.data import Observations
from bayes_gmm.inference.variational.approximation import Approximation
from bayes_gmm.inference.variational.search import Search
from bayes_gmm.model import mixture
from bayes_gmm.model.marginal_likelihood import cheeseman_stutz
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import from_log_quadratic
from bayes_gmm.model.structures import DRAWN, UNCONSTRAINED, Structure
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.model.variational import Expected

PROBLEMS = problems()
TWO = Parameters([0.4, 0.6], [[-1.0, 0.0], [1.5, 1.0]], [[[1, 0.3], [0.3, 0.5]], np.eye(2)])
OVERLAPPING = mixture.sample(TWO, 40, np.random.default_rng(3))[0]


def approximation(x, prior, structure=UNCONSTRAINED, weights=None, starts=None):
    """The best q, by default from starts whose means are rows drawn at random."""
    spread = np.nanstd(x, axis=0) + 1e-6
    observations = Observations.of(x, spread=spread, missing="mar")
    if weights is not None:
        observations = observations.weighted(weights, spread=spread)
    rng, n_components = np.random.default_rng(1), prior.n_components
    rows = np.where(np.isnan(x), np.nanmean(x, axis=0), x)
    covariances = np.stack([np.diag(spread**2) / n_components] * n_components)
    means = [rows[rng.choice(len(x), n_components, len(x) < n_components)] for _ in range(6)]
    even = np.full(n_components, 1 / n_components)
    if starts is None:
        starts = [Parameters(even, one, covariances) for one in means]
    return Approximation.of(observations, prior, starts, structure)


def elbo(found):
    return found.found.run.state.objective - found.view.log_volume


def test_the_optimum_is_that_of_a_numerical_maximizer():
    prior = ConjugatePrior.default(OVERLAPPING, 2)
    found = approximation(OVERLAPPING, prior)
    given, own = Fields.of(prior), Fields.of(found.in_units().counted)

    def minus_bound(numbers):
        return -lower_bound(OVERLAPPING, given, Fields.unpack(numbers, 2, 2))

    assert minus_bound(own.pack()) == pytest.approx(-elbo(found), abs=1e-9)
    np.testing.assert_allclose(gradient(minus_bound, own.pack()), 0, atol=1e-6)
    moved = own.pack() + 0.3 * np.random.default_rng(4).normal(size=own.pack().size)
    best = minimize(minus_bound, moved, method="BFGS", options={"gtol": 1e-4})
    assert best.fun == pytest.approx(-elbo(found), abs=1e-7)
    np.testing.assert_allclose(best.x, own.pack(), atol=2e-3)


@pytest.mark.parametrize("problem", PROBLEMS, ids=[problem.name for problem in PROBLEMS])
def test_the_bound_is_below_the_exact_log_evidence_and_equal_with_one_component(problem):
    evidence = enumerate_posterior(problem.x, problem.prior).log_evidence
    bound = elbo(approximation(problem.x, problem.prior))
    if problem.prior.n_components == 1:
        assert bound == pytest.approx(evidence, abs=1e-9)
    else:
        assert evidence - 6 < bound < evidence


@pytest.mark.parametrize("code", DRAWN)
def test_the_bound_of_a_structure_is_below_its_exact_log_evidence(code):
    for problem in (PROBLEMS[1], *PROBLEMS[-1:]):
        x = problem.x[:6]
        evidence = StructuredExact(x, problem.prior, code, x[:0]).log_evidence
        bound = elbo(approximation(x, problem.prior, Structure.of(code, 2)))
        if problem.prior.n_components == 1:
            assert bound == pytest.approx(evidence, abs=1e-9)
        else:
            assert evidence - 6 < bound < evidence


def test_the_bound_with_an_entry_missing_is_below_the_exact_log_evidence():
    x = PROBLEMS[-1].x[:5].copy()
    x[1, 0] = np.nan
    evidence = MissingExact(x, PROBLEMS[-1].prior, 61).log_evidence
    assert evidence - 6 < elbo(approximation(x, PROBLEMS[-1].prior)) < evidence


def test_row_weights_are_repeated_rows_and_may_be_parts_of_rows():
    prior, starts = ConjugatePrior.default(OVERLAPPING, 2), [TWO]
    times = np.arange(len(OVERLAPPING)) % 3
    repeated = approximation(np.repeat(OVERLAPPING, times, axis=0), prior, starts=starts)
    weighted = approximation(OVERLAPPING, prior, weights=times, starts=starts)
    assert elbo(weighted) == pytest.approx(elbo(repeated), abs=1e-9)
    twice = np.concatenate([OVERLAPPING, OVERLAPPING])
    halves = approximation(twice, prior, weights=np.full(len(twice), 0.5), starts=starts)
    once = approximation(OVERLAPPING, prior, starts=starts)
    assert elbo(halves) == pytest.approx(elbo(once), abs=1e-9)


def test_units_and_the_order_of_rows_change_nothing():
    prior = ConjugatePrior.default(OVERLAPPING, 2)
    scale, shift = np.array([1e3, 1e-4]), np.array([1e5, -2.0])
    plain = approximation(OVERLAPPING, prior, starts=[TWO])
    moved = approximation(
        shift + scale * OVERLAPPING, prior.rescale(shift, scale), starts=[TWO.rescale(shift, scale)]
    )
    back = moved.in_units().counted.rescale(-shift / scale, 1 / scale)
    np.testing.assert_allclose(back.mean, plain.in_units().counted.mean, rtol=1e-6)
    np.testing.assert_allclose(back.scale, plain.in_units().counted.scale, rtol=1e-6)
    assert elbo(moved) + 40 * np.log(scale).sum() == pytest.approx(elbo(plain), abs=1e-7)
    turned = approximation(OVERLAPPING[::-1], prior, starts=[TWO])
    assert elbo(turned) == pytest.approx(elbo(plain), abs=1e-9)


def test_the_pass_for_incomplete_rows_agrees_on_complete_ones():
    """A row that counts as none lacks an entry."""
    prior = ConjugatePrior.default(OVERLAPPING, 2)
    complete = approximation(OVERLAPPING, prior, starts=[TWO])
    x = np.vstack([OVERLAPPING, [[np.nan, 1.0]]])
    weights = np.append(np.ones(len(OVERLAPPING)), 0.0)
    incomplete = approximation(x, prior, weights=weights, starts=[TWO])
    assert elbo(incomplete) == pytest.approx(elbo(complete), abs=1e-9)


def test_a_small_concentration_switches_components_off_that_the_data_do_not_support():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(300, 2)) + 6 * rng.integers(0, 2, size=(300, 1))
    default = ConjugatePrior.default(x, 8)
    sparse = ConjugatePrior(np.full(8, 0.01), default.mean, default.mean_precision, 5.0, np.eye(2))
    found = approximation(x, sparse)
    count = np.sort(found.q.counted.concentration - 0.01)
    assert (count[:6] < 1e-6).all()
    assert (count[6:] > 100).all()


def test_leaving_components_out_ends_higher_than_all_starts(monkeypatch):
    x = np.random.default_rng(6).normal(size=(200, 1))
    prior = ConjugatePrior.default(x, 5)
    found = approximation(x, prior)
    monkeypatch.setattr(Search, "_without", lambda self, run: run)
    assert elbo(found) > elbo(approximation(x, prior)) + 0.05
    # Three components without rows are alike, so that their 3! orders are one.
    state = found.found.run.state
    assert (state.statistics.count < 0.01).sum() == 3
    assert found.found.log_mass[0] == pytest.approx(state.objective - np.log(6))


def test_a_prior_too_narrow_for_the_data_is_refused():
    x = np.linspace([0.0, 0.0], [1.0, 1.0], 20)
    prior = ConjugatePrior([1.0, 1.0], [0.5, 0.5], 1.0, 3.0, 1e-320 * np.eye(2))
    with refuses("scale", "larger"):
        approximation(x, prior)


def scikit_learn(x, prior, theta, n_steps):
    """scikit-learn's variational Bayes, from the responsibilities at these parameters."""

    class FromStart(BayesianGaussianMixture):
        def _initialize_parameters(self, X, *more, **others):
            self._initialize(X, mixture.responsibilities(X, theta))

    model = FromStart(
        n_components=prior.n_components,
        tol=1e-13,
        max_iter=n_steps,
        reg_covar=0.0,
        weight_concentration_prior_type="dirichlet_distribution",
        weight_concentration_prior=prior.concentration[0],
        mean_prior=prior.mean[0],
        mean_precision_prior=prior.mean_precision[0],
        degrees_of_freedom_prior=prior.degrees_of_freedom[0],
        covariance_prior=prior.scale[0],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns when it stops at max_iter, as it is told to
        return model.fit(x)


def test_the_optimum_is_scikit_learns_whose_bound_lacks_constants_only():
    prior = ConjugatePrior.default(OVERLAPPING, 2)
    model = scikit_learn(OVERLAPPING, prior, TWO, 5000)
    found = approximation(OVERLAPPING, prior, starts=[TWO])
    q = found.in_units().counted
    np.testing.assert_allclose(q.concentration, model.weight_concentration_, rtol=1e-6)
    np.testing.assert_allclose(q.mean, model.means_, atol=1e-6)
    covariances = q.scale / q.degrees_of_freedom[:, None, None]
    np.testing.assert_allclose(covariances, model.covariances_, atol=1e-6)
    # Its bound after a step is that of the labels before, so the step before has to be known.
    before, after = (scikit_learn(OVERLAPPING, prior, TWO, n_steps) for n_steps in (2, 3))
    q = ConjugatePrior(
        before.weight_concentration_,
        before.means_,
        before.mean_precision_,
        before.degrees_of_freedom_,
        before.covariances_ * before.degrees_of_freedom_[:, None, None],
    )
    functions = Expected.under(StructuredPrior.of(q, UNCONSTRAINED)).log_quadratic
    bound = cheeseman_stutz(prior, functions, from_log_quadratic(OVERLAPPING, functions))
    assert bound < elbo(found) - 0.01
    assert model.lower_bound_ - after.lower_bound_ == pytest.approx(elbo(found) - bound, abs=1e-6)
