r"""Anderson acceleration: extrapolate a slow fixed-point iteration from its last steps.

EM maps statistics to statistics, y = E(M(x)), and converges slowly where components overlap. With
residuals f_i = y_i - x_i of the last inputs, find the affine combination of the inputs with the
smallest residual, and take the same combination of the outputs: a secant method without
derivatives.
"""

import numpy as np

MEMORY = 8
RIDGE = 1e-10  # relative; keeps the small normal equations solvable when steps are parallel


class Anderson:
    """The last inputs and outputs of a fixed-point map.

    References
    ----------
    Walker & Ni (2011), SIAM J. Numer. Anal. 49; Henderson & Varadhan (2019) for its use in EM.
    """

    def __init__(self) -> None:
        self._inputs: list[np.ndarray] = []
        self._outputs: list[np.ndarray] = []

    def forget(self) -> None:
        """Drop the history, after an accelerated step that failed."""
        self._inputs.clear()
        self._outputs.clear()

    def push(self, x: np.ndarray, y: np.ndarray) -> None:
        """Add an input x and its output y.

        Shapes: x, y (P,).
        """
        self._inputs.append(x)
        self._outputs.append(y)
        if len(self._inputs) > MEMORY:
            del self._inputs[0], self._outputs[0]

    def extrapolate(self) -> np.ndarray | None:
        """Extrapolate to the fixed point; None if there are too few steps.

        Shapes: -> (P,).
        """
        if len(self._inputs) < 3:
            return None
        outputs = np.array(self._outputs)
        residuals = outputs - np.array(self._inputs)
        differences = np.diff(residuals, axis=0)
        normal = differences @ differences.T
        normal.flat[:: len(normal) + 1] *= 1 + RIDGE
        try:
            coefficients = np.linalg.solve(normal, differences @ residuals[-1])
        except np.linalg.LinAlgError:
            return None
        extrapolated = outputs[-1] - coefficients @ np.diff(outputs, axis=0)
        return extrapolated if np.isfinite(extrapolated).all() else None
