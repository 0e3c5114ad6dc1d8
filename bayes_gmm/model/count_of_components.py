r"""Distributions of the number of components K on 1..M, cut off at M where they have no end.

    uniform                  p(K) = 1 / M
    geometric                p(K) = p (1 - p)^(K - 1)
    Poisson                  K - 1 ~ Poisson(rate)
    beta-negative-binomial   p(K) = Gamma(a_l + K - 1) / (Gamma(a_l) (K - 1)!)
                                    B(a_l + a_pi, K - 1 + b_pi) / B(a_pi, b_pi)

The last is a Poisson for K - 1 whose rate is Gamma(a_l, b), where b / (1 + b) ~ Beta(a_pi, b_pi).
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import betaln, gammaln, logsumexp

from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.model.arrays import as_numbers, require_finite

MAXIMUM = 100
SUM_TOLERANCE = 1e-8
NEGLIGIBLE = 1e-12  # probability beyond the maximum that is not worth a word
PROCESS = "dirichlet-process"
BNB = "beta-negative-binomial"
# name -> its parameters
NAMES = {
    "uniform": (),
    "geometric": ("p",),
    "poisson": ("rate",),
    BNB: ("a_lambda", "a_pi", "b_pi"),
    "fixed": ("K",),
    PROCESS: (),
}


class CountOfComponents(NamedTuple):
    """A distribution of K by its name, or "given": the probabilities of 1..M."""

    name: str
    parameters: tuple[float, ...]
    maximum: int

    @classmethod
    def of(cls, prior: Any, parameters: Any, maximum: Any) -> "CountOfComponents":
        """Check what a user gave."""
        if maximum is not None:
            require_whole("maximum", maximum, 1)
        if not isinstance(prior, str):
            return cls._of_probabilities(prior, parameters, maximum)
        if prior not in NAMES:
            raise InputError(
                f"prior must be one of {', '.join(NAMES)}, or the probabilities of "
                f"K = 1, 2, ...; got {prior!r}"
            )
        if parameters is None:
            parameters = (1.0, 4.0, 3.0) if prior == BNB else ()
        values = np.atleast_1d(as_numbers("parameters", parameters))
        if values.shape != (len(NAMES[prior]),):
            needs = (
                f"needs the parameters {', '.join(NAMES[prior])}" if NAMES[prior] else "has none"
            )
            raise InputError(f'parameters: the prior "{prior}" {needs}; got {parameters!r}')
        if not (np.isfinite(values) & (values > 0)).all():
            raise InputError(f"parameters must be positive numbers; got {parameters!r}")
        if prior == "geometric" and values[0] >= 1:
            raise InputError(f"parameters: p of a geometric prior is below 1; got {values[0]:g}")
        if prior == "fixed":
            require_whole("parameters, the fixed K,", parameters, 1)
            if maximum not in (None, parameters):
                raise InputError(f"maximum is K where that is fixed; got {maximum}, leave it out")
            maximum = parameters
        return cls(prior, tuple(values.tolist()), int(maximum or MAXIMUM))

    @classmethod
    def _of_probabilities(cls, prior: Any, parameters: Any, maximum: Any) -> "CountOfComponents":
        p = as_numbers("prior", prior)
        require_finite("prior", p)
        if p.ndim != 1 or not p.size or (p < 0).any() or abs(p.sum() - 1) > SUM_TOLERANCE:
            raise InputError(
                "prior must be the probabilities of K = 1, 2, ..., which are >= 0 and sum to 1; "
                f"got shape {p.shape} with the sum {p.sum():.10g}"
            )
        if parameters is not None:
            raise InputError("parameters are those of a prior with a name; leave them out")
        if maximum not in (None, p.size):
            raise InputError(
                f"maximum is the length of prior where that is a vector, {p.size}; got {maximum}"
            )
        return cls("given", tuple(p.tolist()), p.size)

    @property
    def log_probabilities(self) -> np.ndarray:
        """Log p(K) for K = 1..M, normalized; all -inf for a Dirichlet process. (M,)."""
        log_mass = self._log_masses()
        return log_mass if self.name == PROCESS else log_mass - logsumexp(log_mass)

    @property
    def mass_beyond(self) -> float:
        """Probability of K > M before truncation."""
        open_ended = self.name in ("geometric", "poisson", BNB)
        return max(0.0, -float(np.expm1(logsumexp(self._log_masses())))) if open_ended else 0.0

    def _log_masses(self) -> np.ndarray:
        """Log p(K) before truncation, (M,)."""
        x, of = np.arange(float(self.maximum)), self.parameters  # x = K - 1
        match self.name:
            case "uniform":
                log_mass = np.full_like(x, -np.log(self.maximum))
            case "geometric":
                log_mass = np.log(of[0]) + x * np.log1p(-of[0])
            case "poisson":
                log_mass = x * np.log(of[0]) - of[0] - gammaln(x + 1)
            case "beta-negative-binomial":
                size, a, b = of
                log_ways = gammaln(size + x) - gammaln(size) - gammaln(x + 1)
                log_mass = log_ways + betaln(size + a, x + b) - betaln(a, b)
            case "fixed":
                log_mass = np.where(x + 1 == self.maximum, 0.0, -np.inf)
            case "given":
                with np.errstate(divide="ignore"):
                    log_mass = np.log(of)
            case _:
                log_mass = np.full_like(x, -np.inf)
        return log_mass

    def __str__(self) -> str:
        match self.name:
            case "given":
                return f"probabilities of 1..{self.maximum} as given"
            case "uniform":
                return f"uniform on 1..{self.maximum}"
            case "fixed":
                return f"fixed at {self.maximum}"
            case "dirichlet-process":
                return "infinite"
        numbers = ", ".join(f"{value:g}" for value in self.parameters)
        words, beyond = f"K - 1 ~ {self.name}({numbers})", self.mass_beyond
        cut = f", truncated at {self.maximum}, which leaves out probability {beyond:.1g}"
        return words + cut if beyond > NEGLIGIBLE else words
