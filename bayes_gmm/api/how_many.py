"""How many clusters: every criterion on the same data, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bayes_gmm.api.criteria import bootstrap_tests, n_modes, of_posteriors, of_unknown
from bayes_gmm.api.select import as_sizes, fitted
from bayes_gmm.arguments import as_observations, as_prior, in_memory, structure_of_posterior
from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.seeds import as_seed

if TYPE_CHECKING:
    import numpy as np

    from bayes_gmm.results.how_many import HowMany
    from bayes_gmm.seeds import Seed

OF_FITS = ("bic", "icl", "aic", "modes")
OF_POSTERIORS = ("loo", "evidence")
NAMES = (*OF_FITS, "bootstrap", *OF_POSTERIORS, "posterior")
FEWEST_DRAWS = 25  # per chain, of which `loo` and `evidence` need 100
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
        Prints as a table with the answers and what each one answers; ``.answers``, ``.table``,
        ``.dataset``, ``.sentences``; ``.selection.best`` is the fit that BIC chooses.

    Raises
    ------
    InputError
        If the input cannot be used.
    CollapseError
        If every fit failed. If only some failed, `status` in ``.dataset`` gives the reasons.

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
    from bayes_gmm.inference.gibbs.gibbs import require_counts
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
    if prior not in (None, "default"):
        raise InputError(
            'prior must be None or "default", which is made anew for each number of components; '
            f"got {type(prior).__name__ if not isinstance(prior, str) else repr(prior)}"
        )
    sampled = not {*OF_POSTERIORS}.isdisjoint(wanted)
    if sampled:
        require_whole("draws", draws, FEWEST_DRAWS)
    observations = as_observations(X, prior, row_weights, missing)
    structure = Structure.named(covariance, observations.n_features)
    if sampled or "posterior" in wanted:
        structure_of_posterior(covariance, observations.n_features, "auto")
    if not {*OF_FITS}.issuperset(wanted):
        in_memory(observations, f'"{wanted[-1]}" among criteria needs all rows in memory')
    if "bootstrap" in wanted:
        counts(observations)
    if "posterior" in wanted:
        require_counts(observations)
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
        columns |= {"n_modes": n_modes(fits)}
    if "bootstrap" in wanted:
        columns |= bootstrap_tests(
            fits,
            observations,
            structure,
            n_bootstrap=n_bootstrap,
            n_starts=n_starts,
            seed=seed,
            cores=cores,
            progressbar=progressbar,
        )
    settings = {
        "covariance": covariance,
        "draws": draws,
        "seed": seed,
        "cores": cores,
        "missing": missing,
    }
    if sampled:
        with progress(len(sizes), "posteriors", shown=progressbar) as done:
            columns |= of_posteriors(observations, sizes, wanted, settings, done)
    probabilities = {}
    if "posterior" in wanted:
        probabilities = of_unknown(observations, progressbar=progressbar, **settings)
    return result(chosen, wanted, columns, probabilities, n_bootstrap)


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
