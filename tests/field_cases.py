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


def lab(folder):
    """A file from a German laboratory, two of its values below the limit of detection."""
    rng = np.random.default_rng(6)
    group = rng.integers(2, size=180)
    sodium, creatinine = rng.normal(138 + 4 * group, 1.5), rng.normal(70 + 45 * group, 9)
    rows = ["Probe;Datum;Natrium (mmol/l);Kreatinin (\u00b5mol/l)"]
    for i in range(180):
        value = "<5.0" if i in (39, 120) else f"{creatinine[i]:.1f}"
        day = f"{1 + i % 28:02d}/{1 + i % 12:02d}/2024"
        row = f"P{i:04d};{day};{sodium[i]:.1f};{value}"
        rows.append(row.replace(".", ",").replace("/", "."))
    path = folder / "lab.csv"
    path.write_bytes("\r\n".join(rows).encode("latin-1"))
    return path
