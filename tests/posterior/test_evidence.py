"""The evidence is the sum over all labellings, whatever the prior, structure, rows and engine."""

from itertools import product

import numpy as np
import pytest
from exact_enumeration import enumerate_posterior, problems
from missing_enumeration import MissingExact
from scipy import stats
from scipy.special import gammaln, logsumexp
from structured_enumeration import StructuredExact

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.model.independent_prior import lkj_log_constant
from bayes_gmm.model.structures import DRAWN, UNCONSTRAINED
from bayes_gmm.posterior import evidence as evidence_module
from bayes_gmm.posterior.dispensable import borne_out
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.evidence import log_evidence, log_likelihood_at
from bayes_gmm.results.labels import read_prior
from bayes_gmm.results.reading import kept_observations, raw_draws, structure_of

PROBLEMS = {problem.name: problem for problem in problems()}
QUICK = ["overlapping, K = 3, sparse", "components told apart, plane", "corners with a tie, K = 2"]
TWELVE = [name for name, problem in PROBLEMS.items() if problem.prior.n_components > 1][:12]
CROWD = PROBLEMS["overlapping, K = 2"].x


def sampled(x, prior, **more):
    more = {"draws": 250, "seed": 3, "engine": "gibbs", "missing": "mar"} | more
    return bg.sample(x, prior.n_components, prior=prior, progressbar=False, **more)


def estimated(posterior, n_labellings=60, seed=4):
    log_likelihood = posterior["invariants"]["log_likelihood"].transpose("chain", "draw").to_numpy()
    return log_evidence(
        raw_draws(posterior),
        log_likelihood,
        kept_observations(posterior),
        read_prior(posterior),
        structure_of(posterior),
        n_labellings=n_labellings,
        seed=seed,
    )


def require(found, exact, largest=0.02):
    assert found.standard_error < largest
    # With one component the proposal is the posterior, and only rounding is left.
    assert abs(found.log_evidence - exact) < 4 * found.standard_error + 1e-9


@pytest.mark.parametrize("name", QUICK)
def test_the_evidence_is_the_sum_over_all_labellings(name):
    x, prior = PROBLEMS[name].x, PROBLEMS[name].prior
    require(estimated(sampled(x, prior)), enumerate_posterior(x, prior).log_evidence)


@pytest.mark.validate
@pytest.mark.parametrize("engine", ["gibbs", "nuts"])
@pytest.mark.parametrize("name", TWELVE)
def test_twelve_problems_by_two_engines(name, engine):
    x, prior = PROBLEMS[name].x, PROBLEMS[name].prior
    posterior = sampled(x, prior, engine=engine, draws=1000)
    require(estimated(posterior, 200), enumerate_posterior(x, prior).log_evidence)


@pytest.mark.parametrize("name", ["one component, 1-D", "one component, 2-D"])
def test_one_component_has_its_evidence_exactly(name):
    """The complete-data density is the posterior, so that all ratios are the same."""
    x, prior = PROBLEMS[name].x, PROBLEMS[name].prior
    found = estimated(sampled(x, prior, draws=50), 5)
    assert found.log_evidence == pytest.approx(enumerate_posterior(x, prior).log_evidence, abs=1e-9)
    assert found.standard_error < 1e-6


@pytest.mark.parametrize("code", [code for code in DRAWN if code != "VVV"])
def test_every_structure_that_is_drawn_has_its_evidence(code):
    problem = PROBLEMS["components told apart, plane"]
    x = problem.x[:5]
    exact = StructuredExact(x, problem.prior, code).log_evidence
    require(estimated(sampled(x, problem.prior, covariance=code)), exact, 0.04)


def test_a_row_weight_is_so_many_rows():
    prior, times = PROBLEMS["overlapping, K = 2"].prior, np.array([2.0, 3.0, 1.0, 0.0])
    exact = enumerate_posterior(np.repeat(CROWD[:4], times.astype(int), axis=0), prior)
    require(estimated(sampled(CROWD[:4], prior, row_weights=times)), exact.log_evidence)


