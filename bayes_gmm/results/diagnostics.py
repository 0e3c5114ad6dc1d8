"""A verdict on a posterior sample that label switching cannot fool.

The labels of a mixture are arbitrary, so chains whose components are numbered differently look
divergent and may be in perfect agreement. The verdict rests on quantities that no renumbering
changes: the log-likelihood, the log posterior, moments and the density of the mixture. Only when
those agree is it asked whether the components have an identity.

A sample is called converged when every label-free R-hat is below 1.01 and every effective sample
size is at least 100 per chain (Vehtari et al., 2021). R-hat is noisy where the effective sample
size is small. Of simulated samples of eight quantities in four sound chains, R-hat failed 0 of 150
at an effective sample size of 4000 and 0 of 60 at 1300, but a quarter at 800 and most at 450. There
the finding says that the chains are too short, which is true: draw more.
"""

from collections.abc import Callable

import numpy as np
import xarray as xr

from bayes_gmm.results import convergence_rules as convergence
from bayes_gmm.results import identification_rules as identification
from bayes_gmm.results.diagnosis import Diagnosis, Finding
from bayes_gmm.results.evidence import Evidence, by_chain, gather, table

Rule = Callable[[Evidence], list[Finding]]
FATAL: tuple[Rule, ...] = (
    convergence.not_finite,
    convergence.stuck,
    convergence.several_modes,
    convergence.divergences,
)
IDENTITY: tuple[Rule, ...] = (
    identification.labels_disagree,
    identification.not_told_apart,
    identification.nearly_empty,
)
NOTES: tuple[Rule, ...] = (
    convergence.few_divergences,
    identification.label_switching,
    convergence.one_chain,
)


def diagnose(posterior: xr.DataTree) -> Diagnosis:
    """Say whether a posterior sample can be trusted, and with what.

    Parameters
    ----------
    posterior : DataTree
        A result of `sample`.

    Returns
    -------
    Diagnosis
        Prints as a verdict with its reasons.

    Raises
    ------
    InputError
        If `posterior` is no posterior result.

    References
    ----------
    Vehtari et al. (2021), Bayesian Analysis 16.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> posterior = bg.sample(bg.datasets.load("faithful"), 2, seed=1)  # doctest: +SKIP
    >>> bg.diagnose(posterior).verdict  # doctest: +SKIP
    """
    evidence = gather(posterior)
    reasons = _apply(FATAL, evidence)
    # Chains that are stuck or lie in different modes are not short, whatever their R-hat is.
    if not any(finding.name in ("stuck_chains", "several_modes") for finding in reasons):
        reasons += convergence.too_short(evidence)
    if not any(finding.kind == "convergence" for finding in reasons):
        reasons += _apply(IDENTITY, evidence) or identification.slow_components(evidence)
    reasons += _apply(NOTES, evidence)
    return Diagnosis(
        _verdict(evidence, reasons), tuple(reasons), table(evidence), by_chain(evidence)
    )


def _apply(rules: tuple[Rule, ...], evidence: Evidence) -> list[Finding]:
    return [finding for rule in rules for finding in rule(evidence)]


def _verdict(evidence: Evidence, reasons: list[Finding]) -> str:
    grave = [finding for finding in reasons if finding.kind != "note"]
    if grave and grave[0].kind == "convergence":
        return f"Not converged. {grave[0].statement}"
    agreement = (
        f"largest label-free R-hat {np.nanmax(evidence.label_free.rhat):.3f}, smallest effective "
        f"sample size {np.nanmin(np.minimum(*evidence.label_free[1:])):.0f}"
    )
    if grave:
        return (
            f"Converged as a mixture ({agreement}), but not component by component. "
            f"{grave[0].statement}"
        )
    switched = any(finding.name == "label_switching" for finding in reasons)
    return f"Converged ({agreement}){', although labels switched' * switched}."
