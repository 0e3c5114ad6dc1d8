"""`GaussianMixture` with scikit-learn's interface; scikit-learn checks the input, we fit."""

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning as TheirConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, validate_data

from bayes_gmm.arguments import as_prior
from bayes_gmm.data import Observations
from bayes_gmm.data.row_weights import enough, scale_free
from bayes_gmm.errors import CollapseError as OurCollapseError
from bayes_gmm.errors import ConvergenceWarning as OurConvergenceWarning
from bayes_gmm.errors import InputError
from bayes_gmm.inference.em import em, point
from bayes_gmm.model.normal import inverse_factors
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import ALIASES, Structure, names
from bayes_gmm.sklearn.fitted import FLOATS, FittedMixture, compact, expected_shape
from bayes_gmm.sklearn.starts import KINDS, Given, check_given, starts_of


class CollapseError(OurCollapseError, ValueError):
    """A component collapsed in every EM run; scikit-learn raises a ValueError for it."""


class ConvergenceWarning(OurConvergenceWarning, TheirConvergenceWarning):
    """EM stopped before it converged."""


class GaussianMixture(FittedMixture):
    """Gaussian mixture, by maximum likelihood or under a prior.

    Parameters, attributes and methods are those of `sklearn.mixture.GaussianMixture`. The fit is
    that of `bayes_gmm.fit`: many starts, a search for the best optimum, and EM to convergence.

    Parameters
    ----------
    n_components : int
        K.
    covariance_type : str
        "full", "tied", "diag" or "spherical"; or one of the 14 codes EII VII EEI VEI EVI VVI EEE
        VEE EVE VVE EEV VEV EVV VVV, or E and V for one feature.
    tol : float
        Tolerance in nats. EM stops when the total log-likelihood is estimated to be within `tol`
        of its limit. scikit-learn stops when a step gains less than `tol` per row, 0.001 by
        default, which may be far from the limit.
    reg_covar : float
        Variance of an isotropic normal measurement error of each row, 0 by default. As in
        scikit-learn, the M-step adds `reg_covar` to every variance; here this is EM for a proper
        objective that never decreases, a lower bound of the expected log-likelihood under the
        measurement error. scikit-learn's default is 1e-6, whatever the units of the data.
    max_iter : int
        Largest number of iterations of an EM run. 0 returns the start itself.
    n_init : int
        Amount of work. With init_params="search", 30 starts for each unit; otherwise the number of
        starts, from each of which EM runs to convergence.
    init_params : str
        "search" is the search of `bayes_gmm.fit`. The others are starts for plain EM: "kmeans",
        "k-means++" and "random_from_data" label each row by the nearest of K points, and "random"
        draws random responsibilities. Distances are in standard deviations of the features, unless
        `covariance_type` requires all features to have the same unit.
    weights_init : array_like (K,), optional
    means_init : array_like (K, D), optional
    precisions_init : array_like, optional
        In the shape of `precisions_`. If any of the three is given, there is no search. If all are
        given, EM starts there. Otherwise the missing ones are computed from responsibilities around
        the given means or, without means, from `init_params` ("k-means++" for "search").
    random_state : int, RandomState or None
        Fixes the starts, and the draws of `sample`.
    warm_start : bool
        Continue from the previous fit.
    verbose : int
        When the fit is done, 1 prints how it ended, and 2 also prints the lower bounds of its
        iterations.
    verbose_interval : int
        Number of iterations between printed lower bounds.
    prior : None, "default" or ConjugatePrior
        None is maximum likelihood. Otherwise the estimate is the posterior mode, as in
        `bayes_gmm.fit`.

    Attributes
    ----------
    weights_ : ndarray (K,)
    means_ : ndarray (K, D)
    covariances_, precisions_, precisions_cholesky_ : ndarray
        (K, D, D) for "full" and for the codes, (D, D) for "tied", (K, D) for "diag", (K,) for
        "spherical". A precision is P P' with P its upper triangular factor.
    converged_ : bool
        Whether EM converged to within `tol`.
    n_iter_ : int
        Number of iterations of the best EM run.
    lower_bound_ : float
        Objective per row: the mean log-likelihood, plus log prior / N if there is a prior.
    lower_bounds_ : list of float
        The same after each iteration; it never decreases.
    n_features_in_ : int
    feature_names_in_ : ndarray
        Only if the columns of X have names.

    Notes
    -----
    With init_params="search" components are ordered by the mean of the first feature; otherwise
    they keep the order of the start. All computations are in float64. A constant column is an
    error, and so is a column that is linearly dependent on others if covariances have correlations.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> from bayes_gmm.sklearn import GaussianMixture
    >>> model = GaussianMixture(2, random_state=0).fit(bg.datasets.load("faithful"))
    >>> model.means_.round(1)
    array([[ 2. , 54.5],
           [ 4.3, 80. ]])
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [StrOptions({*names(), *ALIASES, "E", "V"})],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions({"search", *KINDS})],
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
        "prior": [StrOptions({"default"}), ConjugatePrior, None],
    }

    _last_gain: float  # what a warm start of a single iteration compares its own gain with

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-10,
        reg_covar: float = 0.0,
        max_iter: int = 10_000,
        n_init: int = 1,
        init_params: str = "search",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        prior: ConjugatePrior | str | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.prior = prior

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Estimate the parameters by EM.

        Parameters
        ----------
        X : array_like (N, D)
        y : None
            Not used.
        sample_weight : array_like (N,), optional
            Row weights: 2 has the same effect as repeating the row. Without a prior, only the
            ratios of the weights matter; with a prior, their sum is the number of rows.

        Returns
        -------
        self : GaussianMixture
        """
        rows = validate_data(self, X, dtype=FLOATS, ensure_min_samples=2)
        observations = Observations.of(X if isinstance(X, np.memmap) else rows)  # stays on disk
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, rows, ensure_non_negative=True)
            observations = observations.weighted(
                scale_free(weights) if self.prior is None else enough(weights)
            )
        structure = Structure.of(self.covariance_type, observations.n_features)
        goes_on = self.warm_start and hasattr(self, "converged_")
        before = self.lower_bound_ if goes_on else -np.inf
        try:
            estimate = point.estimate(
                observations,
                self.n_components,
                as_prior(self.prior, observations, self.n_components),
                structure,
                n_starts=point.N_STARTS * self.n_init,
                max_iter=self.max_iter,
                tol=self.tol,
                seed=self._seed(),
                starts=self._starts(observations, structure, goes_on),
                reg_covar=self.reg_covar,
            )
        except OurCollapseError as error:
            raise CollapseError(str(error)) from None
        self._lay_out(estimate.parameters)
        self._tell(estimate.optimizer, observations.total_weight, before)
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """Fit, and label each row by its most probable component.

        Parameters
        ----------
        X : array_like (N, D)
        y : None
            Not used.
        sample_weight : array_like (N,), optional

        Returns
        -------
        ndarray of int (N,)
        """
        return self.fit(X, y, sample_weight=sample_weight).predict(X)

    def _starts(
        self, observations: Observations, structure: Structure, goes_on: bool
    ) -> point.Starts | None:
        """Return the starts of EM, or None for the search."""
        kind, sizes = self.init_params, (self.n_components, observations.n_features)
        if goes_on:
            if self.means_.shape != sizes or self.covariances_.shape != expected_shape(
                self.covariance_type, *sizes
            ):
                raise InputError(
                    f"warm_start needs the same sizes and covariance_type as the previous fit, "
                    f"which has {len(self.means_)} components and {self.means_.shape[1]} features: "
                    "set warm_start=False"
                )
            parameters = self._parameters()
            given = Given(parameters.weights, parameters.means, parameters.covariances)
        else:
            given = check_given(
                self.weights_init,
                self.means_init,
                self.precisions_init,
                kind=self.covariance_type,
                n_components=sizes[0],
                n_features=sizes[1],
            )
        if kind == "search":
            if not given.n_known:
                return None
            kind = "k-means++"
        view = structure.standardized(observations)
        return starts_of(given.standardized(view), kind, sizes[0], self.n_init, structure)

    def _lay_out(self, parameters: Parameters) -> None:
        """Set the public attributes that describe the mixture."""
        kind = self.covariance_type
        factors = inverse_factors(parameters.choleskys).swapaxes(1, 2)
        self.weights_ = np.array(parameters.weights)
        self.means_ = np.array(parameters.means)
        self.covariances_ = compact(parameters.covariances, kind)
        self.precisions_cholesky_ = compact(factors, kind)
        self.precisions_ = compact(factors @ factors.swapaxes(1, 2), kind)

    def _tell(self, optimizer: dict[str, Any], n_rows: float, before: float) -> None:
        """Set the public attributes that describe the fit, print according to `verbose`, warn."""
        objective = optimizer["objective"]
        converged = bool(optimizer["converged"])
        gains = np.diff(objective)
        if len(gains) == 1 and np.isclose(objective[0] / n_rows, before, rtol=1e-9):
            # Consecutive warm starts of one iteration each are one EM run.
            rounding = em.UNCHANGED * abs(objective[-1])
            converged |= em.remaining_gain([self._last_gain, gains[0]], rounding) <= self.tol
        self._last_gain = float(gains[-1]) if len(gains) else np.inf
        self.converged_ = converged
        self.n_iter_ = len(gains)
        self.lower_bound_ = float(objective[-1] / n_rows)
        self.lower_bounds_ = (objective[1:] / n_rows).tolist()
        if self.verbose:
            self._print(len(optimizer["start_objective"]))
        if not converged and self.max_iter > 0:
            warnings.warn(
                f"EM did not converge in {self.n_iter_} iterations; raise max_iter or tol",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _print(self, n_starts: int) -> None:
        if self.verbose > 1:
            for i in range(0, self.n_iter_, self.verbose_interval):
                print(f"iteration {i + 1}: lower bound {self.lower_bounds_[i]:.8f}")
        end = "converged" if self.converged_ else "not converged"
        print(
            f"{n_starts} start{'s' * (n_starts != 1)}: {end} after {self.n_iter_} iterations, "
            f"lower bound {self.lower_bound_:.8f}"
        )