def test_weights_that_are_no_whole_numbers_are_powers_of_the_likelihood():
    """With one component in closed form: sums of weights in the place of counts."""
    prior, times = PROBLEMS["one component, 1-D"].prior, np.linspace(0.3, 1.9, 9)
    posterior = sampled(CROWD, prior, row_weights=times, engine="nuts")
    d = CROWD[:, 0] - prior.mean[0, 0]
    kappa, nu = prior.mean_precision[0] + times.sum(), prior.degrees_of_freedom[0]
    scale = prior.scale[0, 0, 0]
    after = scale + times @ d**2 - (times @ d) ** 2 / kappa
    exact = -0.5 * times.sum() * np.log(np.pi) + 0.5 * np.log(prior.mean_precision[0] / kappa)
    exact += gammaln(0.5 * (nu + times.sum())) - gammaln(0.5 * nu)
    exact += 0.5 * nu * np.log(scale) - 0.5 * (nu + times.sum()) * np.log(after)
    require(estimated(posterior), exact)


def test_missing_entries_are_integrated_out():
    prior = PROBLEMS["components told apart, plane"].prior
    x = np.array([[-1.2, -0.6], [0.1, 0.9], [1.4, np.nan], [0.6, -0.8], [np.nan, 0.4]])
    exact = MissingExact(x, prior, 45).log_evidence
    require(estimated(sampled(x, prior)), exact, 0.04)


def test_one_order_of_the_components_has_all_of_the_integral(monkeypatch):
    monkeypatch.setattr(evidence_module, "MOST", 1)
    for name in QUICK[::2]:
        x, prior = PROBLEMS[name].x, PROBLEMS[name].prior
        exact = enumerate_posterior(x, prior).log_evidence
        require(estimated(sampled(x, prior)), exact, 0.06)


def test_other_units_change_the_evidence_by_the_density_of_the_rows_alone():
    prior, shift, scale = PROBLEMS["overlapping, K = 2"].prior, np.array([7.0]), np.array([1e-3])
    here = estimated(sampled(CROWD, prior))
    there = estimated(sampled(shift + scale * CROWD, prior.rescale(shift, scale)))
    change = -len(CROWD) * np.log(1e-3)
    assert there.log_evidence - here.log_evidence == pytest.approx(change, abs=1e-6)
    assert there.standard_error == pytest.approx(here.standard_error, rel=1e-4)


def test_the_seed_fixes_the_estimate():
    posterior = sampled(CROWD, PROBLEMS["overlapping, K = 2"].prior, draws=60)
    one, same, other = (estimated(posterior, 10, seed) for seed in (1, 1, 2))
    assert one == same
    assert one.log_evidence != other.log_evidence


def test_the_veto_of_diagnose_knows_the_ratio_of_two_evidences():
    """Nobile's identity and bridge sampling: p(x | K) / p(x | K - 1) under the same prior."""
    x = PROBLEMS["separated, K = 3"].x
    priors = [PROBLEMS["separated, K = 2"].prior, PROBLEMS["separated, K = 3"].prior]
    two, three = (enumerate_posterior(x, prior).log_evidence for prior in priors)
    posterior = sampled(x, priors[1], draws=1000)
    draws = raw_draws(posterior)
    heights = posterior["invariants"]["log_likelihood"].transpose("chain", "draw").to_numpy()
    ratio = np.exp(three - two)
    assert borne_out(draws, heights, 1.0, x, 0.8 * ratio)
    assert not borne_out(draws, heights, 1.0, x, 1.25 * ratio)


# Other priors of one feature: exact draws and evidence by enumeration and quadrature.

