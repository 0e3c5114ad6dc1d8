"""Problems to search for optima in: real data sets and simulated ones, with K and a structure."""

import zlib
from typing import NamedTuple

import numpy as np

import bayes_gmm as bg


class Problem(NamedTuple):
    """A data set with the mixture to fit to it."""

    data: str
    n_components: int
    covariance: str

    @property
    def rows(self) -> np.ndarray:
        """A built-in data set, or a simulation whose name says what it is."""
        if "-" not in self.data:
            return bg.datasets.load(self.data).dropna().to_numpy(dtype=float)
        kind, *numbers = self.data.split("-")
        n_rows, n_features, n_components = map(int, numbers[:3])
        return simulated(
            kind,
            n_rows,
            n_features,
            n_components,
            float(numbers[3]),
            zlib.crc32(self.data.encode()),
        )

    def __str__(self) -> str:
        return f"{self.data}, K = {self.n_components}, {self.covariance}"


def simulated(
    kind: str, n_rows: int, n_features: int, n_components: int, separation: float, seed: int
) -> np.ndarray:
    """Rows from a random mixture: `round` clusters, `long` ones, or all strongly `correlated`."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(n_components, 3.0))
    means = separation * rng.normal(size=(n_components, n_features))
    width = 2 * n_features if kind == "round" else n_features + 1
    root = rng.normal(size=(n_components, n_features, width)) / np.sqrt(width)
    labels = rng.choice(n_components, n_rows, p=weights)
    rows = means[labels] + np.einsum("nij,nj->ni", root[labels], rng.normal(size=(n_rows, width)))
    if kind == "correlated":
        rows = rows @ (np.ones((n_features, n_features)) + 0.05 * np.eye(n_features))
    return rows


PROBLEMS = [
    Problem(*entry)
    for entry in [
        ("faithful", 2, "VVV"),
        ("faithful", 3, "EEE"),
        ("faithful", 3, "VVV"),
        ("faithful", 4, "VVV"),
        ("galaxies", 3, "V"),
        ("galaxies", 4, "V"),
        ("galaxies", 4, "E"),
        ("acidity", 2, "E"),
        ("acidity", 3, "V"),
        ("iris", 2, "VVV"),
        ("iris", 3, "VVV"),
        ("iris", 3, "VEV"),
        ("iris", 3, "EEE"),
        ("iris", 5, "VVI"),
        ("banknote", 2, "VVV"),
        ("banknote", 2, "EEE"),
        ("banknote", 3, "VVV"),
        ("thyroid", 3, "VVI"),
        ("thyroid", 3, "VVV"),
        ("penguins", 3, "VVV"),
        ("penguins", 3, "EEE"),
        ("penguins", 5, "VVI"),
        ("round-500-2-3-2", 3, "VVV"),
        ("round-500-2-5-3", 5, "VVV"),
        ("round-1000-2-8-5", 8, "VVV"),
        ("round-1000-5-5-2", 5, "VVV"),
        ("round-2000-8-5-2", 5, "VVV"),
        ("round-2000-2-10-6", 10, "VVI"),
        ("round-3000-10-6-1", 6, "VVV"),
        ("round-500-3-3-2", 3, "EEE"),
        ("round-500-3-3-2", 3, "VEE"),
        ("round-1000-2-3-1", 3, "VVV"),
        ("round-5000-4-6-2", 6, "VVV"),
        ("round-300-1-3-3", 3, "V"),
        ("long-500-2-4-3", 4, "VVV"),
        ("long-1000-3-6-3", 6, "VVV"),
        ("long-1000-2-4-4", 4, "EVV"),
        ("long-2000-4-8-3", 8, "VVV"),
        ("correlated-500-2-3-3", 3, "VVV"),
        ("correlated-1000-4-4-3", 4, "VVV"),
        ("correlated-2000-6-5-2", 5, "VVV"),
        ("correlated-1000-3-3-2", 3, "EEE"),
        # many features, 20 to 100
        ("round-3000-20-4-1", 4, "VVV"),
        ("round-3000-20-6-1", 6, "VVI"),
        ("round-2000-20-4-1", 4, "EEE"),
        ("round-2000-20-12-2", 12, "VII"),
        ("long-3000-20-4-2", 4, "VVV"),
        ("correlated-3000-20-4-2", 4, "VVV"),
        ("correlated-2000-20-5-3", 5, "EEE"),
        ("round-2000-30-5-1", 5, "VVI"),
        ("round-3000-30-8-1", 8, "EEE"),
        ("round-4000-30-5-1", 5, "VVV"),
        ("long-2000-40-6-1", 6, "VVI"),
        ("round-1000-50-3-0.5", 3, "VVI"),
        ("round-6000-50-10-1", 10, "EII"),
        ("round-6000-50-10-1", 10, "VVI"),
        ("round-6000-50-10-1", 10, "EEE"),
        ("round-6000-50-10-1", 10, "VVV"),
        ("round-3000-50-25-2", 25, "VVI"),
        ("round-400-100-2-0.5", 2, "EII"),
        ("round-400-100-2-0.5", 2, "VVI"),
        ("round-400-100-2-0.5", 2, "EEE"),
        ("round-1000-100-2-0.5", 2, "VVV"),
        # many components
        ("round-8000-2-40-30", 40, "VVV"),
        ("round-8000-6-60-10", 60, "VVV"),
    ]
]
