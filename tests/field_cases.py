"""Data that people met: each function makes one, by its name in the tests of `test_field.py`."""

import numpy as np

import bayes_gmm as bg


def clipped(seed=8):
    """Two groups of 1500 rows in three columns; the first two are cut off at 2."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(3000, 3)) + np.repeat([0.0, 2.0], 1500)[:, None]
    rows[:, :2] = rows[:, :2].clip(max=2)
    return rows


def sentinel(seed=9):
    """Two groups, 100 rows together; in 6 of them the first column is -9999."""
    rng = np.random.default_rng(seed)
    group = np.repeat([0.0, 1.0], [60, 40])[:, None]
    rows = [10, 100] + 6 * group + rng.normal(size=(100, 2))
    rows[[3, 21, 40, 58, 77, 93], 0] = -9999
    return rows


def typo():
    """The penguins, one of whom weighs 41 kg."""
    frame = bg.datasets.load("penguins").dropna().reset_index(drop=True).astype(float)
    frame.loc[57, "body_mass_g"] = 41_000
    return frame