X = np.array([-1.1, -0.8, 0.9, 1.6])
M, S = 0.2, 2.0
MEANS, LOG_VARIANCES = np.linspace(-9, 9, 361), np.linspace(-9, 9, 241)
STEP = (MEANS[1] - MEANS[0]) * (LOG_VARIANCES[1] - LOG_VARIANCES[0])


def of_sets(log_prior_of_log_variance):
    """Log joint density of each set of rows and a component's mean and log variance, on a grid."""
    log_prior = stats.norm(M, S).logpdf(MEANS)[:, None] + log_prior_of_log_variance
    sd = np.exp(0.5 * LOG_VARIANCES)
    of_rows = [stats.norm(MEANS[:, None], sd).logpdf(row) for row in X]
    return {
        held: log_prior + sum(row for row, is_in in zip(of_rows, held, strict=True) if is_in)
        for held in product([False, True], repeat=len(X))
    }


class ByQuadrature:
    """Two components, each of which has its prior given `scales`, which have log weights."""

    def __init__(self, densities, log_weights):
        self.grids = [of_sets(density) for density in densities]
        labellings = np.array(list(product([0, 1], repeat=len(X))))
        count = np.stack([(labellings == k).sum(axis=1) for k in (0, 1)], axis=1)
        # Dirichlet(1, 1): p(z) = n_0! n_1! / (N + 1)!
        log_labels = gammaln(count + 1).sum(axis=1) - gammaln(len(X) + 2)
        log_joint = np.empty((len(self.grids), len(labellings)))
        for place, grids in enumerate(self.grids):
            mass = {held: logsumexp(grid) + np.log(STEP) for held, grid in grids.items()}
            log_joint[place] = log_weights[place] + log_labels
            log_joint[place] += [sum(mass[tuple(z == k)] for k in (0, 1)) for z in labellings]
        self.log_evidence = float(logsumexp(log_joint))
        self.labellings, self.chance = labellings, np.exp(log_joint - self.log_evidence)

    def draws(self, rng, n_chains=2, n_draws=1000):
        n = n_chains * n_draws
        drawn = rng.choice(self.chance.size, n, p=self.chance.ravel() / self.chance.sum())
        place, z = np.unravel_index(drawn, self.chance.shape)
        means, variances, weights = np.empty((n, 2)), np.empty((n, 2)), np.empty((n, 2))
        jitter = rng.uniform(-0.5, 0.5, (n, 2, 2)) * [np.diff(MEANS)[0], np.diff(LOG_VARIANCES)[0]]
        for s in range(n):
            labels = self.labellings[z[s]]
            weights[s] = rng.dirichlet(1 + np.bincount(labels, minlength=2))
            for k in (0, 1):
                share = np.exp(self.grids[place[s]][tuple(labels == k)])
                cell = np.searchsorted(share.cumsum() / share.sum(), rng.random())
                i, j = np.unravel_index(cell, share.shape)
                means[s, k] = MEANS[i] + jitter[s, k, 0]
                variances[s, k] = np.exp(LOG_VARIANCES[j] + jitter[s, k, 1])
        shape = n_chains, n_draws, 2
        return Draws(
            weights.reshape(shape),
            means.reshape(*shape, 1),
            variances.reshape(*shape, 1, 1),
        )


def of_family(name):
    """A prior, and its enumeration."""
    variance = np.exp(LOG_VARIANCES)
    if name == "independent":
        prior = bg.IndependentPrior([1.0, 1.0], [M], S, 0.8, 0.6)
        assert lkj_log_constant(2.0, 1) == 0
        # log sigma^2 = 2 log sigma
        density = stats.norm(2 * np.log(0.8), 1.2).logpdf(LOG_VARIANCES)
        return prior, ByQuadrature([density], [0.0])
    if name == "semiconjugate":
        prior = bg.SemiconjugatePrior([1.0, 1.0], [M], S, 5.0, [[2.0]])
        density = stats.invgamma(2.5, scale=1.0).logpdf(variance) + LOG_VARIANCES
        return prior, ByQuadrature([density], [0.0])
    prior = bg.HierarchicalPrior([1.0, 1.0], [M], S, 5.0, 3.0, [[0.7]])
    log_scales = np.linspace(-4, 4, 25)
    log_weights = stats.gamma(1.5, scale=1.4).logpdf(np.exp(log_scales)) + log_scales
    densities = [
        stats.invgamma(2.5, scale=0.5 * np.exp(one)).logpdf(variance) + LOG_VARIANCES
        for one in log_scales
    ]
    return prior, ByQuadrature(densities, log_weights + np.log(log_scales[1] - log_scales[0]))


