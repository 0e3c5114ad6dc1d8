"""The posterior, as a PyMC model and as draws."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bayes_gmm.api.groups import MEMORY, PRIOR_DRAWS, added
from bayes_gmm.arguments import (
    as_observations,
    conjugate_to,
    in_memory,
    number_of,
    prior_of_posterior,
    prior_of_unknown,
    structure_of_posterior,
)
from bayes_gmm.errors import ConvergenceWarning, require_whole
from bayes_gmm.seeds import as_seed

if TYPE_CHECKING:
    import pymc as pm
    import xarray as xr

    from bayes_gmm.model.number_of_components import NumberOfComponents
    from bayes_gmm.model.prior_family import PriorFamily
    from bayes_gmm.model.priors import ConjugatePrior
    from bayes_gmm.seeds import Seed

MOVES = ("split_acceptance", "merge_acceptance")
LATER = "omit groups here, and call bg.add_groups on a thinned posterior"


def pymc_model(
    X: Any,
    n_components: int,
    *,
    prior: ConjugatePrior | PriorFamily | Callable[[], Any] | str = "default",
    likelihood: str = "fused",
    row_weights: Any = None,
) -> pm.Model:
    r"""Build the mixture as an ordinary PyMC model, to sample from or to extend.

    .. math:: \phi, \mu, \Sigma \sim \mathrm{prior}, \qquad
        x_n \sim \textstyle\sum_k \phi_k N(\mu_k, \Sigma_k)

    Parameters
    ----------
    X : array, DataFrame, DataArray (N, D)
    n_components : int
        K.
    prior : "default", a prior or callable
        A `ConjugatePrior`, `SemiconjugatePrior`, `HierarchicalPrior` or `IndependentPrior`. A
        callable gives any other prior: a function without arguments that is called inside the
        model context, where the dims cluster, feature and feature_bis exist, and returns weights
        (K,), means (K, D) and lower Cholesky factors (K, D, D) built from PyMC distributions. It
        may instead return a dict of fields of `ConjugatePrior`, any of which may be random
        variables: the prior is then conjugate given these. Fields that are not in the dict are
        those of `ConjugatePrior.default`.
    likelihood : str
        "fused": the whole mixture as one operation, whose value and gradient come from one pass
        over the rows. "mixture": `pymc.Mixture` over a batch of multivariate normal components;
        the density is the same, but slower to compute.
    row_weights : array_like (N,), optional
        How often each observation was seen, any number >= 0: the log density of the row is
        multiplied by it. The model has them as the data container "row_weights" (obs_id).

    Returns
    -------
    pymc.Model
        With variables weights (cluster), means (cluster, feature), covariances
        (cluster, feature, feature_bis) in the units of X, and the observed x (obs_id, feature).
        `from_trace` converts its draws, or those of a model that extends it, into a result.

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
    from bayes_gmm.inference.pymc.model import pymc_model as build

    require_whole("n_components", n_components, 1)
    observations = as_observations(X, prior, row_weights)
    in_memory(observations, "pymc_model needs all rows in memory")
    chosen = prior_of_posterior(prior, observations, n_components)
    return build(observations, chosen, likelihood=likelihood, n_components=n_components)


