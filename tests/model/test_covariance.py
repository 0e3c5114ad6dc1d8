"""Each structure's M-step is the minimum that a general optimizer finds over that structure."""

import numpy as np
import pytest
from helpers import covariances_from_free, random_covariances
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from bayes_gmm.errors import InputError
from bayes_gmm.model.structures import ALIASES, CODES, Structure

# Celeux & Govaert (1995), Table 1, without the weights and means; K = 3, D = 4.
TABLE_1 = {
    "EII": 1,
    "VII": 3,
    "EEI": 4,
    "VEI": 6,
    "EVI": 10,
    "VVI": 12,
    "EEE": 10,
    "VEE": 12,
    "EVE": 16,
    "VVE": 18,
    "EEV": 22,
    "VEV": 24,
    "EVV": 28,
    "VVV": 30,
}


def objective(covariances: np.ndarray, scatter: np.ndarray, weight: np.ndarray) -> float:
    """What the M-step minimizes."""
    log_det = np.linalg.slogdet(covariances)[1]
    return float(weight @ log_det + np.trace(scatter @ np.linalg.inv(covariances), 0, 1, 2).sum())


@pytest.mark.parametrize("code", CODES)
def test_the_m_step_is_the_minimum_over_the_structure(code):
    n_components, n_features = 2, 3
    rng = np.random.default_rng(CODES.index(code))
    structure = Structure.of(code, n_features)
    weight = rng.uniform(5, 30, n_components)
    scatter = random_covariances(rng, n_components, n_features) * weight[:, None, None]
    n_free = structure.n_parameters(n_components, n_features)

    def cost(free):
        return objective(
            covariances_from_free(structure, free, n_components, n_features), scatter, weight
        )

    found = min(minimize(cost, 0.5 * rng.normal(size=n_free)).fun for _ in range(4))
    ours = objective(structure.covariances(scatter, weight, scatter), scatter, weight)
    # not above the optimizer's minimum, and not below it either: then it would leave the structure
    assert ours == pytest.approx(found, rel=1e-8)


@pytest.mark.parametrize("code", CODES)
def test_the_number_of_free_parameters_is_that_of_the_literature(code):
    assert Structure.of(code, 4).n_parameters(3, 4) == TABLE_1[code]


@pytest.mark.parametrize("code", CODES)
def test_changing_units_per_feature_commutes_with_the_structures_that_say_so(code):
    rng = np.random.default_rng(5)
    structure = Structure.of(code, 3)
    scatter, weight = random_covariances(rng, 4, 3), rng.uniform(5, 20, 4)
    units = np.outer([1, 10, 0.1], [1, 10, 0.1])
    before = structure.covariances(scatter, weight, scatter) * units
    after = structure.covariances(scatter * units, weight, scatter * units)
    assert np.allclose(before, after, rtol=1e-6) == structure.is_equivariant


def test_one_feature_has_two_structures():
    assert Structure.of("E", 1) == Structure.of("EEV", 1) == Structure.of("EII", 2)
    assert Structure.of("V", 1) == Structure.of("full", 1) == Structure.of("VII", 2)
    with pytest.raises(InputError, match="covariance is 'E'; choose one of"):
        Structure.of("E", 2)


@pytest.mark.parametrize(("alias", "code"), ALIASES.items())
def test_aliases(alias, code):
    assert Structure.of(alias, 2).name == code


def test_an_inner_iteration_may_set_out_anywhere():
    rng = np.random.default_rng(8)
    scatter, weight = random_covariances(rng, 3, 4), rng.uniform(5, 20, 3)
    for code in ("VEI", "VEE", "EVE", "VVE", "VEV"):
        structure = Structure.of(code, 4)
        values = [
            objective(
                structure.covariances(scatter, weight, random_covariances(rng, 3, 4)),
                scatter,
                weight,
            )
            for _ in range(5)
        ]
        assert np.ptp(values) < 1e-6, code


@pytest.mark.parametrize("code", ["EEV", "VEV", "EVV", "EVE", "VVE", "VEE"])
def test_one_component_keeps_its_covariance_to_the_last_digits_in_any_units(code):
    rng = np.random.default_rng(9)
    units = np.array([1e-6, 1e6, 1.0, 1e3])
    scatter, weight = random_covariances(rng, 1, 4) * np.outer(units, units), np.array([7.0])
    found = Structure.of(code, 4).covariances(scatter, weight, scatter)
    np.testing.assert_allclose(
        found[0] / np.outer(units, units),
        scatter[0] / 7 / np.outer(units, units),
        rtol=1e-10,
        atol=1e-12,
    )


def test_components_that_share_a_shape_share_it_in_the_order_of_their_eigenvalues():
    """Features that differ much in spread change the method, and not the minimum."""
    rng = np.random.default_rng(10)
    shapes, turns = [100.0, 1e-2, 1.0], Rotation.random(2, random_state=1).as_matrix()
    scatter = (turns * shapes) @ turns.swapaxes(1, 2)
    scatter[1] = np.diag(shapes)  # graded, so that this one's axes are found by rotations
    weight = rng.uniform(5, 30, 2)
    scatter *= weight[:, None, None]
    found = Structure.of("EEV", 3).covariances(scatter, weight, scatter)
    np.testing.assert_allclose(found, scatter / weight[:, None, None], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("code", ["EVE", "VVE"])
def test_an_inner_iteration_never_ends_above_where_it_set_out(code):
    """It finds the axes of the previous covariances again, whatever they are, and goes on there."""
    rng = np.random.default_rng(11)
    structure = Structure.of(code, 4)
    for _ in range(50):
        axes = np.linalg.qr(rng.normal(size=(4, 4)))[0]
        variances = 10 ** rng.uniform(-5, 0, (3, 4))
        if code == "EVE":
            variances /= np.exp(np.log(variances).mean(axis=1, keepdims=True))
        previous = (axes * variances[:, None, :]) @ axes.T
        weight = rng.uniform(5, 20, 3)
        scatter = previous * weight[:, None, None]
        scatter += 10 ** rng.uniform(-9, 0) * random_covariances(rng, 3, 4)
        before = objective(previous, scatter, weight)
        after = objective(structure.covariances(scatter, weight, previous), scatter, weight)
        assert after <= before + 1e-9 * abs(before)


@pytest.mark.parametrize("code", ["EVE", "VVE"])
def test_a_scatter_without_spread_in_some_direction_is_left_as_it_is(code):
    rng = np.random.default_rng(12)
    scatter, weight = random_covariances(rng, 3, 3), rng.uniform(5, 20, 3)
    scatter[1] = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    found = Structure.of(code, 3).covariances(scatter, weight, scatter)
    np.testing.assert_allclose(found[1], scatter[1] / weight[1])