@pytest.mark.parametrize("name", ["independent", "hierarchical", "semiconjugate"])
def test_priors_with_independent_means_have_their_evidence(name):
    prior, exact = of_family(name)
    draws = exact.draws(np.random.default_rng(5))
    observations = Observations.of(X[:, None])
    heights = np.array([log_likelihood_at(one, observations) for one in draws.thinned(10**6)])
    found = log_evidence(
        draws,
        heights.reshape(2, -1),
        observations,
        prior,
        UNCONSTRAINED,
        n_labellings=60,
        seed=6,
    )
    require(found, exact.log_evidence)


# The galaxy data as in Chib (1995) and Neal (1999): IG(3, 20) variances, N(20, 100) means.


def galaxies(n_components):
    prior = bg.SemiconjugatePrior(np.ones(n_components), [20.0], 10.0, 6.0, [[40.0]])
    return np.asarray(bg.datasets.load("galaxies"), dtype=float), prior


def test_one_galaxy_component_has_the_evidence_of_quadrature():
    """Draws by the two conditionals in turn, as no label is unknown."""
    x, prior = galaxies(1)
    assert (len(x), np.sort(x.ravel())[77]) == (82, 26.960)  # row 78 as in Richardson & Green
    rng, n = np.random.default_rng(7), len(x)
    means, variances = np.empty((2, 1000)), np.empty((2, 1000))
    for chain in range(2):
        mean = 20.0
        for draw in range(1000):
            variance = (20 + 0.5 * ((x - mean) ** 2).sum()) / rng.gamma(3 + 0.5 * n)
            precision = 1 / 100 + n / variance
            mean = (20 / 100 + x.sum() / variance) / precision + rng.normal() / np.sqrt(precision)
            means[chain, draw], variances[chain, draw] = mean, variance
    shape = 2, 1000, 1
    draws = Draws(np.ones(shape), means.reshape(*shape, 1), variances.reshape(*shape, 1, 1))
    observations = Observations.of(x)
    heights = np.array([log_likelihood_at(one, observations) for one in draws.thinned(2000)])
    found = log_evidence(
        draws,
        heights.reshape(2, -1),
        observations,
        prior,
        UNCONSTRAINED,
        n_labellings=200,
        seed=8,
    )
    require(found, -246.106150, 0.005)


@pytest.mark.validate
def test_three_galaxy_components_have_the_evidence_of_neal():
    """-226.79, which corrected Chib's figure."""
    x, prior = galaxies(3)
    posterior = bg.sample(x, 3, prior=prior, seed=1, progressbar=False)
    found = estimated(posterior, 200)
    assert found.standard_error < 0.02
    assert found.log_evidence == pytest.approx(-226.79, abs=0.02 + 3 * found.standard_error)


@pytest.mark.validate
def test_the_standard_error_is_the_spread_over_runs():
    """Three components on two clusters, so that one overlaps or is empty."""
    x = bg.datasets.load("faithful")
    found = [
        estimated(bg.sample(x, 3, draws=250, seed=seed, progressbar=False), 50, seed)
        for seed in range(40)
    ]
    estimates, errors = (np.array([one[place] for one in found]) for place in (0, 1))
    z = (estimates - np.average(estimates, weights=errors**-2)) / errors
    assert 0.65 < z.std(ddof=1) < 1.4
