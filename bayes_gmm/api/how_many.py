"""How many clusters: every criterion on the same data, side by side."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_gmm.api.select import as_sizes, fitted
from bayes_gmm.arguments import as_observations, as_prior, in_memory, structure_of_posterior
from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.seeds import as_seed

if TYPE_CHECKING:
    from bayes_gmm.data import Observations
    from bayes_gmm.model.structures import Structure
    from bayes_gmm.results.how_many import HowMany
    from bayes_gmm.results.selection import Fitted
    from bayes_gmm.seeds import Seed

OF_FITS = ("bic", "icl", "aic", "modes")
OF_POSTERIORS = ("loo", "evidence")
NAMES = (*OF_FITS, "bootstrap", *OF_POSTERIORS)
TOLERANCE, MAX_ITER = 1e-10, 10_000  # the defaults of `select`


def how_many(
    X: Any,
    n_components: Iterable[int] = range(1, 10),
    *,
    criteria: str | Sequence[str] = "all",
    covariance: str = "VVV",
    prior: str | None = None,
    row_weights: Any = None,
    missing: str = "refuse",
    n_starts: int = 30,
    n_bootstrap: int = 99,
    draws: int = 1000,
    seed: Seed = None,
    cores: int | None = None,
    progressbar: bool = True,
) -> HowMany:
    r"""Ask how many clusters there are, by every criterion, and say where they agree.

    .. math:: \mathrm{BIC}_K, \quad \mathrm{ICL}_K, \quad \mathrm{elpd}_K, \quad \log p(x \mid K),
        \quad p(K \mid x), \quad \ldots

    Parameters
    ----------
    X : array, DataFrame, DataArray (N, D)
    n_components : iterable of int
        Numbers to try. The posterior of K is not restricted to them.
    criteria : "all", str or sequence of str
        "bic", "icl", "aic" and "modes" need one EM fit for each number, and take seconds.
        "bootstrap" is the likelihood-ratio test of each number against the next, from the smallest
        on, until one is not rejected at the level 0.05. "loo" and "evidence" sample the posterior
        for each number. "posterior" samples it with the number of components unknown, and answers
        with K, the number of components, and K+, the number that hold rows.
    covariance : str
        One covariance structure, as for `fit`; for "loo", "evidence" and "posterior" one that
        `sample` takes.
    prior : None or "default"
        Of the fits: maximum likelihood, or MAP under the default prior. Posteriors have the default
        prior in any case.
    row_weights : array_like (N,), optional
        As for `fit`; "bootstrap" takes whole numbers only.
    missing : "refuse" or "mar"
        As for `fit`. Samples of the bootstrap lack the same entries as the data.
    n_starts : int
        As for `fit`, also in each sample of the bootstrap.
    n_bootstrap : int
        Number of samples of the bootstrap, at least 19, with which the smallest p-value is 0.05.
    draws : int
        Draws kept per chain, as for `sample`.
    seed : int, SeedSequence or Generator, optional
        Fixes all of it; fits and posteriors are those that `select` and `sample` give with it.
    cores : int, optional
        How many fits, chains or samples run in parallel; it does not change the results.
    progressbar : bool

    Returns
    -------
    HowMany
        Prints as a table with the answers and what each one answers; `.answers`, `.table`,
        `.dataset`, `.sentences`; `.selection.best` is the fit that BIC chooses.

    Raises
    ------
    InputError
        If the input cannot be used.
    CollapseError
        If every fit failed. If only some failed, `status` in `.dataset` gives the reasons.

    References
    ----------
    McLachlan & Peel (2000), Finite Mixture Models, ch. 6; McLachlan (1987), Applied Statistics 36,
    on the bootstrap; Biernacki, Celeux & Govaert (2000), IEEE PAMI 22, on ICL; Vehtari, Gelman &
    Gabry (2017), Statistics and Computing 27, on LOO.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> found = bg.how_many(bg.datasets.load("faithful"), range(1, 5), criteria=["bic", "modes"],
    ...                     covariance="EEE", seed=1, progressbar=False)
    >>> found.answers
    {'bic': 3, 'modes': 2}
    """
    from bayes_gmm.inference.em.grid import Cell
    from bayes_gmm.inference.em.likelihood_ratio import counts
    from bayes_gmm.inference.settings import require_settings
    from bayes_gmm.model.structures import Structure
    from bayes_gmm.progress import progress
    from bayes_gmm.results.how_many import how_many as result
    from bayes_gmm.results.selection import selection

    seed = as_seed(seed)
    sizes = sorted(set(as_sizes(n_components)))
    wanted = as_criteria(criteria)
    require_whole("n_starts", n_starts, 1)
    require_whole("n_bootstrap", n_bootstrap, 19)
    require_settings(draws, 1, 1, cores, seed)
    observations = as_observations(X, prior, row_weights, missing)
    structure = Structure.named(covariance, observations.n_features)
    sampled = [name for name in wanted if name not in OF_FITS and name != "bootstrap"]
    if sampled:
        structure_of_posterior(covariance, observations.n_features, "auto")
    if sampled or "bootstrap" in wanted:
        in_memory(observations, f'"{wanted[-1]}" among criteria needs all rows in memory')
    if "bootstrap" in wanted:
        counts(observations)
    cells = [Cell(structure, size, as_prior(prior, observations, size)) for size in sizes]
    with progress(len(cells), "fits", shown=progressbar) as done:
        fits = fitted(
            observations,
            cells,
            n_starts=n_starts,
            max_iter=MAX_ITER,
            tol=TOLERANCE,
            seed=seed,
            cores=cores,
            done=done,
        )
    chosen = selection(observations, fits, "bic", seed, missing)
    columns: dict[str, np.ndarray] = {}
    if "modes" in wanted:
        columns |= {"n_modes": _n_modes(fits)}
    if "bootstrap" in wanted:
        columns |= _tests(
            fits,
            observations,
            structure,
            n_bootstrap=n_bootstrap,
            n_starts=n_starts,
            seed=seed,
            cores=cores,
            progressbar=progressbar,
        )
    if sampled:
        settings = {
            "covariance": covariance,
            "draws": draws,
            "seed": seed,
            "cores": cores,
            "missing": missing,
        }
        with progress(len(sizes), "posteriors", shown=progressbar) as done:
            columns |= _of_posteriors(observations, sizes, sampled, settings, done)
    return result(chosen, wanted, columns, {})


def as_criteria(criteria: str | Sequence[str]) -> list[str]:
    """Check which criteria are asked for, and put them in the usual order."""
    names = [criteria] if isinstance(criteria, str) else list(criteria)
    if names == ["all"]:
        return list(NAMES)
    unknown = [name for name in names if name not in NAMES]
    if unknown or not names:
        said = f"has {unknown[0]!r}" if unknown else "is empty"
        raise InputError(f'criteria {said}; choose "all", or some of {", ".join(NAMES)}')
    return [name for name in NAMES if name in names]


def _n_modes(fits: Sequence[Fitted]) -> np.ndarray:
    """Number of modes of each fitted density; nan where there is no fit."""
    from bayes_gmm.model.density_modes import density_modes

    return np.array(
        [
            np.nan if fit.parameters is None else len(density_modes(fit.parameters).points)
            for fit in fits
        ]
    )


def _tests(
    fits: Sequence[Fitted],
    observations: Observations,
    structure: Structure,
    *,
    progressbar: bool,
    **settings: Any,
) -> dict[str, np.ndarray]:
    """Test each number against the next, until one is not rejected or cannot be tested."""
    from bayes_gmm.inference.em.likelihood_ratio import likelihood_ratio
    from bayes_gmm.progress import progress
    from bayes_gmm.results.answers import LEVEL

    names = ("likelihood_ratio", "p_value", "n_replicates")
    columns = np.full((len(names), len(fits)), np.nan)
    for place, (smaller, larger) in enumerate(pairwise(fits)):
        if smaller.parameters is None or larger.parameters is None:
            break
        what = f"K = {smaller.n_components} against {larger.n_components}"
        with progress(settings["n_bootstrap"], what, shown=progressbar) as done:
            test = likelihood_ratio(
                smaller.parameters,
                larger.parameters.n_components,
                2 * (larger.optimizer["log_likelihood"] - smaller.optimizer["log_likelihood"]),
                observations,
                structure,
                with_prior=smaller.prior is not None,
                done=done,
                **settings,
            )
        columns[:, place] = test
        if not test.p_value <= LEVEL:
            break
    return dict(zip(names, columns, strict=True))


def _of_posteriors(
    observations: Observations,
    sizes: Sequence[int],
    wanted: Sequence[str],
    settings: dict[str, Any],
    done: Any,
) -> dict[str, np.ndarray]:
    """What the posteriors of each number say: LOO, evidence, and whether chains had converged."""
    from bayes_gmm.api.posterior import sample
    from bayes_gmm.posterior.loo import behind
    from bayes_gmm.results.diagnostics import diagnose
    from bayes_gmm.results.loo import loo

    left_out, rows = [], []
    for size in sizes:
        with warnings.catch_warnings():
            # Both are counted in the result: draws that are too few, and large values of Pareto k.
            warnings.simplefilter("ignore")
            posterior = sample(observations, size, progressbar=False, **settings)
            own = {"not_converged": float(not diagnose(posterior).converged)}
            if "loo" in wanted:
                found = loo(posterior)
                left_out.append(found.elpd_i.to_numpy())
                own |= {
                    "elpd": found.elpd,
                    "elpd_se": found.se,
                    "large_pareto_k": float((found.pareto_k > found.good_k).sum()),
                }
        rows.append(own)
        done()
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    if left_out:
        times = observations.weights
        counted = None if times is None else times[times > 0]
        difference, error = behind(np.stack(left_out), counted)
        columns |= {"elpd_difference": difference, "elpd_difference_se": error}
    return columns
