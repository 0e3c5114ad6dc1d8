"""The data sets are the published ones, and each says what its columns are."""

import pandas as pd
import pytest
from pandas.api.types import is_numeric_dtype

import bayes_gmm as bg
from bayes_gmm.data import Observations

SHAPES = {  # rows, measurements, labels
    "acidity": (155, 1, 0),
    "banknote": (200, 6, 1),
    "faithful": (272, 2, 0),
    "galaxies": (82, 1, 0),
    "iris": (150, 4, 1),
    "penguins": (344, 4, 4),
    "thyroid": (215, 5, 1),
}
MEANS = {  # of the first column, from the publications and their copies in R
    "acidity": 5.105096,
    "banknote": 214.896,
    "faithful": 3.487783,
    "galaxies": 20.831463,
    "iris": 5.843333,
    "penguins": 43.921930,
    "thyroid": 109.595349,
}


def test_all_data_sets_are_listed():
    assert bg.datasets.names() == tuple(SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_measurements_are_numbers_and_labels_come_on_demand(name):
    n_rows, n_measurements, n_labels = SHAPES[name]
    table = bg.datasets.load(name)
    assert table.shape == (n_rows, n_measurements)
    assert all(map(is_numeric_dtype, table.dtypes))
    whole = bg.datasets.load(name, labels=True)
    assert whole.shape == (n_rows, n_measurements + n_labels)
    pd.testing.assert_frame_equal(whole[table.columns], table)
    assert table.iloc[:, 0].mean() == pytest.approx(MEANS[name], abs=1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_the_description_fits_the_file(name):
    description = bg.datasets.describe(name)
    table = bg.datasets.load(name, labels=True)
    assert list(table.columns) == [
        column for column in table if column in description.measurements | description.labels
    ]
    assert set(table.columns) == set(description.measurements) | set(description.labels)
    assert all(description.measurements.values()), "a unit for each measurement"
    assert all(description.labels.values())
    assert len(table) == description.rows
    measurements = table[list(description.measurements)]
    assert measurements.isna().any(axis=1).sum() == description.missing
    assert description.source
    assert description.note
    printed = str(description)
    for word in (name, *description.measurements.values(), description.source):
        assert word in printed


@pytest.mark.parametrize("name", SHAPES)
def test_every_data_set_is_accepted_once_complete(name):
    table = bg.datasets.load(name).dropna()
    observations = Observations.of(table)
    assert observations.feature_names == tuple(bg.datasets.describe(name).measurements)


def test_galaxies_have_the_corrected_row():
    velocity = bg.datasets.load("galaxies")["velocity"]
    assert velocity.iloc[78 - 1] == 26.960
    assert 26.690 not in velocity.to_list()


def test_iris_has_fishers_own_rows():
    iris = bg.datasets.load("iris")
    assert iris.iloc[35 - 1].tolist() == [4.9, 3.1, 1.5, 0.2]
    assert iris.iloc[38 - 1].tolist() == [4.9, 3.6, 1.4, 0.1]


def test_two_penguins_lack_every_measurement():
    penguins = bg.datasets.load("penguins")
    incomplete = penguins.isna().any(axis=1)
    assert incomplete.sum() == 2
    assert penguins[incomplete].isna().all(axis=None)


def test_thyroid_diagnoses_are_counted_as_published():
    diagnosis = bg.datasets.load("thyroid", labels=True)["diagnosis"]
    assert diagnosis.value_counts().to_dict() == {"Normal": 150, "Hyper": 35, "Hypo": 30}


@pytest.mark.parametrize("verb", [bg.datasets.load, bg.datasets.describe])
def test_an_unknown_name_lists_the_known_ones(verb):
    with pytest.raises(bg.InputError, match=r"'iriss'.*did you mean 'iris'.*faithful"):
        verb("iriss")
    with pytest.raises(bg.InputError, match=r"'\.\./secret'.*faithful"):
        verb("../secret")
