"""select: every fit of a grid beside the others, against mclust's published figures."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayes_gmm as bg
from bayes_gmm.errors import InputError
from bayes_gmm.model import mixture
from bayes_gmm.results import selection as words

REFERENCE = Path(__file__).parent / "reference"
QUIET = {"progressbar": False, "seed": 0}
QUICK = {"n_starts": 10, **QUIET}


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
    x, theta = frame.to_numpy(), bg.point_estimate(found.best)
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
    assert "failed:" in str(found)


def test_a_cell_is_the_fit_of_the_same_arguments(found):
    for code, size in (("VEV", 2), ("VVV", 3)):
        alone = bg.fit(bg.datasets.load("iris"), size, covariance=code, n_starts=10, seed=0)
        one = found.dataset.sel(covariance=code, n_components=size)
        assert float(one["log_likelihood"]) == float(alone["optimizer_result"]["log_likelihood"])
    best = bg.point_estimate(found.best)
    fitted = bg.point_estimate(
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


def sentence(found, part):
    (said,) = [one for one in found.sentences if part in one]
    return said


def test_the_edge_of_the_grid_is_said():
    x = bg.datasets.load("iris")
    upper = bg.select(x, [1, 2], covariance="VEV", **QUICK)
    said = sentence(upper, "number of components tried")
    assert said.startswith("K = 2 is the largest number")
    assert "range(1, 5)" in said
    assert "--most 4" in said
    lower = bg.select(x, [2, 3], covariance="VEV", **QUICK)
    assert sentence(lower, "number of components tried").startswith("K = 2 is the smallest number")
    for sizes in ([2], [1, 2, 3]):
        inside = bg.select(x, sizes, covariance="VEV", **QUICK)
        assert not any("components tried" in one for one in inside.sentences)


@pytest.mark.parametrize(
    ("n_starts", "reached", "said"),
    [
        (30, 1, "Only 1 of 30 starts led to its optimum"),
        (30, 0, "None of 30 starts led to its optimum, which was found by moving components"),
        (1, 1, "Its optimum comes from the only start"),
        (30, 4, ""),
    ],
)
def test_an_optimum_that_rests_on_one_start_is_said_to(found, n_starts, reached, said):
    search = found.best["optimizer_result"].to_dataset()
    start = {name: one for name, one in search.items() if "start" in one.dims}
    longer = {name: ("start", np.resize(one.to_numpy(), n_starts)) for name, one in start.items()}
    counts = search["optimum_starts"].to_numpy().copy()
    counts[0] = reached
    search = search.drop_vars([*start, "start"], errors="ignore").assign(longer)
    search = search.assign(optimum_starts=("optimum", counts), still_improving=False)
    told = words.of_search(search, 2)
    assert len(told) == bool(said)
    for one in told:
        assert one.startswith(said)
        assert "n_starts=100 (--starts 100)" in one
    assert words.of_search(search, 1) == []
    (improving,) = words.of_search(search.assign(still_improving=True), 2)
    assert "starts=100" in improving


def test_failures_are_a_line_for_each_reason_and_not_for_each_fit():
    rows = np.concatenate([np.random.default_rng(0).normal(size=(6, 3)), np.zeros((2, 3))])
    found = bg.select(rows, [1, 8, 9, 10], covariance=["EII", "VII", "VVV"], n_starts=3, **QUIET)
    failed = found.table[found.table["status"] != "ok"]
    lines = [one for one in found.sentences if one.startswith("- ")]
    assert len(failed) == 9
    assert len(lines) <= 3
    (few,) = [one for one in lines if "X has only 8 rows" in one]
    assert few.startswith("- all 3 structures with 9, 10: ")
    assert "9 of 12 fits failed:" in found.sentences


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
