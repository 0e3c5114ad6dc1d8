"""EM only climbs: the objective, measured apart from the loop, never falls, on data made nasty.

34 families of cases (17 structures, with and without prior) of 32 cases each: 1088 in all. And 10
families with entries missing, of which the objective is that of the observed entries: 320 cases.
"""

from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
from helpers import random_prior
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from threadpoolctl import threadpool_limits

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.inference.em import em
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.kernels.log_rho import FEW_FEATURES
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.kernels.runs import State
from bayes_gmm.model import mixture
from bayes_gmm.model.missing import log_rho
from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import CODES, Structure
from bayes_gmm.model.structures.prior import within

CASES = 32
MOST_STEPS = 30
TOLERANCE = 1e-9
EPSILON = np.finfo(float).eps


class Nastiness(NamedTuple):
    """What is wrong with the data, and how they are fitted."""

    seed: int
    n_features: int
    n_components: int
    n_rows: int
    apart: float  # how far the clusters lie from each other, in their own size
    uneven: float  # 0: clusters of one size; 1: nearly all rows in one
    sizes: float  # decades over which the clusters' spread varies
    heavy_tails: bool
    ties: bool
    repeats: bool
    collinear: float  # decades by which one direction is thinner than the others; 0 for none
    units: float  # decades over which the columns' units vary
    offset: float  # decades of mean / sd
    from_clusters: bool  # the start: the true labels, or random shares
    default_prior: bool
    equal_weights: bool
    accelerate: bool


def nastiness(n_features: st.SearchStrategy[int]) -> st.SearchStrategy[Nastiness]:
    return st.builds(
        Nastiness,
        seed=st.integers(0, 2**32 - 1),
        n_features=n_features,
        n_components=st.integers(1, 6),
        n_rows=st.integers(8, 60),
        apart=st.sampled_from([0.0, 0.5, 2.0, 10.0, 1e3]),
        uneven=st.sampled_from([0.0, 0.5, 0.95]),
        sizes=st.sampled_from([0.0, 1.0, 3.0]),
        heavy_tails=st.booleans(),
        ties=st.booleans(),
        repeats=st.booleans(),
        collinear=st.sampled_from([0.0, 0.0, 2.0, 4.0]),
        units=st.sampled_from([0.0, 0.0, 2.0, 6.0]),
        offset=st.sampled_from([0.0, 0.0, 3.0, 8.0]),
        from_clusters=st.booleans(),
        default_prior=st.booleans(),
        equal_weights=st.booleans(),
        accelerate=st.sampled_from([True, True, False]),
    )