def sample(
    X: Any,
    n_components: int | NumberOfComponents | None,
    *,
    covariance: str = "VVV",
    prior: ConjugatePrior | PriorFamily | Callable[[], Any] | str = "default",
    engine: str = "auto",
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    cores: int | None = None,
    seed: Seed = None,
    progressbar: bool = True,
    groups: str | Sequence[str] = (),
    row_weights: Any = None,
    missing: str = "refuse",
) -> xr.DataTree:
    r"""Draw from the posterior of the mixture, and relabel the components of every draw.

    .. math:: p(\theta \mid x) \propto p(\theta) \prod_n \sum_k \phi_k N(x_n; \mu_k, \Sigma_k)

    Parameters
    ----------
    X : array, DataFrame, DataArray (N, D), or rows read block by block as for `fit`
        Gibbs reads such rows once per sweep and chain, so a memory-mapped array is faster than a
        CSV file. The result keeps no copy of them, nor of more than 10^6 rows.
    n_components : int, NumberOfComponents or None
        K; or its prior, if it is unknown, None for the default one. K is then drawn with the
        parameters, by the telescoping sampler with moves that split and merge clusters. Draws have
        as many components as needed, are not relabelled, and answer whatever does not depend on
        labels; `given` gives the draws of one number of clusters, relabelled.
    covariance : str
        Covariance structure: EII VII EEI VVI EEE VVV, or spherical, diag, tied, full, as in `fit`.
        Structures other than VVV need the `ConjugatePrior`, from which the prior of the structure
        is derived: see "Structures" on the page "From posterior to answers".
    prior : "default", a prior or callable
        As for `pymc_model`. An unknown number of components needs one that can be drawn: a
        `HierarchicalPrior`, the default, or a `ConjugatePrior`, the default of structures other
        than VVV, of which the first component counts for all.
    engine : str
        "gibbs": labels and parameters in turn, with one pass over the rows per sweep. Draws are
        thinned automatically: the more the components overlap, the more sweeps per stored draw.
        Chains that would fail `diagnose` are extended if that takes only seconds. `attrs["thin"]`
        is the number of sweeps per stored draw. "nuts": NUTS with a hand-written gradient. Both
        need the `ConjugatePrior`. "pymc": NUTS on `pymc_model`, for any prior. "auto": gibbs for a
        conjugate prior, or nuts if components are almost indistinguishable or row weights are not
        whole numbers; pymc for any other prior. "vb": variational Bayes, independent draws from the
        distribution of the prior's family that is closest to the posterior,

        .. math:: q = \arg\max_q \; E_q \log p(x, z, \theta) - E_q \log q(z) q(\theta)
            \le \log p(x)

        which takes seconds for millions of rows, understates uncertainty where components overlap,
        and describes one mode and one order of the components. `diagnose` says how far it is from
        the posterior. It needs the `ConjugatePrior`; a small concentration switches components off
        that the data do not support.
    draws, tune : int
        Draws kept per chain, and tuning steps before them: sweeps of Gibbs, draws of NUTS. Draws
        of "vb" are independent and need no tuning.
    chains : int
        Number of chains. Each starts at a random point around one of the optima with appreciable
        posterior mass, overdispersed by a factor of two, with its components in random order.
    cores : int, optional
        How many chains run in parallel; it does not change the result.
    seed : int, SeedSequence or Generator, optional
        Fixes the starts and the draws.
    progressbar : bool
    groups : str or sequence of str
        Groups to add, as with `add_groups`, such as "log_likelihood" for ``az.loo``; with 1000
        draws of the prior, and up to 1 GiB in total.
    row_weights : array_like (N,), optional
        How often each observation was seen, :math:`w_n \ge 0`: the density of the row is raised to
        this power, so a whole number has the same effect as repeating the row. The result keeps
        them as the coordinate `row_weights` of `observed_data`, and later functions use them.
        Gibbs takes whole numbers only, the others any; "auto" chooses accordingly. X must be in
        memory.
    missing : "refuse" or "mar"
        As in `fit`: nan marks an entry that is missing at random. Gibbs draws missing entries
        together with the labels and does not store them; NUTS integrates them out, "vb" has a
        normal distribution of them for each row and label; PyMC needs complete rows.

    Returns
    -------
    xarray.DataTree
        `posterior` has weights (chain, draw, cluster), means (..., feature) and covariances
        (..., feature_bis) in the units of X, relabelled, and any other variables of the model,
        permuted in the same way along cluster. `sample_stats` has the `permutation` of each draw,
        from which the raw draws can be recovered. `invariants` has label-invariant quantities.
        `point_estimate` is the optimum of EM that is closest to most draws, usually the MAP
        estimate; it determines the labels of the components. After an interrupt the result has the
        draws made so far, and its attribute `partial` is 1. Where K is unknown, `posterior` also
        has `n_components`, `n_clusters`, the number of components that hold rows, and `alpha`;
        components beyond K have weight 0, and the attributes
        `split_acceptance` and `merge_acceptance` are shares of the proposed moves.
        With "vb", the group `variational` has the fields of q as
        those of `ConjugatePrior` (`degrees_of_freedom` and `scale` as they count for the
        structure), the lower bound by iteration (`elbo`) and of every start, the log mass that it
        bounds of each optimum that was followed, in one order of the components, and whether it
        converged; the attribute `elbo` is the final bound.

    Raises
    ------
    InputError
        If the input cannot be used.

    Warns
    -----
    ConvergenceWarning
        If the run was interrupted, or variational Bayes reached its limit of iterations.

    References
    ----------
    Diebolt & Robert (1994), J. R. Statist. Soc. B 56, on Gibbs; Hoffman & Gelman (2014), J. Mach.
    Learn. Res. 15, on NUTS; Bishop (2006), sec. 10.2, on variational Bayes; Stephens (2000) on the
    relabelling; Fruehwirth-Schnatter, Malsiner-Walli & Gruen (2021), Bayesian Analysis 16, and Jain
    & Neal (2004), J. Comput. Graph. Stat. 13, on unknown K.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> posterior = bg.sample(bg.datasets.load("faithful"), 2, seed=1, progressbar=False)
    >>> bg.diagnose(posterior).converged
    True
    """
    from bayes_gmm.inference import dispersed, engines, unknown_number
    from bayes_gmm.inference.em import point
    from bayes_gmm.inference.gibbs.gibbs import require_counts
    from bayes_gmm.inference.settings import require_settings
    from bayes_gmm.model.structures import Structure
    from bayes_gmm.model.structures.prior import within
    from bayes_gmm.results.groups import OF_ROWS, require_groups, require_room
    from bayes_gmm.results.tree import posterior_tree

    number = number_of(n_components)
    k: Any = n_components  # where there is no prior of it
    seed = as_seed(seed)
    require_settings(draws, tune, chains, cores, seed)
    observations = as_observations(X, prior, row_weights, missing)
    structure = Structure.named(covariance, observations.n_features)
    if number is None:
        chosen: Any = prior_of_posterior(prior, observations, k)
    else:
        chosen = prior_of_unknown(prior, observations, structure, engine)
    engines.check(engine, chosen)
    engines.completes(engine, chosen, observations)
    structure = structure_of_posterior(covariance, observations.n_features, engine, chosen)
    if engine == "gibbs" or number is not None:
        require_counts(observations)
    if not engines.reads_blocks(engine, chosen):
        in_memory(
            observations,
            'only engine="gibbs" and "vb", with a prior that they draw from, support that',
        )
    names = require_groups(groups)
    if not {*OF_ROWS}.isdisjoint(names):
        in_memory(observations, f"groups={groups!r} needs all rows in memory")
    room = k if number is None else number.log_probabilities.size
    shape = observations.n_rows, observations.n_features, room
    require_room(names, chains * draws, PRIOR_DRAWS, shape, MEMORY, LATER)
    settings = {"draws": draws, "tune": tune, "cores": cores, "progressbar": progressbar}
    if number is not None:
        choice = engines.Choice("gibbs")
        drawn = unknown_number.run(
            observations, chosen, number, structure, chains=chains, seed=seed, **settings
        )
    else:
        # EM, the starts and the labels of the draws need a conjugate prior with a mode.
        conjugate = conjugate_to(chosen, observations, k)
        found = point.mode(observations, k, conjugate, structure, seed=seed)
        choice = engines.choose(engine, observations, found.parameters, chosen, structure)
        drawn = engines.run(
            choice,
            observations,
            chosen,
            dispersed.starts(found, conjugate, chains, seed, structure),
            found.mixtures,
            structure,
            exchangeable=conjugate.is_exchangeable,
            seed=seed,
            **settings,
        )
    result = posterior_tree(
        drawn.sampled,
        drawn.pivot,
        observations,
        chosen,
        structure,
        drawn.label_invariant,
        number,
        **{name: drawn.sampled.attrs[name] for name in MOVES if name in drawn.sampled.attrs},
        engine=choice.engine,
        sampler=engines.SAMPLERS[choice.engine],
        thin=drawn.thin,
        seed=seed,
        tune=tune,
        missing=missing,
        covariance=structure.label(observations.n_features),
    )
    if result.attrs["partial"]:
        warnings.warn(
            f"Sampling was interrupted. The result has {result.attrs['draws']} draws of each of "
            f"{result.attrs['chains']} chains.",
            ConvergenceWarning,
            stacklevel=2,
        )
    if "variational" in result.children and not result["variational"]["converged"]:
        warnings.warn(
            f"Variational Bayes stopped after {result['variational'].sizes['iteration'] - 1} "
            "iterations before its lower bound was within tolerance of its limit.",
            ConvergenceWarning,
            stacklevel=2,
        )
    if not names:
        return result
    rows = observations.values, observations.index
    own = within(chosen, structure)
    return added(result, names, rows, own, observations, seed=seed)
