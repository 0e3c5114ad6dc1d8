r"""A prior of the concentration alpha of Dirichlet weights: a number, a gamma, or an F.

gamma:  log p(alpha) = a log b - log Gamma(a) + (a - 1) log alpha - b alpha
F:      log p(alpha) = (a / 2) log(a / b) - log B(a / 2, b / 2)
                       + (a / 2 - 1) log alpha - (a + b) / 2 log(1 + a alpha / b)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import betaln, gammaln, xlogy

from bayes_gmm.errors import InputError

KINDS = {"F": "two degrees of freedom", "gamma": "a shape and a rate"}
TAIL = 25.0  # nodes end where the density of log alpha is exp(-25) of its largest value
WIDEST_STEP = 0.5
TOLERANCE = 1e-5  # of the change; what is then left is about its square


class Concentration(NamedTuple):
    """The prior of alpha."""

    kind: str  # "fixed", "F" or "gamma"
    parameters: tuple[float, float]  # of a fixed alpha: the number, twice

    @classmethod
    def of(cls, alpha: Any) -> "Concentration":
        """Read a number, or a tuple (kind, a, b)."""
        kind, *numbers = alpha if isinstance(alpha, tuple | list) else ("fixed", alpha, alpha)
        try:
            values = tuple(float(number) for number in numbers)
        except (TypeError, ValueError):
            values = ()
        known = kind in ("fixed", *KINDS) if isinstance(kind, str) else False
        if not known or len(values) != 2 or not all(0 < value < np.inf for value in values):
            raise InputError(
                'alpha must be a positive number, ("F", d1, d2) or ("gamma", shape, rate) with '
                f"positive numbers; got {alpha!r}"
            )
        return cls(kind, values)

    @property
    def given(self) -> float | tuple[str, float, float]:
        """The prior as `of` reads it."""
        return self.parameters[0] if self.kind == "fixed" else (self.kind, *self.parameters)

    @property
    def start(self) -> float:
        """A typical value."""
        a, b = self.parameters
        return {"fixed": a, "gamma": a / b, "F": 1.0}[self.kind]

    def log_density(self, alpha: np.ndarray) -> np.ndarray:
        """Log density of alpha under a gamma or an F distribution, (...) -> (...)."""
        a, b = self.parameters
        if self.kind == "gamma":
            return a * np.log(b) - gammaln(a) + xlogy(a - 1, alpha) - b * alpha
        log_constant = 0.5 * a * np.log(a / b) - betaln(0.5 * a, 0.5 * b)
        return log_constant + xlogy(0.5 * a - 1, alpha) - 0.5 * (a + b) * np.log1p(a / b * alpha)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw alpha, (n,)."""
        a, b = self.parameters
        if self.kind == "fixed":
            return np.full(n, a)
        return rng.f(a, b, n) if self.kind == "F" else rng.gamma(a, 1 / b, n)

    def expect(self, of: Callable[[float], np.ndarray]) -> np.ndarray:
        r"""Prior expectation of probabilities that are a smooth function of alpha.

        .. math:: \int f(e^t)\, p(t)\, dt, \qquad t = \log\alpha

        by the trapezoidal rule. Its error falls exponentially in 1 / step, because the integrand is
        analytic and vanishes at both ends: half the step squares it. So it is halved until that
        changes little.
        """
        if self.kind == "fixed":
            return of(self.parameters[0])
        # The step is at most the standard deviation of t, about slope^(-1/2), where that is small.
        step = min(WIDEST_STEP, self._slope**-0.5)
        mean, change = self._trapezoid(of, step, 0.0), np.inf
        while change > TOLERANCE:
            finer = 0.5 * (mean + self._trapezoid(of, step, 0.5))
            change, mean, step = np.abs(finer - mean).max(), finer, 0.5 * step
        return mean

    @property
    def _slope(self) -> float:
        """How fast the log density of t falls in its slower tail; also its curvature, or half."""
        a, b = self.parameters
        return a if self.kind == "gamma" else 0.5 * min(a, b)

    def _trapezoid(
        self, of: Callable[[float], np.ndarray], step: float, shift: float
    ) -> np.ndarray:
        """Sum over the nodes log alpha = (i + shift) step, with weights that sum to one."""
        a, b = self.parameters
        peak, slope = (np.log(a / b) if self.kind == "gamma" else 0.0), self._slope
        reach = TAIL / slope + 2 * np.sqrt(2 * TAIL / slope)
        t = step * (np.arange((peak - reach) // step, (peak + reach) // step + 1) + shift)
        with np.errstate(over="ignore"):
            log_weight = self.log_density(np.exp(t)) + t
        log_weight -= log_weight.max()
        t, weight = t[log_weight > -TAIL], np.exp(log_weight[log_weight > -TAIL])
        parts = (w * of(alpha) for alpha, w in zip(np.exp(t), weight / weight.sum(), strict=True))
        return sum(parts, start=np.zeros(()))

    def __str__(self) -> str:
        a, b = self.parameters
        return f"alpha = {a:g}" if self.kind == "fixed" else f"alpha ~ {self.kind}({a:g}, {b:g})"
