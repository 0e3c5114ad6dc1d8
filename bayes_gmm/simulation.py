"""Tables of rows simulated from a mixture, for `bayes-gmm simulate`.

Labels are text (a, b, ...), so that they can't be mistaken for measurements.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import bayes_gmm as bg
from bayes_gmm.data.wording import free_name
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.random_mixture import random_mixture
from bayes_gmm.results.analysis import read_point


class Mixture(NamedTuple):
    """Parameters, and the names of the features."""

    parameters: Parameters
    features: list[str]

    @classmethod
    def saved(cls, path: Path) -> "Mixture":
        """Read the point estimate of results that `save` wrote."""
        return cls(*read_point(path))

    @classmethod
    def random(cls, k: int, d: int, separation: float, seed: int) -> "Mixture":
        """Draw the parameters; the features are x0, x1, ..."""
        return cls(random_mixture(k, d, separation, seed), [f"x{j}" for j in range(d)])

    def rows(self, n: int, seed: int) -> Any:
        """Make n rows with their labels, in a column z or, if a feature has this name, z_."""
        simulated = bg.simulate(self.parameters, n, seed=seed)
        frame = simulated["x"].to_pandas().set_axis(self.features, axis=1)
        label = free_name("z", self.features)
        frame[label] = [letters(z) for z in simulated["z"].to_numpy()]
        return frame

    def table(self) -> list[Sequence[str]]:
        """Weights and means as text, one line per component."""
        lines: list[Sequence[str]] = [
            ("cluster", "weight", *(f"mean {name}" for name in self.features))
        ]
        weights, means = self.parameters.weights, self.parameters.means
        for k, (weight, mean) in enumerate(zip(weights, means, strict=True)):
            lines.append((letters(k), f"{weight:.3f}", *(f"{value:#.4g}" for value in mean)))
        return lines


def letters(label: int) -> str:
    """Letters for label 0, 1, ...: a, b, ..., z, aa, ab, ..."""
    label, letter = divmod(int(label), 26)
    return (letters(label - 1) if label else "") + chr(ord("a") + letter)
