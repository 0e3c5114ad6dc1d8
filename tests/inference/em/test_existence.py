"""What has no estimate is refused before any start, by what is wrong with it."""

import numpy as np
import pytest
from helpers import refuses

from bayes_gmm.inference.em.existence import require_components, require_spread
from bayes_gmm.model.default_moments import dependent

NAMES = ("a", "b", "c", "d")


def test_too_many_components_are_refused():
    require_components(3, 4, 3)
    with refuses("n_components is 4", "3 distinct rows"):
        require_components(4, 4, 3)
    with refuses("n_components is 5", "4 rows"):
        require_components(5, 4, 3)


def covariance_of(x):
    return np.cov(x.T, ddof=0)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_only_the_columns_that_determine_each_other_are_named(scale):
    x = np.random.default_rng(1).normal(size=(30, 4))
    assert dependent(covariance_of(x)) == []
    x[:, 3] = scale * (x[:, 0] - 2 * x[:, 2])
    assert dependent(covariance_of(x)) == [0, 2, 3]
    with refuses("(a, c, d)", "drop one"):
        require_spread(covariance_of(x), NAMES, 30, 30)
    x[:, 1] = 3 * x[:, 0]  # a second relation: the first that is met is named
    assert dependent(covariance_of(x)) == [0, 1]


@pytest.mark.parametrize(("n_rows", "n_distinct"), [(4, 4), (300, 3)])
def test_rows_that_are_too_few_are_said_as_such(n_rows, n_distinct):
    x = np.random.default_rng(2).normal(size=(n_distinct, 4))
    with refuses(f"{n_rows} rows", "4 features", "EII to VVI"):
        require_spread(covariance_of(x), NAMES, n_rows, n_distinct)
