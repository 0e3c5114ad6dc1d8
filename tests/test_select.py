"""select: every fit of a grid beside the others, against mclust's published figures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayes_gmm as bg
from bayes_gmm.errors import InputError
from bayes_gmm.model import mixture

REFERENCE = Path(__file__).parent / "reference"
QUICK = {"n_starts": 10, "progressbar": False, "seed": 0}


@pytest.fixture(scope="module")
def found():
    return bg.select(bg.datasets.load("iris"), [2, 3], covariance=["VEV", "VVV", "EEE"], **QUICK)


def test_the_best_is_the_smallest_criterion(found):
    assert found.best.attrs["covariance"] == "VEV"
    assert found.best.attrs["n_components"] == 2
    assert found.table["bic"].is_monotonic_increasing
    assert "VEV with 2 components" in str(found)
    assert "smaller is better" in str(found)


def test_the_criteria_are_their_formulas(found):
    frame = bg.datasets.load("iris")
    x, theta = frame.to_numpy(), bg.parameters(found.best)
    shares = mixture.responsibilities(x, theta)
    log_likelihood = mixture.log_likelihood(x, theta)
    entropy = -(shares * np.log(np.maximum(shares, 1e-300))).sum()
    n_parameters = 1 + 2 * 4 + 2 + 3 + 2 * 6  # weights, means, volumes, shape, orientations
    one = found.dataset.sel(covariance="VEV", n_components=2)
    assert int(one["n_parameters"]) == n_parameters
    bic = -2 * log_likelihood + n_parameters * np.log(len(x))
    assert float(one["bic"]) == pytest.approx(bic, rel=1e-10)
    assert float(one["aic"]) == pytest.approx(-2 * log_likelihood + 2 * n_parameters, rel=1e-10)
    assert float(one["icl"]) == pytest.approx(bic + 2 * entropy, rel=1e-8)


def test_a_fit_does_not_depend_on_the_rest_of_the_grid_nor_on_the_cores(found):
    alone = bg.select(bg.datasets.load("iris"), [3], covariance="VVV", cores=1, **QUICK)
    one, other = (
        float(s.dataset["log_likelihood"].sel(covariance="VVV", n_components=3))
        for s in (found, alone)
    )
    assert one == other


def test_a_fit_that_cannot_be_made_says_why():
    rows = np.concatenate([np.zeros((5, 1)), np.ones((5, 1)), [[2.0]]])
    found = bg.select(rows, [1, 3], **QUICK)
    failed = found.table[found.table["status"] != "ok"]
    assert len(failed) == 2
    assert failed["status"].str.contains("collapsed").all()
    assert "could not be made" in str(found)


def test_a_cell_is_the_fit_of_the_same_arguments(found):
    for code, size in (("VEV", 2), ("VVV", 3)):
        alone = bg.fit(bg.datasets.load("iris"), size, covariance=code, n_starts=10, seed=0)
        one = found.dataset.sel(covariance=code, n_components=size)
        assert float(one["log_likelihood"]) == float(alone["optimizer_result"]["log_likelihood"])
    best = bg.parameters(found.best)
    fitted = bg.parameters(
        bg.fit(bg.datasets.load("iris"), 2, covariance="VEV", n_starts=10, seed=0)
    )
    np.testing.assert_array_equal(best.means, fitted.means)


def test_what_cannot_be_fitted_alone_is_marked_with_the_same_words():
    rows = [0.0, 1.0, 3.0, 3.0]
    found = bg.select(rows, [1, 4, 5], covariance="E", **QUICK)
    status = found.dataset["status"].sel(covariance="E")
    assert str(status.sel(n_components=1).item()) == "ok"
    for size in (4, 5):
        with pytest.raises(InputError) as alone:
            bg.fit(rows, size, covariance="E", seed=0)
        assert str(status.sel(n_components=size).item()) == str(alone.value)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"n_components": []}, "n_components is empty"),
        ({"n_components": [0]}, "n_components must be a whole number >= 1"),
        ({"covariance": "VXV"}, "covariance is 'VXV'"),
        ({"criterion": "dic"}, "criterion is 'dic'"),
    ],
)
def test_wrong_input_gets_one_line(wrong, says):
    with pytest.raises(InputError, match=says):
        bg.select(bg.datasets.load("faithful"), **{"n_components": [1], **wrong}, **QUICK)


@pytest.mark.validate
@pytest.mark.parametrize("name", ["faithful", "iris"])
def test_no_cell_of_mclust_is_better_unless_it_is_spurious(name):
    """14 structures x 1..9 components: at least mclust's log-likelihood, the same parameters."""
    reference = pd.read_csv(REFERENCE / f"mclust_{name}.csv").dropna()
    found = bg.select(bg.datasets.load(name), range(1, 10), n_starts=100, progressbar=False, seed=0)
    behind = []
    for row in reference.itertuples():
        one = found.dataset.sel(covariance=row.model, n_components=row.G)
        assert int(one["n_parameters"]) == row.df
        gap = float(one["log_likelihood"]) - row.loglik
        if gap < -1e-6 * abs(row.loglik):
            behind.append((row.model, row.G, round(gap, 3)))
        elif abs(gap) < 1e-6 * abs(row.loglik):
            assert float(one["bic"]) == pytest.approx(-row.bic, rel=1e-5)
    assert behind == []
