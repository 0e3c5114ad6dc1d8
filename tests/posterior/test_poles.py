"""Where starts collapsed: on the value that repeats or the row that they share."""

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.errors import CollapseError
from bayes_gmm.posterior.poles import Pole, poles
from bayes_gmm.results.labels import record_columns, records
from bayes_gmm.results.remarks import frequent, sentence, worded


@dataclass
class Collapse:
    """A component as last seen."""

    start: int
    mean: np.ndarray
    covariance: np.ndarray
    n_rows: float


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 2))
    x[:50, 1] = x[:, 1].min() - 0.1
    return x


def on_the_value(x, start, *, count=48.0):
    """A component that is about to be a line along the value that repeats."""
    return Collapse(start, np.array([0.1, x[0, 1] + 1e-4]), np.diag([1.0, 1e-6]), count)


def on_the_row(x, start, row):
    """A component about one row."""
    return Collapse(start, x[row] + 1e-5, 1e-8 * np.eye(2), 1.0)


def search_of(found, n_starts, n_lost, n_parameters=11):
    lost = np.arange(n_starts) < n_lost
    return dataset(found).assign(start_collapsed=("start", lost), n_parameters=n_parameters)


def dataset(found):
    return xr.Dataset(
        {name: ("pole", values) for name, values in record_columns("pole", Pole, found).items()}
    )


def test_a_value_that_repeats_is_found_with_its_share_and_its_starts(rows):
    collapses = [on_the_value(rows, start) for start in (0, 0, 1, 4)]  # one start twice
    (found,) = poles(collapses, Observations.of(rows))
    assert (found.feature, found.value, found.share) == ("x1", rows[0, 1], 0.25)
    assert found.n_starts == 3
    assert found.looks_like == "limit"
    assert found.row == ""


def test_a_component_of_few_rows_is_not_about_a_value(rows):
    (found,) = poles([on_the_value(rows, 0, count=2.0)], Observations.of(rows))
    assert found.row != ""


def test_the_row_that_most_starts_share_is_found(rows):
    collapses = [on_the_row(rows, start, row) for start, row in enumerate([60, 77, 60, 60])]
    (found,) = poles(collapses, Observations.of(rows))
    assert (found.row, found.position, found.n_starts) == ("60", 60, 3)


def test_what_is_found_does_not_depend_on_the_scale_of_row_weights(rows):
    collapses = [on_the_value(rows, start) for start in range(3)]
    plain = poles(collapses, Observations.of(rows))
    small = [Collapse(c.start, c.mean, c.covariance, 1e-9 * c.n_rows) for c in collapses]
    weighted = poles(small, Observations.of(rows).weighted(np.full(len(rows), 1e-9)))
    assert weighted[0][:2] == plain[0][:2]
    assert weighted[0].share == pytest.approx(plain[0].share)


def test_a_value_is_told_from_a_fifth_of_the_starts_on(rows):
    observations = Observations.of(rows)
    for n_lost, said in ((5, False), (6, True)):
        found = poles([on_the_value(rows, start) for start in range(n_lost)], observations)
        text = sentence(search_of(found, 30, n_lost), 200, 2)
        assert bool(text) is said
    assert text.startswith(f"6 of 30 starts collapsed, 6 on x1 = {rows[0, 1]:.10g} in 25% of the")


def test_one_row_is_told_from_half_of_the_starts_on(rows):
    observations = Observations.of(rows)
    for n_lost, said in ((14, False), (15, True)):
        found = poles([on_the_row(rows, start, 9) for start in range(n_lost)], observations)
        assert bool(sentence(search_of(found, 30, n_lost), 200, 2)) is said


def test_starts_lost_on_any_rows_are_told_only_if_rows_are_few():
    assert sentence(search_of([], 30, 25), 200, 2) == ""
    assert sentence(search_of([], 30, 20), 40, 2) == ""
    assert "40 rows are too few for 11 parameters" in sentence(search_of([], 30, 25), 40, 2)


def test_an_error_says_where_its_starts_collapsed(rows):
    observations = Observations.of(rows)
    plain = CollapseError("all 30 starts collapsed: a component shrank onto too few distinct rows")
    assert worded(plain, observations) is plain
    collapses = [on_the_value(rows, start) for start in range(4)]
    text = str(worded(CollapseError(str(plain), collapses), observations))
    assert text.startswith("all 30 starts collapsed, 4 on x1 = ")
    assert "fit without x1" in text
    alone = str(worded(CollapseError("the only start collapsed: why", collapses[:1]), observations))
    assert alone.startswith("the only start collapsed, on x1 = ")


def test_poles_survive_the_way_into_a_result_and_back(rows):
    collapses = [on_the_value(rows, start) for start in range(3)]
    found = poles([*collapses, on_the_row(rows, 3, 60)], Observations.of(rows))
    assert [bool(pole.row) for pole in found] == [False, True]
    back = records("pole", Pole, dataset(found))
    assert str(back) == str(found)  # a row that is nowhere far has no value, which equals nothing
    assert frequent(back, 10) == found[:1]
