"""The verbs: check the input, run the algorithm, label the outcome."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_gmm.arguments import (
    as_observations,
    as_prior,
    conjugate_to,
    in_memory,
    prior_of_posterior,
    require_seed,
    require_tolerance,
)
from bayes_gmm.errors import CollapseError, ConvergenceWarning, InputError, require_whole

if TYPE_CHECKING:
    import pymc as pm
    import xarray as xr

    from bayes_gmm.model.parameters import Parameters
    from bayes_gmm.model.prior_family import PriorFamily
    from bayes_gmm.model.priors import Prior
    from bayes_gmm.results.selection import Selection
    from bayes_gmm.results.standard_errors import StandardErrors


def simulate(parameters: Parameters, n: int, *, seed: int | None = None) -> xr.Dataset:
    r"""Draw data from a mixture by its generative story: the label first, then the row.

    .. math:: z_n \sim \mathrm{Categorical}(\phi), \qquad x_n \mid z_n = k \sim N(\mu_k, \Sigma_k)

    Parameters
    ----------
    parameters : Parameters
    n : int
        Number of rows.
    seed : int, optional

    Returns
    -------
    xarray.Dataset
        x (obs_id, feature), and the labels z (obs_id) that a real data set would not show.

    Raises
    ------
    InputError
        If n is not positive or parameters is something else.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> theta = bg.Parameters([0.3, 0.7], [[0.0], [5.0]], [[[1.0]], [[1.0]]])
    >>> bg.simulate(theta, 100, seed=1).sizes["obs_id"]
    100
    """
    from bayes_gmm.model import mixture
    from bayes_gmm.model.parameters import Parameters
    from bayes_gmm.results.labels import labelled

    if not isinstance(parameters, Parameters):
        raise InputError(
            f"parameters must be bayes_gmm.Parameters; got {type(parameters).__name__}"
        )
    require_whole("n", n, 1)
    require_seed(seed)
    x, z = mixture.sample(parameters, n, np.random.default_rng(seed))
    names = [f"x{j}" for j in range(parameters.n_features)]
    return labelled({"x": x, "z": z}, feature_names=names)


def fit(
    X: Any,
    n_components: int,
    *,
    covariance: str = "VVV",
    prior: Prior | str | None = None,
    equal_weights: bool = False,
    n_starts: int = 30,
    max_iter: int = 10_000,
    tol: float = 1e-10,
    seed: int | None = None,
) -> xr.DataTree:
    r"""Fit a mixture by EM: maximum likelihood, or the MAP estimate under a prior.

    .. math:: \hat\theta = \arg\max_\theta \sum_n \log \sum_k \phi_k N(x_n; \mu_k, \Sigma_k)
        + \log p(\theta)

    Parameters
    ----------
    X : array, DataFrame, DataArray or memmap (N, D)
        One row per observation; (N,) is taken as one feature.
    n_components : int
        K, the number of components.
    covariance : str
        Covariance structure: one of the 14 codes EII VII EEI VEI EVI VVI EEE VEE EVE VVE EEV VEV
        EVV VVV, or spherical, diag, tied, full; E or V for one feature.
    prior : None, "default" or Prior
        None is maximum likelihood; "default" is `Prior.default(X, n_components)`.
    equal_weights : bool
        Hold every weight at 1 / K, which leaves K - 1 parameters fewer to estimate.
    n_starts : int
        How many starting points are compared; the best go on, and the best of all is kept.
    max_iter : int
        Iterations allowed per start.
    tol : float
        A start has converged when its objective is within so many nats of its limit.
    seed : int, optional
        Fixes the starting points.

    Returns
    -------
    xarray.DataTree
        Group `point_estimate` has weights (cluster), means (cluster, feature) and covariances
        (cluster, feature, feature_bis) in the units of X, ordered by the mean of the first
        feature; `optimizer_result` has the log-likelihood, the objective per iteration and the
        final objective of every start.

    Raises
    ------
    InputError
        If the input cannot be used.
    CollapseError
        If every start lost a component.

    Warns
    -----
    ConvergenceWarning
        If the best start had not converged after max_iter iterations.

    References
    ----------
    Dempster, Laird & Rubin (1977), J. R. Statist. Soc. B 39; Fraley & Raftery (2007).

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> result = bg.fit(bg.datasets.load("faithful"), 2, seed=1)
    >>> round(float(result["optimizer_result"]["log_likelihood"]), 3)
    -1130.264
    """
    from bayes_gmm.inference import point
    from bayes_gmm.model.covariance import Structure
    from bayes_gmm.results.tree import point_tree

    require_whole("n_components", n_components, 1)
    require_whole("n_starts", n_starts, 1)
    require_whole("max_iter", max_iter, 1)
    require_seed(seed)
    require_tolerance(tol)
    observations = as_observations(X)
    structure = Structure.of(covariance, observations.n_features)
    chosen = as_prior(prior, observations, n_components)
    if chosen is not None and (chosen.concentration < 1).any():
        raise InputError(
            f"prior has a concentration of {chosen.concentration.min():g}, under which the density "
            "is infinite where a component is empty, so there is no MAP estimate: give 1 or more, "
            "or sample the posterior"
        )
    estimate = point.estimate(
        observations,
        n_components,
        chosen,
        structure,
        n_starts=n_starts,
        max_iter=max_iter,
        tol=tol,
        seed=seed,
        equal_weights=equal_weights,
    )
    result = point_tree(
        estimate.parameters,
        observations,
        chosen,
        estimate.optimizer,
        estimator="MLE" if chosen is None else "MAP",
        covariance=structure.label(observations.n_features),
        equal_weights=int(equal_weights),
        seed=seed,
    )
    if not result["optimizer_result"]["converged"]:
        warnings.warn(
            f"EM had not converged after {max_iter} iterations; raise max_iter",
            ConvergenceWarning,
            stacklevel=2,
        )
    return result


def select(
    X: Any,
    n_components: Iterable[int] = range(1, 10),
    *,
    covariance: str | Sequence[str] = "all",
    prior: str | None = None,
    criterion: str = "bic",
    n_starts: int = 30,
    max_iter: int = 10_000,
    tol: float = 1e-6,
    seed: int | None = None,
    cores: int | None = None,
    progressbar: bool = True,
) -> Selection:
    r"""Fit a grid of covariance structures and numbers of components, and choose among them.

    .. math:: \mathrm{BIC} = -2 L + p \log N

    Smaller is better; mclust prints the negative.

    Parameters
    ----------
    X : array, DataFrame, DataArray (N, D)
    n_components : iterable of int
    covariance : "all", str or sequence of str
        Structures; "all" are the 14, or E and V for one feature.
    prior : None or "default"
        As for `fit`; the default prior is made for each number of components.
    criterion : str
        "bic", "icl" or "aic".
    n_starts, max_iter, tol, seed
        As for `fit`.
    cores : int, optional
        Fits worked on at a time; one per core by default. It changes no result.
    progressbar : bool

    Returns
    -------
    Selection
        Prints as a table; `.dataset` (covariance, n_components), `.best` (a result of `fit`).

    Raises
    ------
    InputError
        If the input cannot be used.
    CollapseError
        If no fit of the grid could be made.

    References
    ----------
    Schwarz (1978); Fraley & Raftery (2002), J. Amer. Statist. Assoc. 97.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> found = bg.select(bg.datasets.load("faithful"), [2, 3], covariance=["EEE", "VVV"],
    ...                   seed=1, progressbar=False)
    >>> found.best.attrs["covariance"], found.best.attrs["n_components"]
    ('EEE', 3)
    """
    from bayes_gmm.inference.grid import Cell, fit_grid
    from bayes_gmm.model.covariance import CODES, Structure
    from bayes_gmm.progress import progress
    from bayes_gmm.results.criteria import NAMES
    from bayes_gmm.results.selection import Fitted, selection

    require_seed(seed)
    require_tolerance(tol)
    require_whole("n_starts", n_starts, 1)
    require_whole("max_iter", max_iter, 1)
    sizes = list(n_components)
    for size in sizes:
        require_whole("n_components", size, 1)
    if not sizes:
        raise InputError("n_components is empty; give at least one number, such as range(1, 10)")
    if criterion not in NAMES:
        raise InputError(f"criterion is {criterion!r}; choose one of {', '.join(NAMES)}")
    observations = as_observations(X)
    if isinstance(covariance, str):
        covariance = CODES if covariance == "all" else [covariance]
    structures = list(
        dict.fromkeys(Structure.of(name, observations.n_features) for name in covariance)
    )
    cells = [
        Cell(structure, size, as_prior(prior, observations, size))
        for structure in structures
        for size in sizes
    ]
    with progress(len(cells), "fits", shown=progressbar) as done:
        cells = fit_grid(
            observations,
            cells,
            n_starts=n_starts,
            max_iter=max_iter,
            tol=tol,
            seed=seed,
            cores=cores,
            done=done,
        )
    fits = []
    for cell in cells:
        what = cell.structure.label(observations.n_features), cell.n_components, cell.prior
        if isinstance(cell.outcome, CollapseError):
            fits.append(Fitted(*what, None, {}, str(cell.outcome)))
        else:
            fits.append(Fitted(*what, cell.outcome.parameters, cell.outcome.optimizer, "ok"))
    return selection(observations, fits, criterion, seed)


def parameters(result: Any) -> Parameters:
    """Read the point estimate of a result as `Parameters`.

    Parameters
    ----------
    result : DataTree or Parameters
        From `fit`; from `sample` it is the point that the draws are labelled by.

    Returns
    -------
    theta : Parameters

    Raises
    ------
    InputError
        If the result has no point estimate.
    """
    from bayes_gmm.results.tree import point_parameters

    return point_parameters(result)


def standard_errors(
    result: Any,
    X: Any = None,
    *,
    method: str = "observed",
    n_bootstrap: int = 200,
    ci_prob: float = 0.95,
    seed: int | None = None,
    cores: int | None = None,
    progressbar: bool = True,
) -> StandardErrors:
    r"""Standard errors of a point estimate, without sampling.

    .. math:: \mathrm{cov}(\hat\theta) \approx H^{-1}, \qquad H^{-1} J H^{-1}, \qquad
        H = -\nabla^2 \log p(x, \hat\theta), \quad J = \sum_n s_n s_n^\top

    Parameters
    ----------
    result : DataTree
        A result of `fit`, or the best of `select`.
    X : table, optional
        The data of the fit, where the result does not keep them.
    method : str
        "observed": the exact curvature of the log-likelihood, and of the prior with a MAP estimate.
        "sandwich": the same, and valid too where the model is not quite right. "bootstrap": refits
        of rows drawn with replacement. "weighted": refits of rows with Dirichlet weights.
    n_bootstrap : int
        Refits of the last two.
    ci_prob : float
        Probability of the intervals, equal-tailed: percentiles of the refits, or by the normal
        distribution on a scale where the number has no bounds.
    seed : int, optional
        Fixes the refits.
    cores : int, optional
        Refits worked on at a time; one per core by default. It changes no result.
    progressbar : bool

    Returns
    -------
    StandardErrors
        Prints as a table; `.table`, `.dataset` (parameter). All in the units of X.

    Raises
    ------
    InputError
        If the input cannot be used.
    CollapseError
        If fewer than two refits kept their components.

    Warns
    -----
    IdentificationWarning
        If the objective is flat at the estimate, or a saddle; what depends on such a direction has
        no standard error.
    ConvergenceWarning
        If the estimate is not a maximum for these data.
    CollapseWarning
        If some refits lost a component.

    References
    ----------
    Louis (1982), J. R. Statist. Soc. B 44; White (1982), Econometrica 50; Efron (1979), Ann.
    Statist. 7; Newton & Raftery (1994), J. R. Statist. Soc. B 56.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> fit = bg.fit(bg.datasets.load("faithful"), 2, seed=1)
    >>> errors = bg.standard_errors(fit)
    >>> round(float(errors.table.loc["mean[0, eruptions]", "standard error"]), 3)
    0.027
    """
    from bayes_gmm.inference.bootstrap import SCHEMES, bootstrap
    from bayes_gmm.progress import progress
    from bayes_gmm.results.error_bars import from_curvature, from_replicates
    from bayes_gmm.results.fitted import Fitted
    from bayes_gmm.results.predictive import tails
    from bayes_gmm.results.standard_errors import SOURCES

    if method not in SOURCES:
        raise InputError(f"method is {method!r}; choose one of {', '.join(SOURCES)}")
    require_whole("n_bootstrap", n_bootstrap, 1)
    if n_bootstrap == 1:
        raise InputError("n_bootstrap is 1, and one refit has no spread; ask for two at least")
    tails(ci_prob)
    fitted = Fitted.of(result, X)
    if method not in SCHEMES:
        return from_curvature(fitted, method=method, ci_prob=ci_prob)
    with progress(n_bootstrap, "refits", shown=progressbar) as done:
        found = bootstrap(
            in_memory(fitted.observations, "the bootstrap"),
            fitted.parameters,
            fitted.prior,
            fitted.structure,
            equal_weights=fitted.equal_weights,
            scheme=method,
            n_replicates=n_bootstrap,
            seed=seed,
            cores=cores,
            done=done,
        )
    return from_replicates(
        fitted,
        found.weights,
        found.means,
        found.covariances,
        method=method,
        ci_prob=ci_prob,
        replicate=found.replicate,
        n_bootstrap=n_bootstrap,
        n_made=found.n_made,
        n_collapsed=found.n_collapsed,
        n_unconverged=int((~found.converged).sum()),
        seed=seed,
    )


def pymc_model(
    X: Any,
    n_components: int,
    *,
    prior: Prior | PriorFamily | Callable[[], tuple] | str = "default",
    likelihood: str = "fused",
) -> pm.Model:
    r"""Build the mixture as an ordinary PyMC model, to sample from or to extend by hand.

    .. math:: \phi, \mu, \Sigma \sim \mathrm{prior}, \qquad
        x_n \sim \textstyle\sum_k \phi_k N(\mu_k, \Sigma_k)

    Parameters
    ----------
    X : array, DataFrame, DataArray (N, D)
    n_components : int
        K.
    prior : "default", Prior, IndependentPrior, HierarchicalPrior or callable
        Or any prior at all: a function without arguments that is called inside the model, where
        the dims cluster, feature and feature_bis exist, and returns weights (K,), means (K, D)
        and lower Cholesky factors (K, D, D) made from PyMC distributions.
    likelihood : str
        "fused": the whole mixture as one operation, whose value and gradient come from one pass
        over the rows. "mixture": `pymc.Mixture` over a batch of multivariate normal components,
        the same density and slower.

    Returns
    -------
    pymc.Model
        With variables weights (cluster), means (cluster, feature), covariances
        (cluster, feature, feature_bis) in the units of X, and the observed x (obs_id, feature).

    Raises
    ------
    InputError
        If the input cannot be used.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> model = bg.pymc_model(bg.datasets.load("faithful"), 2)
    >>> sorted(model.named_vars)[0]
    'covariances'
    """
    from bayes_gmm.inference.pymc_model import pymc_model as build

    require_whole("n_components", n_components, 1)
    observations = in_memory(as_observations(X))
    chosen = prior_of_posterior(prior, observations, n_components)
    return build(observations, chosen, likelihood=likelihood, n_components=n_components)


def sample(
    X: Any,
    n_components: int,
    *,
    prior: Prior | PriorFamily | Callable[[], tuple] | str = "default",
    engine: str = "auto",
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    cores: int | None = None,
    seed: int | None = None,
    progressbar: bool = True,
) -> xr.DataTree:
    r"""Draw from the posterior of the mixture, every draw's components matched to the MAP estimate.

    .. math:: p(\theta \mid x) \propto p(\theta) \prod_n \sum_k \phi_k N(x_n; \mu_k, \Sigma_k)

    Parameters
    ----------
    X : array, DataFrame, DataArray (N, D)
    n_components : int
        K.
    prior : "default", Prior, IndependentPrior, HierarchicalPrior or callable
        As for `pymc_model`.
    engine : str
        "gibbs": labels and parameters in turn, one pass over the rows a sweep. "nuts": NUTS on a
        gradient written by hand. Both need the conjugate `Prior`. "pymc": NUTS on `pymc_model`,
        for any prior. "auto": gibbs where the prior is conjugate, thinned by as much as the overlap
        of the components asks for, nuts where they are all but indistinguishable; else pymc. Gibbs
        chains that `diagnose` would call too short are made longer, if that takes seconds: the
        draws are as many, and further apart.
    draws, tune : int
        Draws kept per chain, and draws made before them.
    chains : int
        Each starts from one of the optima that hold an appreciable share of the posterior, spread
        about it twice as wide as the posterior is, its components in random order.
    cores : int, optional
        How many chains run at a time; it changes the time taken and nothing else.
    seed : int, optional
        Fixes the starts and the draws.
    progressbar : bool

    Returns
    -------
    xarray.DataTree
        `posterior` has weights (chain, draw, cluster), means (..., feature) and covariances
        (..., feature_bis) in the units of X, relabelled; `sample_stats` has the `permutation` that
        did it, so that the raw draws can be had back; `invariants` has quantities that no
        relabelling changes; `point_estimate` is the MAP estimate that names the components. After
        an interrupt it holds what was drawn by then, and the attribute `partial` is 1.

    Raises
    ------
    InputError
        If the input cannot be used.

    Warns
    -----
    ConvergenceWarning
        If the run was interrupted.

    References
    ----------
    Diebolt & Robert (1994), J. R. Statist. Soc. B 56, on Gibbs; Hoffman & Gelman (2014), J. Mach.
    Learn. Res. 15, on NUTS; Stephens (2000) on the relabelling.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> posterior = bg.sample(bg.datasets.load("faithful"), 2, seed=1, progressbar=False)
    >>> bg.diagnose(posterior).converged
    True
    """
    from bayes_gmm.inference import dispersed, engines, point
    from bayes_gmm.inference.settings import require_settings
    from bayes_gmm.model.covariance import UNCONSTRAINED
    from bayes_gmm.results.length import long_enough
    from bayes_gmm.results.posterior_tree import posterior_tree

    require_whole("n_components", n_components, 1)
    require_settings(draws, tune, chains, cores, seed)
    observations = in_memory(as_observations(X))
    chosen = prior_of_posterior(prior, observations, n_components)
    engines.check(engine, chosen)
    # EM, the starts and the names of the draws need a conjugate prior with a mode.
    conjugate = conjugate_to(chosen, observations, n_components)
    found = point.estimate(
        observations,
        n_components,
        replace(conjugate, concentration=np.maximum(conjugate.concentration, 1)),
        UNCONSTRAINED,
        seed=seed,
    )
    choice = engines.choose(engine, observations, found.parameters, chosen)
    for sampled in engines.run(
        choice,
        observations,
        chosen,
        dispersed.starts(found, conjugate, chains, seed),
        draws=draws,
        tune=tune,
        cores=cores,
        seed=seed,
        progressbar=progressbar,
    ):
        result = posterior_tree(
            sampled,
            found.parameters,
            observations,
            chosen,
            engine=choice.engine,
            sampler=engines.SAMPLERS[choice.engine],
            thin=sampled.attrs.get("thin", 1),
            seed=seed,
            tune=tune,
        )
        if long_enough(result):
            break
    if result.attrs["partial"]:
        warnings.warn(
            f"the run was interrupted; the result holds {result.attrs['draws']} draws of each of "
            f"{result.attrs['chains']} chains",
            ConvergenceWarning,
            stacklevel=2,
        )
    return result
