"""Observed information, held to finite differences and to closed forms of one normal."""

import numpy as np
import pytest
from curvature_truths import along, log_likelihood, moved, of_structure
from helpers import random_parameters, random_prior

from bayes_gmm.data import Observations
from bayes_gmm.data.streams import Stream
from bayes_gmm.kernels import scores
from bayes_gmm.kernels.scores import score_products
from bayes_gmm.model import mixture
from bayes_gmm.model.information import Curvature
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import CODES, DRAWN, Structure
from bayes_gmm.model.structures.local_coordinates import LocalCoordinates
from bayes_gmm.model.structures.prior import StructuredPrior

CASES = [
    *((code, 2, 2) for code in CODES),
    *((code, 3, 3) for code in ("VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VEI")),
    ("E", 2, 1),
    ("V", 3, 1),
    ("VVV", 1, 3),
]


def rows(n: int, n_features: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, n_features)) @ rng.normal(size=(n_features, n_features)) + 1.0


@pytest.mark.parametrize(("code", "n_components", "n_features"), CASES)
def test_curvature_of_the_objective_is_that_of_finite_differences(code, n_components, n_features):
    """At a point that is no optimum, where every term of the second derivatives counts."""
    rng = np.random.default_rng(3)
    x = rows(30, n_features)
    theta = of_structure(code, n_components, n_features)
    structure = Structure.of(code, n_features)
    prior = StructuredPrior.of(random_prior(rng, n_components, n_features), structure)
    with_prior = code[0] == "V" or code in DRAWN
    local = LocalCoordinates.at(theta, structure)
    counted = prior.counted if with_prior else None
    curvature = Curvature.of(local, score_products(Observations.of(x), local), counted)

    def objective(place: np.ndarray) -> float:
        there = moved(local, place)
        added = prior.log_density(there) if with_prior else 0.0
        return log_likelihood(x, there.weights, there.means, there.covariances) + added

    for _ in range(6):
        direction = rng.normal(size=local.n_coordinates)
        direction /= np.linalg.norm(direction)
        first, second = along(objective, direction, step=3e-3)
        ours = -direction @ curvature.observed @ direction
        size = np.linalg.norm(curvature.observed, 2)
        assert curvature.gradient @ direction == pytest.approx(first, abs=1e-7 * size, rel=1e-7)
        assert ours == pytest.approx(second, abs=1e-6 * size)


def test_information_with_labels_is_what_is_left_when_labels_are_certain():
    theta = Parameters([0.4, 0.6], [[-50.0, 0.0], [50.0, 0.0]], [np.eye(2), 2 * np.eye(2)])
    x, _ = mixture.sample(theta, 100, np.random.default_rng(1))
    local = LocalCoordinates.at(theta, Structure.of("VVV", 2))
    curvature = Curvature.of(local, score_products(Observations.of(x), local))
    np.testing.assert_allclose(curvature.observed, curvature.complete, atol=1e-9)


def test_scores_sum_to_the_gradient_and_their_squares_are_about_their_mean():
    rng = np.random.default_rng(0)
    x, theta = rows(50, 2), random_parameters(rng, 2, 2)
    local = LocalCoordinates.at(theta, Structure.of("VVV", 2))
    alone = [
        score_products(Observations(x[[i]], ("a", "b"), None, np.zeros(2), np.ones(2)), local)
        for i in range(50)
    ]
    single = np.array([products.total for products in alone])
    together = Curvature.of(local, score_products(Observations.of(x), local))
    np.testing.assert_allclose(together.gradient, single.sum(axis=0), atol=1e-9)
    spread = single - single.mean(axis=0)
    np.testing.assert_allclose(together.scores, spread.T @ spread, atol=1e-8)


def assert_same_sums(one: scores.ScoreProducts, other: scores.ScoreProducts) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max())


def test_row_weights_count_as_repetition():
    x, times = rows(40, 2), np.random.default_rng(2).integers(0, 4, 40)
    local = LocalCoordinates.at(
        random_parameters(np.random.default_rng(0), 2, 2), Structure.of("VVV", 2)
    )
    weighted = score_products(Observations.of(x).weighted(times), local)
    assert_same_sums(weighted, score_products(Observations.of(np.repeat(x, times, axis=0)), local))


def test_blocks_of_rows_and_streams_give_the_same_sums(monkeypatch):
    x = rows(400, 2)
    local = LocalCoordinates.at(
        random_parameters(np.random.default_rng(0), 2, 2), Structure.of("VVV", 2)
    )
    whole = score_products(Observations.of(x), local)
    monkeypatch.setattr(scores, "BLOCK_NUMBERS", 1)
    assert_same_sums(score_products(Observations.of(x), local), whole)
    streamed = Observations.of(lambda: iter([x[:150], x[150:]]))
    assert isinstance(streamed.values, Stream)
    assert_same_sums(score_products(streamed, local), whole)


def test_an_empty_component_has_no_share_of_any_row():
    x, unit = rows(40, 1), [[[1.0]], [[1.0]]]
    structure = Structure.of("V", 1)
    sums = score_products(
        Observations.of(x),
        LocalCoordinates.at(Parameters([1.0, 0.0], [[0.0], [3.0]], unit), structure),
    )
    np.testing.assert_allclose(sums.counts, [40, 0])
