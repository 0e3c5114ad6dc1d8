r"""Anderson acceleration: guess from its last steps where a slow fixed-point iteration is going.

EM maps statistics to statistics, y = E(M(x)), and creeps where components overlap. With residuals
f_i = y_i - x_i of the last inputs, choose the combination of them whose residual is smallest and
go to the same combination of the outputs: a secant method that needs no derivative.
"""

import numpy as np

MEMORY = 8
RIDGE = 1e-10  # relative; keeps the small normal equations solvable when steps are parallel


class Anderson:
    """The last few inputs and outputs of a fixed-point map.

    References
    ----------
    Walker & Ni (2011), SIAM J. Numer. Anal. 49; Henderson & Varadhan (2019) for its use in EM.
    """

    def __init__(self) -> None:
        self._inputs: list[np.ndarray] = []
        self._outputs: list[np.ndarray] = []

    def forget(self) -> None:
        """Drop the past, after a guess that failed."""
        self._inputs.clear()
        self._outputs.clear()

    def push(self, x: np.ndarray, y: np.ndarray) -> None:
        """Remember that the map takes x to y.

        Shapes: x, y (P,).
        """
        self._inputs.append(x)
        self._outputs.append(y)
        if len(self._inputs) > MEMORY:
            del self._inputs[0], self._outputs[0]

    def extrapolate(self) -> np.ndarray | None:
        """Guess the fixed point.

        Shapes: -> (P,).

        None as long as there are too few steps to guess from.
        """
        if len(self._inputs) < 3:
            return None
        outputs = np.array(self._outputs)
        residuals = outputs - np.array(self._inputs)
        differences = np.diff(residuals, axis=0)
        normal = differences @ differences.T
        normal.flat[:: len(normal) + 1] *= 1 + RIDGE
        try:
            shares = np.linalg.solve(normal, differences @ residuals[-1])
        except np.linalg.LinAlgError:
            return None
        guess = outputs[-1] - shares @ np.diff(outputs, axis=0)
        return guess if np.isfinite(guess).all() else None
