"""There are as many local coordinates as free parameters, and none leads out of the structure."""

import numpy as np
import pytest
from curvature_truths import jacobian, moved, of_structure

from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import CODES, Structure
from bayes_gmm.model.structures.local_coordinates import LocalCoordinates

CASES = [
    *((code, k, d) for code in CODES for k, d in ((1, 2), (2, 3), (3, 2))),
    ("E", 2, 1),
    ("V", 3, 1),
]


@pytest.mark.parametrize(("code", "n_components", "n_features"), CASES)
def test_there_are_as_many_coordinates_as_parameters_and_they_stay_in_the_structure(
    code, n_components, n_features
):
    structure = Structure.of(code, n_features)
    theta = of_structure(code, n_components, n_features)
    local = LocalCoordinates.at(theta, structure)
    free = n_components - 1 + n_components * n_features
    assert local.n_coordinates == free + structure.n_parameters(n_components, n_features)
    rng = np.random.default_rng(1)
    there = moved(local, 0.3 * rng.normal(size=local.n_coordinates))
    # Covariances of the structure are their own best approximation in it.
    scatter = there.covariances * there.weights[:, None, None]
    again = structure.covariances(scatter, there.weights, there.covariances)
    np.testing.assert_allclose(again, there.covariances, rtol=1e-6, atol=1e-6)
    assert not np.allclose(there.covariances, theta.covariances, rtol=1e-3)


@pytest.mark.parametrize(("code", "n_components", "n_features"), CASES)
def test_derivatives_of_the_parameters_are_those_of_finite_differences(
    code, n_components, n_features
):
    local = LocalCoordinates.at(
        of_structure(code, n_components, n_features), Structure.of(code, n_features)
    )
    size = local.n_coordinates
    for position, name in enumerate(("weights", "means", "covariances")):
        expected = jacobian(
            lambda y, name=name: getattr(moved(local, y), name), np.zeros(size), np.full(size, 1e-3)
        )
        for k in range(n_components):
            ours = np.zeros(expected[k].shape)
            ours[..., local.places(k)] = local.jacobian(k)[position]
            scale = np.abs(expected[k]).max()
            np.testing.assert_allclose(ours, expected[k], atol=1e-9 * scale)


@pytest.mark.parametrize("code", CODES)
def test_the_roots_are_roots_and_whiten(code):
    theta = of_structure(code, 3, 4)
    local = LocalCoordinates.at(theta, Structure.of(code, 4))
    np.testing.assert_allclose(local.root @ local.root.swapaxes(1, 2), theta.covariances, atol=1e-9)
    np.testing.assert_allclose(local.whitener @ local.root, [np.eye(4)] * 3, atol=1e-9)


def test_a_round_covariance_is_no_obstacle_where_nothing_is_shared():
    local = LocalCoordinates.at(
        Parameters([1.0], [[0.0, 0.0]], [np.eye(2)]), Structure.of("VVV", 2)
    )
    assert np.linalg.matrix_rank(local.score_map(0)[3:, 2:]) == 3
