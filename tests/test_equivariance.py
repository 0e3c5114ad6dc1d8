"""A fit follows a change of units and origin, and knows neither the order of rows nor threads."""

from functools import cache
from unittest.mock import patch

import numpy as np
import pytest
from helpers import assert_same_mixture

from bayes_gmm import datasets
from bayes_gmm.data import Observations
from bayes_gmm.inference.em import point, problem
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import CODES, Structure

IRIS = datasets.load("iris").to_numpy()
FAITHFUL = datasets.load("faithful").to_numpy()
WAITING = FAITHFUL[:, 1:]
# Feature by feature: diagonal matrices whose shapes are free or common, and conditions on whole
# matrices. A rotation, or a ratio of two features' variances, does not outlive a change of units.
BY_FEATURE = {"EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVV", "VVV"}
TOGETHER = set(CODES) - BY_FEATURE
EVERY = [(code, "iris") for code in CODES] + [("E", "waiting"), ("V", "waiting")]
# EM stops within 1e-10 nats of its limit, from which parameters may be as far as the square root of
# that over their information; sums in another order may end anywhere within.
ROUNDING = 1e-7
DATA = {"iris": (IRIS, 3), "waiting": (WAITING, 2)}

every_structure = pytest.mark.parametrize(("code", "name"), EVERY, ids=[code for code, _ in EVERY])
either_prior = pytest.mark.parametrize("with_prior", [False, True], ids=["MLE", "MAP"])


def fit(x: np.ndarray, n_components: int, code: str, with_prior: bool) -> Parameters:
    observations = Observations.of(x)
    prior = ConjugatePrior.default(observations, n_components) if with_prior else None
    structure = Structure.of(code, x.shape[1])
    found = point.estimate(observations, n_components, prior, structure, n_starts=3, seed=1)
    assert found.optimizer["converged"]
    return found.parameters


@cache
def fitted(name: str, code: str, with_prior: bool) -> Parameters:
    x, n_components = DATA[name]
    return fit(x, n_components, code, with_prior)


def labels(x: np.ndarray, parameters: Parameters) -> np.ndarray:
    return mixture.responsibilities(x, parameters).argmax(axis=1)


def require_the_same(name, code, with_prior, shift, scale) -> None:
    x, n_components = DATA[name]
    here = fitted(name, code, with_prior)
    moved = shift + scale * x
    there = fit(moved, n_components, code, with_prior)
    assert_same_mixture(there, here.rescale(shift, scale), rtol=1e-6)
    np.testing.assert_array_equal(labels(moved, there), labels(x, here))


@either_prior
@every_structure
@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_one_unit_for_all_features_changes_nothing(code, name, with_prior, factor):
    x, _ = DATA[name]
    require_the_same(name, code, with_prior, np.zeros(x.shape[1]), np.full(x.shape[1], factor))


@either_prior
@every_structure
def test_an_origin_far_away_changes_nothing(code, name, with_prior):
    x, _ = DATA[name]
    require_the_same(name, code, with_prior, 1e8 * x.std(axis=0), np.ones(x.shape[1]))


@either_prior
@pytest.mark.parametrize("code", sorted(BY_FEATURE))
def test_a_unit_for_each_feature_changes_nothing_where_the_structure_outlives_it(code, with_prior):
    require_the_same("iris", code, with_prior, np.zeros(4), np.array([1e-6, 1e6, 1.0, 1e3]))


@pytest.mark.parametrize("code", sorted(TOGETHER))
def test_a_unit_for_each_feature_makes_another_model_of_spheres_and_rotated_shapes(code):
    scale = np.array([1.0, 10.0, 1.0, 0.1])
    moved = fitted("iris", code, False).rescale(np.zeros(4), scale)
    elsewhere = fit(scale * IRIS, 3, code, False)
    worse, best = (mixture.log_likelihood(scale * IRIS, p) for p in (elsewhere, moved))
    assert abs(best - worse) > 1e-3


def test_the_structures_say_themselves_which_of_them_outlive_a_change_of_units():
    assert {code for code in CODES if Structure.of(code, 3).is_equivariant} == BY_FEATURE


@either_prior
@every_structure
def test_the_order_of_the_rows_changes_nothing(code, name, with_prior):
    x, n_components = DATA[name]
    order = np.random.default_rng(1).permutation(len(x))
    there = fit(x[order], n_components, code, with_prior)
    assert_same_mixture(there, fitted(name, code, with_prior), rtol=ROUNDING)


def in_blocks(threads):
    """The pass over blocks of 37 rows."""

    def expect(observations, structure, **options):
        return expectation(
            observations, structure, **options | {"threads": threads, "block_rows": 37}
        )

    return expect


@either_prior
@every_structure
def test_blocks_and_threads_change_nothing(code, name, with_prior):
    x, n_components = DATA[name]
    with patch.object(problem, "expectation", in_blocks(2)):
        there = fit(x, n_components, code, with_prior)
    assert_same_mixture(there, fitted(name, code, with_prior), rtol=ROUNDING)
    with patch.object(problem, "expectation", in_blocks(1)):
        alone = fit(x, n_components, code, with_prior)
    for ours, theirs in zip(vars(alone).values(), vars(there).values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
