r"""A prior of the number of components K, and what it says about the number of clusters K+.

    K ~ p(K)        phi | K ~ Dirichlet(gamma_K, ..., gamma_K)        gamma_K = alpha / K, or alpha

K+ is the number of components that hold rows: K+ <= K, and fewer if N is small, or gamma is.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.special import logsumexp

from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.model import partitions
from bayes_gmm.model.arrays import as_numbers
from bayes_gmm.model.concentration import Concentration
from bayes_gmm.model.count_of_components import PROCESS, CountOfComponents
from bayes_gmm.model.parameters import ArrayOrLike

LEVEL = 0.95  # of the one-sided interval that `describe` gives

type Alpha = float | tuple[str, float, float]


@dataclass(frozen=True, eq=False)
class NumberOfComponents:
    r"""Prior of the number of components, for an unknown K.

    .. math:: K \sim p(K), \qquad \phi \mid K \sim \mathrm{Dirichlet}(\gamma_K, \ldots, \gamma_K),
        \qquad \gamma_K = \alpha / K \text{ (dynamic)} \quad\text{or}\quad
        \gamma_K = \alpha \text{ (static)}

    The number of clusters K+ counts the components that hold rows. `describe` says in words what
    the prior says about both, `bayes_gmm.plots.prior` draws it.

    Parameters
    ----------
    prior : str or array_like (M,)
        "uniform" on 1..maximum; "geometric", K - 1 ~ Geometric(p) with p(K) = p (1 - p)^(K - 1);
        "poisson", K - 1 ~ Poisson(rate); "beta-negative-binomial", K - 1 ~ BNB(a_lambda, a_pi,
        b_pi), a Poisson whose rate is Gamma(a_lambda, b) with b / (1 + b) ~ Beta(a_pi, b_pi), of
        mean a_lambda b_pi / (a_pi - 1); "fixed", one K; "dirichlet-process", the limit of infinite
        K; or the probabilities of K = 1, 2, ..., M, which sum to 1.
    parameters : float or sequence of float, optional
        Of that prior, in this order: p, rate, (a_lambda, a_pi, b_pi) or K. By default (1, 4, 3) for
        "beta-negative-binomial": E K = 2, with a heavy tail.
    concentration : "dynamic" or "static"
        Whether gamma is alpha / K or alpha.
    alpha : float or tuple, optional
        A number; ("F", d1, d2), Fisher's F distribution; or ("gamma", shape, rate). By default
        ("F", 6, 3) where gamma is dynamic, and 1, uniform weights, where it is static.
    maximum : int, optional
        Largest K. Priors without an end are truncated there and renormalized; `mass_beyond` says
        how much is cut off. By default 100, or what the prior implies.

    Attributes
    ----------
    log_probabilities : ndarray (maximum,)
        log p(K) for K = 1..maximum; all -inf for a Dirichlet process.
    mass_beyond : float
        Prior probability of K > maximum before truncation.

    Raises
    ------
    InputError
        If a name is unknown, or a number is missing or out of range.

    References
    ----------
    Fruehwirth-Schnatter, Malsiner-Walli & Gruen (2021), Bayesian Analysis 16, sec. 2 and 3;
    Greve, Gruen, Malsiner-Walli & Fruehwirth-Schnatter (2022), Aust. N. Z. J. Stat. 64.

    Examples
    --------
    >>> number = NumberOfComponents()
    >>> np.exp(number.log_probabilities[:4]).round(3).tolist()
    [0.571, 0.214, 0.095, 0.048]
    >>> richardson_green = NumberOfComponents("uniform", concentration="static", maximum=30)
    >>> richardson_green.cluster_probabilities(82)[:3].round(4).tolist()
    [0.0342, 0.035, 0.0359]
    """

    prior: str | ArrayOrLike = "beta-negative-binomial"
    parameters: float | Sequence[float] | None = None
    _: KW_ONLY
    concentration: Literal["dynamic", "static"] = "dynamic"
    alpha: Alpha | None = None
    maximum: int | None = None
    _count: CountOfComponents = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.concentration not in ("dynamic", "static"):
            raise InputError(
                f'concentration must be "dynamic" or "static"; got {self.concentration!r}'
            )
        count = CountOfComponents.of(self.prior, self.parameters, self.maximum)
        if count.name == PROCESS and not self.is_dynamic:
            raise InputError(
                "a Dirichlet process is the limit of a dynamic concentration alpha / K; "
                'leave out concentration="static"'
            )
        alpha = self.alpha
        if alpha is None:
            alpha = ("F", 6, 3) if self.is_dynamic else 1.0
        object.__setattr__(self, "alpha", Concentration.of(alpha).given)
        object.__setattr__(self, "maximum", count.maximum)
        object.__setattr__(self, "_count", count)

    @classmethod
    def sparse(cls, n_components: int, alpha: Alpha = 0.01) -> "NumberOfComponents":
        r"""Return a sparse finite mixture: K is fixed and large, and most components stay empty.

        .. math:: \phi \sim \mathrm{Dirichlet}(\gamma, \ldots, \gamma), \qquad \gamma \text{ small}

        Parameters
        ----------
        n_components : int
            K, well above the number of clusters that you expect.
        alpha : float or tuple
            gamma: a small number, or a hyperprior such as ("gamma", 10, 10 * K) with mean 1 / K.

        Returns
        -------
        NumberOfComponents

        References
        ----------
        Malsiner-Walli, Fruehwirth-Schnatter & Gruen (2016), Stat. Comput. 26, sec. 2.

        Examples
        --------
        >>> NumberOfComponents.sparse(10).cluster_probabilities(100)[:3].round(3).tolist()
        [0.632, 0.301, 0.06]
        """
        require_whole("n_components", n_components, 1)
        return cls("fixed", n_components, concentration="static", alpha=alpha)

    @classmethod
    def dirichlet_process(cls, alpha: Alpha | None = None) -> "NumberOfComponents":
        r"""Return a Dirichlet process: the limit of the dynamic concentration as K is infinite.

        .. math:: p(C \mid \alpha) = \alpha^{K_+} \frac{\Gamma(\alpha)}{\Gamma(\alpha + N)}
            \prod_j \Gamma(N_j)

        Parameters
        ----------
        alpha : float or tuple, optional
            By default ("F", 6, 3).

        Returns
        -------
        NumberOfComponents

        References
        ----------
        Antoniak (1974), Ann. Stat. 2; Escobar & West (1995), J. Am. Stat. Assoc. 90.

        Examples
        --------
        >>> process = NumberOfComponents.dirichlet_process(alpha=1.0)
        >>> process.cluster_probabilities(3).round(3).tolist()
        [0.333, 0.5, 0.167]
        """
        return cls(PROCESS, alpha=alpha)

    @property
    def is_dynamic(self) -> bool:
        """Whether gamma_K is alpha / K, and not alpha."""
        return self.concentration == "dynamic"

    @property
    def is_dirichlet_process(self) -> bool:
        """Whether K is infinite."""
        return self._count.name == PROCESS

    @cached_property
    def log_probabilities(self) -> np.ndarray:
        """Log p(K) for K = 1..maximum."""
        return self._count.log_probabilities

    @property
    def mass_beyond(self) -> float:
        """Prior probability of K > maximum before truncation."""
        return self._count.mass_beyond

    @property
    def alpha_kind(self) -> str:
        """What alpha is: "fixed", "gamma" or "F"."""
        return self._concentration.kind

    @property
    def alpha_parameters(self) -> np.ndarray:
        """Shape and rate, or both degrees of freedom, or the fixed number twice, (2,)."""
        return np.array(self._concentration.parameters)

    @property
    def start_alpha(self) -> float:
        """Where a sampler starts: the fixed number, the mean of a gamma, or about F's median, 1."""
        return self._concentration.start

    @property
    def _concentration(self) -> Concentration:
        return Concentration.of(self.alpha)

    def gamma(self, n_components: ArrayOrLike, alpha: ArrayOrLike) -> np.ndarray:
        """Return the parameter of the Dirichlet distribution of K weights.

        Parameters
        ----------
        n_components, alpha : array_like (...)

        Returns
        -------
        ndarray (...)
        """
        size = np.asarray(n_components, dtype=float)
        return np.asarray(alpha / (size if self.is_dynamic else np.ones_like(size)))

    def log_partition(
        self, counts: ArrayOrLike, n_components: ArrayOrLike, alpha: ArrayOrLike
    ) -> np.ndarray:
        r"""Log probability of a partition of the rows given K.

        .. math:: p(C \mid K, \gamma) = \frac{K!}{(K - K_+)!}
            \frac{\Gamma(\gamma K)}{\Gamma(\gamma K + N)}
            \prod_{j=1}^{K_+} \frac{\Gamma(N_j + \gamma)}{\Gamma(\gamma)}

        Parameters
        ----------
        counts : array_like of int (K+,)
            N_j, the sizes of the clusters.
        n_components, alpha : array_like (...)

        Returns
        -------
        ndarray (...)
            -inf where K < K+.

        References
        ----------
        Fruehwirth-Schnatter, Malsiner-Walli & Gruen (2021), sec. 2.1.

        Examples
        --------
        >>> number = NumberOfComponents(concentration="static")
        >>> float(np.exp(number.log_partition([2, 1], 2, 1.0)).round(4))
        0.1667
        """
        sizes = _sizes(counts)
        _require_positive("alpha", alpha)
        _require_positive("n_components", n_components)
        return partitions.log_partition(sizes, n_components, self.gamma(n_components, alpha))

    def log_eppf(self, counts: ArrayOrLike, alpha: float) -> float:
        r"""Log probability of a partition of the rows, summed over K.

        .. math:: p(C \mid \alpha) = \sum_K p(K)\, p(C \mid K, \gamma_K)

        Parameters
        ----------
        counts : array_like of int (K+,)
        alpha : float

        Returns
        -------
        float

        Examples
        --------
        >>> process = NumberOfComponents.dirichlet_process()
        >>> round(float(np.exp(process.log_eppf([2, 1], alpha=1.0))), 4)
        0.1667
        """
        _require_positive("alpha", alpha)
        if self.is_dirichlet_process:
            return float(partitions.log_partition_of_process(_sizes(counts), alpha))
        size = np.arange(1.0, self._count.maximum + 1)
        return float(logsumexp(self.log_probabilities + self.log_partition(counts, size, alpha)))

    def cluster_probabilities(self, n_rows: int, alpha: float | None = None) -> np.ndarray:
        r"""Prior probability that N rows make k = 1, 2, ... clusters.

        .. math:: p(K_+ = k) = \int \sum_K p(K)\, p(k \mid K, \gamma_K)\, p(\alpha)\, d\alpha

        By a recursion over the rows, which is exact given K and alpha, and a quadrature over alpha
        with an error below 1e-7. It takes a second for a thousand rows, and some for 10^5.

        Parameters
        ----------
        n_rows : int
            N.
        alpha : float, optional
            A value to condition on; by default alpha is integrated out.

        Returns
        -------
        ndarray (min(N, maximum),)
            (N,) for a Dirichlet process.

        References
        ----------
        Greve et al. (2022), sec. 3, has another recursion for these numbers.

        Examples
        --------
        >>> NumberOfComponents().cluster_probabilities(100)[:3].round(3).tolist()
        [0.63, 0.226, 0.084]
        """
        require_whole("n_rows", n_rows, 1)
        concentration = self._concentration if alpha is None else Concentration.of(alpha)
        return concentration.expect(lambda value: self._clusters_at(n_rows, value))

    def _clusters_at(self, n_rows: int, alpha: float) -> np.ndarray:
        """Probabilities of the number of clusters given alpha."""
        if self.is_dirichlet_process:
            return partitions.cluster_probabilities_of_process(n_rows, alpha)
        log_p = self.log_probabilities
        size = 1.0 + np.flatnonzero(log_p > -np.inf)
        total = np.array([alpha]) if self.is_dynamic else size * alpha
        p = partitions.cluster_probabilities(n_rows, size, total)
        return np.exp(log_p[log_p > -np.inf]) @ p

    def sample_sizes(
        self, n_rows: int, draws: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw K, inf for a Dirichlet process, and the sizes of the clusters of N rows.

        Parameters
        ----------
        n_rows, draws : int
        rng : numpy.random.Generator

        Returns
        -------
        n_components : ndarray (draws,)
        sizes : ndarray of int (draws, J)
            Largest first, 0 beyond the last cluster.
        """
        require_whole("n_rows", n_rows, 1)
        require_whole("draws", draws, 1)
        alpha = self._concentration.sample(draws, rng)
        if self.is_dirichlet_process:
            size = np.full(draws, np.inf)
        else:
            size = 1.0 + rng.choice(self._count.maximum, draws, p=np.exp(self.log_probabilities))
            alpha = size * self.gamma(size, alpha)
        return size, partitions.sample_sizes(n_rows, size, alpha, rng)

    @property
    def assumptions(self) -> tuple[str, str]:
        """The prior of K and that of the weights, in words."""
        gamma = "alpha / K" if self.is_dynamic else "alpha"
        weights = (
            "Weights: those of a Dirichlet process"
            if self.is_dirichlet_process
            else f"Weights given K: Dirichlet({gamma}, ...), {self.concentration}"
        )
        return f"Components, K: {self._count}", f"{weights}; {self._concentration}"

    def describe(self, n_rows: int | None = None) -> str:
        """Say in words what the prior assumes of K, the weights, and the number of clusters.

        Parameters
        ----------
        n_rows : int, optional
            N, for the number of clusters among N rows.

        Returns
        -------
        str

        Examples
        --------
        >>> print(NumberOfComponents("geometric", 0.5, alpha=1.0).describe(100))
        Components, K: K - 1 ~ geometric(0.5); mean 2, mode 1 (0.5), <= 5 with probability 0.969
        Weights given K: Dirichlet(alpha / K, ...), dynamic; alpha = 1
        Clusters of 100 rows, K+: mean 1.69, mode 1 (0.538), <= 3 with probability 0.952
        """
        of_components, of_weights = self.assumptions
        if not self.is_dirichlet_process:
            of_components += f"; {_typical(np.exp(self.log_probabilities))}"
        lines = [of_components, of_weights]
        if n_rows is not None:
            p = self.cluster_probabilities(n_rows)
            lines.append(f"Clusters of {n_rows} rows, K+: {_typical(p)}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.describe()


def _sizes(counts: ArrayOrLike) -> np.ndarray:
    """Check the sizes of clusters, (K+,)."""
    sizes = as_numbers("counts", counts)
    if sizes.ndim != 1 or not sizes.size or not ((sizes >= 1) & (sizes == np.floor(sizes))).all():
        raise InputError(
            f"counts must be whole numbers >= 1, the sizes of the clusters; got {counts!r}"
        )
    return sizes


def _require_positive(name: str, value: ArrayOrLike) -> None:
    if not (as_numbers(name, value) > 0).all():
        raise InputError(f"{name} must be positive; got {value!r}")


def _typical(p: np.ndarray) -> str:
    """Mean, mode and upper end of a distribution on 1, 2, ..., in words; p (M,)."""
    mode, reached = int(np.argmax(p)), p.cumsum()
    end = min(int(np.searchsorted(reached, LEVEL)), len(p) - 1)
    return (
        f"mean {p @ np.arange(1, len(p) + 1):.3g}, mode {mode + 1} ({p[mode]:.3g}), "
        f"<= {end + 1} with probability {min(reached[end], 1.0):.3g}"
    )