def make(case: Nastiness, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and the cluster that each comes from."""
    k, d = case.n_components, case.n_features
    shares = np.full(k, (1 - case.uneven) / k)
    shares[0] += case.uneven
    z = rng.choice(k, case.n_rows, p=shares)
    spread = 10 ** rng.uniform(-case.sizes, 0, k)[z]
    if case.heavy_tails:
        spread = spread / np.sqrt(rng.chisquare(1.5, case.n_rows))
    x = case.apart * rng.normal(size=(k, d))[z] + spread[:, None] * rng.normal(
        size=(case.n_rows, d)
    )
    if case.ties:
        x = np.round(2 * x) / 2
    if case.repeats:
        x[: case.n_rows // 3] = x[-(case.n_rows // 3) :]
        z[: case.n_rows // 3] = z[-(case.n_rows // 3) :]
    if d > 1 and case.collinear:
        noise = 10**-case.collinear * x.std() * rng.normal(size=case.n_rows)
        x[:, -1] = x[:, :-1] @ rng.normal(size=d - 1) + noise
    x = x * 10 ** rng.uniform(-case.units, case.units, d)
    return x + 10**case.offset * x.std(axis=0), z


def start(
    case: Nastiness, y: np.ndarray, z: np.ndarray, rng: np.random.Generator
) -> SufficientStatistics:
    k, d = case.n_components, case.n_features
    shares = np.eye(k)[z] if case.from_clusters else rng.dirichlet(np.ones(k), len(y))
    means = y[rng.choice(len(y), k)]
    own = SufficientStatistics.of(y, shares, means, 0.0)
    # A row's worth of helpers, so that no component begins empty.
    return SufficientStatistics(
        0.0, own.count + 1, own.first, own.second + 0.1 * np.eye(d), own.center
    )


class Path(NamedTuple):
    """The states that a run of EM went through, and the objectives that it says they have."""

    states: list[State]
    told: list[float]


def path(expect, rule, candidate, accelerate) -> Path:
    seen: dict[float, State] = {}
    evaluate = em.evaluate

    def remembered(*arguments):
        state = evaluate(*arguments)
        seen[state.objective] = state
        return state

    with patch.object(em, "evaluate", remembered):
        run = em.run(expect, rule, candidate, max_iter=MOST_STEPS, tol=1e-12, accelerate=accelerate)
    return Path([seen[objective] for objective in run.objectives], run.objectives)


def rounding(covariances: np.ndarray) -> float:
    """How far one rounding of a covariance moves its log-determinant, on the way to a pole."""
    sd = np.sqrt(np.einsum("kii->ki", covariances))
    lowest = np.linalg.eigvalsh(covariances / (sd[:, :, None] * sd[:, None, :])).min()
    return EPSILON / max(lowest, EPSILON)


def without_some(x: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Rows with a share of their entries missing, but no row and no column without any."""
    lacking = rng.random(x.shape) < share
    lacking[lacking.all(axis=1), 0] = False
    lacking[:2] = False
    return np.where(lacking, np.nan, x)


def run_em(code: str, with_prior: bool, case: Nastiness, share_missing: float = 0.0) -> None:
    rng = np.random.default_rng(case.seed)
    x, z = make(case, rng)
    structure = Structure.of(code, case.n_features)
    incomplete = without_some(x, share_missing, rng) if share_missing else x
    try:
        observations = structure.standardized(Observations.of(incomplete, missing="mar"))
        y = (x - observations.origin) / observations.scale
        covariance = np.cov(y.T, ddof=0).reshape(2 * (case.n_features,))
        floor = np.diagonal(cholesky(covariance)) ** 2
    except InputError:
        assume(False)  # a constant column, or columns that determine each other
    prior = ConjugatePrior.flat(case.n_components, case.n_features)
    if with_prior and case.default_prior:
        prior = ConjugatePrior.from_moments(
            np.zeros(case.n_features), covariance, case.n_components
        )
    elif with_prior:
        prior = random_prior(rng, case.n_components, case.n_features)
    rule = Rule(prior, structure, floor, equal_weights=case.equal_weights)
    begin = start(case, y, z, rng)
    candidate = rule.maximize(begin, begin.second)
    assume(candidate.lost < 0)
    expect = expectation(observations, structure)
    states, told = path(expect, rule, candidate, case.accelerate)
    assume(len(states) > 1)
    found = [state.candidate.parameters for state in states]
    tolerance = np.maximum(TOLERANCE, [rounding(p.covariances) for p in found])
    assume(tolerance[1] == TOLERANCE)
    seen = (incomplete - observations.origin) / observations.scale
    log_densities = np.array(
        [logsumexp(log_rho(p.log_quadratic(), seen), axis=1) for p in found]
        if share_missing
        else [mixture.marginal_log_density(y, p) for p in found]
    )
    own = within(prior, structure)
    log_priors = np.array([own.log_density(p) for p in found])
    measured = log_densities.sum(axis=1) + log_priors
    size = np.abs(log_densities).sum(axis=1) + np.abs(log_priors)
    fallen = (measured[:-1] - measured[1:]) / size[1:]
    assert (fallen <= tolerance[1:]).all(), fallen
    assert (np.abs(measured - told) <= tolerance * size).all(), measured - told
    if case.equal_weights:
        assert all((p.weights == 1 / case.n_components).all() for p in found)


STRUCTURES = [(code, st.integers(2, 5)) for code in CODES] + [(code, st.just(1)) for code in "EV"]
STRUCTURES += [("EEE", st.just(FEW_FEATURES + 1))]  # which has a pass of its own


WITH_GAPS = [("VVV", st.integers(2, 5)), ("EEE", st.integers(2, 4)), ("VVI", st.integers(2, 4))]
WITH_GAPS += [("EVE", st.just(3)), ("EEV", st.integers(2, 3))]


def every_case(code, n_features, with_prior, share_missing):
    """Climb in as many cases as a family has."""
    climbed = 0

    @settings(
        max_examples=CASES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # a case is a seed and a few flags: there is little to shrink
        suppress_health_check=list(HealthCheck),
    )
    @given(nastiness(n_features), share_missing)
    def every(case, share):
        nonlocal climbed
        run_em(code, with_prior, case, share)
        climbed += 1

    with threadpool_limits(1):  # matrices this small are not worth a second thread
        every()
    assert climbed >= CASES


@pytest.mark.parametrize("with_prior", [False, True])
@pytest.mark.parametrize(("code", "n_features"), STRUCTURES, ids=[code for code, _ in STRUCTURES])
def test_the_objective_never_falls(code, n_features, with_prior):
    every_case(code, n_features, with_prior, st.just(0.0))


@pytest.mark.parametrize("with_prior", [False, True])
@pytest.mark.parametrize(("code", "n_features"), WITH_GAPS, ids=[code for code, _ in WITH_GAPS])
def test_nor_does_it_with_entries_missing(code, n_features, with_prior):
    every_case(code, n_features, with_prior, st.sampled_from([0.05, 0.2, 0.5]))
