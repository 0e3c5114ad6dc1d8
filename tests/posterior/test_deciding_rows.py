"""Rows that decide a component alone: found where they were planted, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy.stats import median_abs_deviation

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.deciding_rows import DecidingRow, deciding_rows, far
from bayes_gmm.results.labels import record_columns, records
from bayes_gmm.results.remarks import by_component, stated


def planted(rng, n_rows, sds):
    """Rows of two groups; in one of them one entry lies so many robust sds from the median."""
    n_features = int(rng.integers(1, 5))
    first = rng.random((n_rows, 1)) < 0.5
    rows = np.where(first, 0.0, 4.0) + rng.normal(size=(n_rows, n_features))
    row, column = int(rng.integers(n_rows)), int(rng.integers(n_features))
    values = rows[:, column]
    robust_sd = median_abs_deviation(values, scale="normal")
    rows[row, column] = np.median(values) + rng.choice([-1, 1]) * sds * robust_sd
    return rows * 10.0 ** rng.integers(-6, 7), row, column


@pytest.mark.parametrize("n_rows", [100, 500, 2000])
@pytest.mark.parametrize("sds", [20, 80, 1000])
def test_a_planted_outlier_is_found_in_its_row_and_column(n_rows, sds):
    rng = np.random.default_rng([n_rows, sds])
    for _ in range(3):
        rows, row, column = planted(rng, n_rows, sds)
        with pytest.warns(bg.OutlierWarning, match=f"^Row {row} "):
            fitted = bg.fit(rows, 2, prior="default", seed=0, n_starts=5)
        found = records("deciding", DecidingRow, fitted["optimizer_result"])
        assert [(one.position, one.feature) for one in found] == [(row, f"x{column}")]
        values = rows[:, column]
        robust_sd = median_abs_deviation(values, scale="normal")
        expected = abs(values[row] - np.median(values)) / robust_sd
        assert found[0].deviations == pytest.approx(expected, rel=1e-4)  # 1.4826 has five digits


def test_the_shares_are_their_formulas():
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.normal(size=(150, 2)), rng.normal(6, 1, (150, 2))])
    rows[17, 1] = -70.0
    theta = Parameters(
        [0.6, 0.4], [[0.3, -0.2], [6, 5.9]], [[[1.2, 0.1], [0.1, 19]], [[1, 0], [0, 1.4]]]
    )
    shares = mixture.responsibilities(rows, theta)
    about = shares * (rows[:, 1, None] - theta.means[:, 1]) ** 2
    (found,) = deciding_rows(theta, Observations.of(rows))
    assert found.component == 0
    assert found.share_of_variance == pytest.approx((about[17] / about.sum(axis=0))[0], rel=1e-9)
    assert found.share_of_rows == pytest.approx((shares[17] / shares.sum(axis=0))[0], rel=1e-9)


def test_rows_do_not_decide_by_their_units_or_their_order():
    rng = np.random.default_rng(4)
    rows, row, _ = planted(rng, 200, 50)
    order = rng.permutation(200)
    theta = Parameters(
        np.ones(1), rows.mean(axis=0)[None], np.cov(rows.T, ddof=0).reshape(1, *[rows.shape[1]] * 2)
    )
    (found,) = deciding_rows(theta, Observations.of(rows))
    (moved,) = deciding_rows(theta, Observations.of(rows[order]))
    (scaled,) = deciding_rows(
        theta.rescale(np.zeros(rows.shape[1]), np.full(rows.shape[1], 1e-5)),
        Observations.of(1e-5 * rows),
    )
    assert order[moved.position] == found.position == scaled.position == row
    assert moved.deviations == pytest.approx(found.deviations, rel=1e-12)
    assert scaled.deviations == pytest.approx(found.deviations, rel=1e-9)
    assert scaled.share_of_variance == pytest.approx(found.share_of_variance, rel=1e-6)


def test_heavy_tails_are_seldom_accused():
    """Student's t with 5 degrees of freedom, 1000 rows: in at most one of 20 data sets."""
    rng = np.random.default_rng(5)
    accused = 0
    for _ in range(20):
        rows = rng.normal(size=(1000, 2)) / np.sqrt(rng.chisquare(5, size=(1000, 1)) / 5)
        observations = Observations.of(rows)
        theta = Parameters(
            [0.8, 0.2], np.zeros((2, 2)), [np.eye(2), 4 * np.eye(2)]
        )  # about what two components make of such rows
        accused += bool(deciding_rows(theta, observations))
    assert accused <= 1


def test_a_far_group_of_rows_is_no_outlier():
    rng = np.random.default_rng(6)
    values = np.concatenate([rng.normal(size=300), rng.normal(60, 1, size=12)])
    assert not far(values)[0].size
    assert far(values[:301])[0].tolist() == [300]


def test_a_value_that_repeats_far_away_is_found_in_every_row_that_holds_it():
    rng = np.random.default_rng(7)
    values = rng.normal(size=200)
    values[[5, 50, 120, 130]] = 999
    positions, deviations = far(values)
    assert positions.tolist() == [5, 50, 120, 130]
    assert np.ptp(deviations) == 0


def test_a_column_of_which_most_is_one_value_has_the_spread_of_the_rest():
    rng = np.random.default_rng(8)
    values = np.where(rng.random(400) < 0.7, 0.0, rng.normal(size=400))
    assert not far(values)[0].size
    values[33] = 40
    assert far(values)[0].tolist() == [33]


def test_a_row_is_named_by_its_label_and_by_its_place_where_they_differ():
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(60, 1))
    rows[7] = 500
    labels = np.array([f"p{i}" for i in range(60)])
    observations = Observations.of(rows)
    theta = Parameters([1.0], [rows.mean(axis=0)], [[[rows.var()]]])
    for index, name in ((None, "Row 7 (x0 = 500)"), (labels, "Row p7 at position 7 (x0 = 500)")):
        found = deciding_rows(theta, replace(observations, row_labels=index))
        (group,) = by_component(found)
        assert stated(group)[0].startswith(f"{name} determines component 0: ")


def test_rows_survive_the_way_into_a_result_and_back():
    rng = np.random.default_rng(10)
    rows = rng.normal(size=(60, 2))
    rows[7, 1], rows[9, 0] = 500, -300
    observations = Observations.of(rows)
    theta = Parameters([1.0], [rows.mean(axis=0)], [np.cov(rows.T)])
    found = deciding_rows(theta, observations)
    assert [one.position for one in found] == [9, 7]
    for some in (found, []):
        laid_out = {
            name: ("deciding", values)
            for name, values in record_columns("deciding", DecidingRow, some).items()
        }
        assert records("deciding", DecidingRow, xr.Dataset(laid_out)) == some
