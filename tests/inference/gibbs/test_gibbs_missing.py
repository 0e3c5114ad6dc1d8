"""Gibbs with missing entries: exact on problems that can be enumerated."""

from typing import NamedTuple

import numpy as np
import pytest
from exact_enumeration import problems, sampled_quantities, worst, z_scores
from missing_enumeration import MissingExact, StructuredMissing

from bayes_gmm.data import Observations
from bayes_gmm.inference.gibbs.gibbs import sample
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import Structure

nan = np.nan
FEW_POINTS = 37  # for each of two entries; the grid is then wrong by 1e-4 at most
TOLD_APART = {p.name: p for p in problems()}["components told apart, plane"].prior
PLANE = np.array([[-1.2, -0.6], [0.1, 0.9], [1.4, 0.7], [0.6, -0.8], [2.0, 2.2]])
SPACE = np.array([[0.2, -1.0, 0.4], [1.1, 0.3, 1.5], [-0.7, 0.8, -0.2], [2.0, 1.6, 1.9]])


class Incomplete(NamedTuple):
    """Rows (N, D), nan where missing, how often each was seen, and a prior."""

    name: str
    x: np.ndarray
    prior: ConjugatePrior
    times: tuple[int, ...] | None = None

    @property
    def repeated(self) -> np.ndarray:
        return self.x if self.times is None else np.repeat(self.x, self.times, axis=0)


def holes(x: np.ndarray, *places: tuple[int, int]) -> np.ndarray:
    x = x.copy()
    x[tuple(np.transpose(places))] = nan
    return x


def prior_of(x: np.ndarray, n_components: int, *, told_apart: bool = True) -> ConjugatePrior:
    """About as wide as the rows, and different for every component if they are told apart."""
    place, n_features = np.arange(n_components) * told_apart, x.shape[1]
    turned = 0.3 * (np.ones((n_features, n_features)) - np.eye(n_features))
    return ConjugatePrior(
        0.8 + place,
        x.mean(axis=0) + x.std(axis=0) * (0.8 * place - 0.3)[:, None],
        0.3 + 0.5 * place,
        n_features + 2.5 + place,
        np.stack([(0.6 + 0.4 * k) * (np.eye(n_features) + turned) for k in place]),
    )


PROBLEMS = [
    Incomplete("K = 1", holes(PLANE, (1, 0)), prior_of(PLANE, 1)),
    Incomplete("K = 1, two rows", holes(PLANE, (1, 0), (2, 1)), prior_of(PLANE, 1)),
    Incomplete("K = 2", holes(PLANE, (1, 1)), TOLD_APART),
    Incomplete("K = 2, alike", holes(PLANE, (2, 0)), prior_of(PLANE, 2, told_apart=False)),
    Incomplete("K = 2, one pattern", holes(PLANE, (1, 1), (3, 1)), prior_of(PLANE, 2)),
    Incomplete("K = 2, two patterns", holes(PLANE, (1, 0), (2, 1)), prior_of(PLANE, 2)),
    Incomplete("K = 3", holes(PLANE, (3, 0)), prior_of(PLANE, 3)),
    Incomplete("D = 3", holes(SPACE, (1, 1)), prior_of(SPACE, 2)),
    Incomplete("D = 3, one row", holes(SPACE, (1, 0), (1, 2)), prior_of(SPACE, 2)),
    Incomplete("copies", holes(PLANE[:4], (1, 0)), prior_of(PLANE, 2), (1, 2, 1, 1)),
]
NAMES = [problem.name for problem in PROBLEMS]
STRUCTURED = [("EEE", PROBLEMS[7]), ("VVI", PROBLEMS[2])]


def draws_of(problem: Incomplete, code: str, n_draws: int, thin: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    prior = problem.prior
    observations = Observations.of(problem.x, spread=prior.spread, missing="mar")
    if problem.times is not None:
        observations = observations.weighted(np.array(problem.times, float))
    tree = sample(
        observations,
        prior,
        [prior.sample(rng) for _ in range(4)],
        structure=Structure.named(code, prior.n_features),
        draws=n_draws // 4,
        tune=100,
        cores=2,
        seed=13,
        thin=thin,
        progressbar=False,
    )
    return [tree["posterior"][name].to_numpy() for name in ("weights", "means", "covariances")]


def scores_of(problem: Incomplete, n_draws: int) -> tuple[float, str]:
    n_points = 91 if np.isnan(problem.repeated).sum() == 1 else FEW_POINTS
    exact = MissingExact(problem.repeated, problem.prior, n_points)
    draws = draws_of(problem, "VVV", n_draws)
    scores = z_scores(sampled_quantities(exact, *draws), exact)
    if problem.prior.n_components == 1:  # of one labelling it is no draw, and 1 but for the grid
        del scores["inverse_evidence"]
    return worst(scores)


@pytest.mark.parametrize("problem", PROBLEMS, ids=NAMES)
def test_the_posterior_is_that_of_all_labellings_and_completions(problem):
    score, what = scores_of(problem, 8000)
    assert score < 5, what


@pytest.mark.validate
@pytest.mark.parametrize("problem", PROBLEMS, ids=NAMES)
def test_100_000_draws_are_all_labellings_and_completions(problem):
    score, what = scores_of(problem, 100_000)
    assert score < 5, what


@pytest.mark.parametrize(("code", "problem"), STRUCTURED, ids=[code for code, _ in STRUCTURED])
def test_so_is_that_of_shared_and_diagonal_covariances(code, problem):
    exact = StructuredMissing(problem.x[:4], problem.prior, code, n_points=45)
    draws = draws_of(problem._replace(x=problem.x[:4]), code, 8000)
    for what, scores in exact.z_scores(*draws).items():
        assert np.abs(scores).max() < 5, what
