"""Values of the criteria for the number of clusters, from fits, samples of them, and posteriors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bayes_gmm.data import Observations
    from bayes_gmm.model.structures import Structure
    from bayes_gmm.results.selection import Fitted


def n_modes(fits: Sequence[Fitted]) -> np.ndarray:
    """Number of modes of each fitted density; nan where there is no fit."""
    from bayes_gmm.model.density_modes import density_modes

    return np.array(
        [
            np.nan if fit.parameters is None else len(density_modes(fit.parameters).points)
            for fit in fits
        ]
    )


def bootstrap_tests(
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


def of_posteriors(
    observations: Observations,
    sizes: Sequence[int],
    wanted: Sequence[str],
    settings: dict[str, Any],
    done: Callable[[], None],
) -> dict[str, np.ndarray]:
    """What the posteriors of each number say: LOO, evidence, and whether chains had converged."""
    from bayes_gmm.api.posterior import sample
    from bayes_gmm.posterior.loo import behind
    from bayes_gmm.results.diagnostics import diagnose
    from bayes_gmm.results.loo import loo
    from bayes_gmm.results.reading import keeps_rows

    left_out, values = [], []
    for size in sizes:
        with warnings.catch_warnings():
            # The result counts what they warn of: chains too short, large values of Pareto k.
            warnings.simplefilter("ignore")
            posterior = sample(observations, size, progressbar=False, **settings)
            own = {"not_converged": float(not diagnose(posterior).converged)}
            rows = None if keeps_rows(posterior) else observations.frame
            if "loo" in wanted:
                found = loo(posterior, rows)
                left_out.append(found.elpd_i.to_numpy())
                own |= {
                    "elpd": found.elpd,
                    "elpd_se": found.se,
                    "large_pareto_k": float((found.pareto_k > found.good_k).sum()),
                }
            if "evidence" in wanted:
                own |= _evidence(posterior, rows, size, settings["seed"])
        values.append(own)
        done()
    columns = {name: np.array([own[name] for own in values]) for name in values[0]}
    if left_out:
        times = observations.weights
        counted = None if times is None else times[times > 0]
        difference, error = behind(np.stack(left_out), counted)
        columns |= {"elpd_difference": difference, "elpd_difference_se": error}
    return columns


def _evidence(posterior: Any, rows: Any, size: int, seed: int | None) -> dict[str, float]:
    """The evidence of one posterior, and whether it is doubtful; nan where it takes too long."""
    from bayes_gmm.kernels.permanents import MOST
    from bayes_gmm.results.evidence import evidence
    from bayes_gmm.results.model_probabilities import Evidence

    if size > MOST:
        return {"log_evidence": np.nan, "log_evidence_se": np.nan, "evidence_doubtful": 0.0}
    found = evidence(posterior, rows, seed=seed)
    assert isinstance(found, Evidence)
    return {
        "log_evidence": found.log_evidence,
        "log_evidence_se": found.standard_error,
        "evidence_doubtful": float(bool(found.concerns)),
    }


def of_unknown(observations: Observations, **settings: Any) -> dict[str, np.ndarray]:
    """Probabilities of numbers of components and of clusters, where the number is unknown."""
    from bayes_gmm.api.posterior import sample
    from bayes_gmm.posterior.convergence import frequencies
    from bayes_gmm.results.answers import POSTERIOR

    drawn = sample(observations, None, **settings)["posterior"]
    columns: dict[str, np.ndarray] = {}
    for name in POSTERIOR:
        share, error = frequencies(drawn[name].transpose("chain", "draw").to_numpy())
        columns |= {f"probability_{name}": share, f"probability_{name}_se": error}
    return columns
