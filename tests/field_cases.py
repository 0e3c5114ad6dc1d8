"""Inputs on which the package once failed, each a function; `test_field` says what is right."""

import numpy as np
import pandas as pd

from bayes_gmm import datasets


def typo() -> pd.DataFrame:
    """Penguins with one body mass ten times too large, in row 57."""
    table = datasets.load("penguins").dropna().reset_index(drop=True).astype(float)
    table.loc[57, "body_mass_g"] = 41_000.0
    return table


def wide(n_rows: int = 30, n_features: int = 50) -> np.ndarray:
    """Two groups of equal size, three standard deviations apart in every feature."""
    group = np.arange(n_rows) >= n_rows // 2
    noise = np.random.default_rng(2).normal(size=(n_rows, n_features))
    return noise + 3.0 * group[:, None]
