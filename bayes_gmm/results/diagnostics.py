"""A verdict on the draws of a posterior that is not affected by label switching.

The labels of a mixture are arbitrary, so chains with different labels look as if they disagreed.
The verdict is therefore based on label-invariant quantities: the log-likelihood, the log posterior,
moments and the density of the mixture. Only if these agree is it checked whether components are
identified. Whether the data support K components is checked in any case, by BIC with two components
merged, which needs no draws. Rows that determine a component are reported first.

A sample is called converged when no label-invariant R-hat exceeds 1.01 by more than chance
explains, and every effective sample size is at least 100 per chain (Vehtari et al., 2021). R-hat is
noisy: four converged chains with 800 effective draws have some R-hat above 1.01 nearly as often as
not, and the bare threshold would reject them. `rhat_error` says how large it is by chance.
Fractions of 60 simulated samples (15 quantities in four converged chains of 1000 draws) that are
rejected:

    effective sample size    420    500    600    800   1600   4000
    R-hat above 1.01        100%    98%    87%    38%     0%     0%
    these rules              98%    57%     5%     0%     0%     0%

Below 600 it is the smallest of the 30 effective sample sizes that falls under 400, which is true of
the sample more than of the chains: draw more.
"""

from collections.abc import Callable, Iterable

import numpy as np
import xarray as xr

from bayes_gmm.results import rules
from bayes_gmm.results.diagnosis import Diagnosis, Finding
from bayes_gmm.results.given import likely
from bayes_gmm.results.verdict_inputs import VerdictInputs, by_chain, gather, label_report, table

Rule = Callable[[VerdictInputs], Iterable[Finding]]
FATAL: tuple[Rule, ...] = (
    rules.not_finite,
    rules.stuck,
    rules.several_modes,
    rules.divergences,
)
IDENTITY: tuple[Rule, ...] = (
    rules.not_told_apart,
    rules.nearly_empty,
    rules.ambiguous_labels,
)
NOTES: tuple[Rule, ...] = (
    rules.few_divergences,
    rules.one_chain,
    rules.approximate,
)
APPROXIMATION = ("modes_left_out", "far_from_posterior")
COMPONENTS_MAY_BE_WHY = ("short_chains", *APPROXIMATION)


def diagnose(posterior: xr.DataTree) -> Diagnosis:
    """Judge whether the draws of a posterior can be trusted, and for which purposes.

    Parameters
    ----------
    posterior : DataTree
        A result of `sample`.

    Returns
    -------
    Diagnosis
        Prints as a verdict with its reasons; `labels` has the statistics of label switching.

    Raises
    ------
    InputError
        If `posterior` is not a posterior result.

    References
    ----------
    Vehtari et al. (2021), Bayesian Analysis 16.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> posterior = bg.sample(bg.datasets.load("faithful"), 2, seed=1, progressbar=False)
    >>> bg.diagnose(posterior).ok
    True
    """
    inputs = gather(posterior)
    reasons = _apply(FATAL, inputs)
    # Chains that are stuck or lie in different modes are not short, whatever their R-hat is.
    if not any(finding.name in ("stuck_chains", "several_modes") for finding in reasons):
        reasons += rules.too_short(inputs)
        reasons += [*rules.modes_left_out(inputs), *rules.far_from_posterior(inputs)]
    # BIC uses the point estimate only, so it is reported even if sampling failed. Only converged
    # draws can overrule it.
    too_many = list(rules.dispensable_component(inputs))
    if not reasons:
        identity = _apply((rules.labels_disagree, *IDENTITY), inputs)
        identity += [] if inputs.all_borne_out else too_many
        reasons += identity or rules.slow_components(inputs)
    elif all(finding.name in COMPONENTS_MAY_BE_WHY for finding in reasons):
        # Components too many are slow, and overlap, so that this may be why.
        reasons += _apply(IDENTITY, inputs) + too_many
    else:
        reasons += too_many
    reasons = [*rules.rows_decide(inputs), *reasons, *_apply(NOTES, inputs)]
    return Diagnosis(
        _verdict(inputs, reasons),
        tuple(reasons),
        table(inputs),
        by_chain(inputs),
        label_report(inputs),
    )


def _apply(rules: tuple[Rule, ...], inputs: VerdictInputs) -> list[Finding]:
    return [finding for rule in rules for finding in rule(inputs)]


def _verdict(inputs: VerdictInputs, reasons: list[Finding]) -> str:
    if inputs.n_clusters:
        said = ", ".join(likely(inputs.n_clusters))
        known = inputs._replace(n_clusters={})
        doubted = any(reason.kind == "identification" for reason in reasons)
        given = f" Given {next(iter(inputs.n_clusters))}:" if doubted else ""
        return f"Number of clusters: {said}.{given} {_verdict(known, reasons)}"
    of_data = [finding for finding in reasons if finding.kind == "data"]
    if of_data:
        rest = [finding for finding in reasons if finding.kind != "data"]
        return f"{of_data[0].statement} {_verdict(inputs, rest)}"
    grave = [finding for finding in reasons if finding.kind != "note"]
    if grave and grave[0].kind == "convergence":
        of_components = [one.statement for one in grave if one.kind == "identification"]
        why = f" A redundant component may be why: {of_components[0]}" if of_components else ""
        failed = "Not the posterior" if grave[0].name in APPROXIMATION else "Not converged"
        return f"{failed}. {grave[0].statement}{why}"
    if (found := inputs.gap) is not None:
        return _of_the_rest(
            "Close to the posterior",
            f"variational Bayes, Pareto k-hat {found.k:.2f}, threshold {found.limit:.2f}",
            grave,
        )
    agreement = (
        f"largest label-invariant R-hat {np.nanmax(inputs.label_invariant.rhat):.3f}, smallest "
        f"effective sample size {np.nanmin(np.minimum(*inputs.label_invariant[1:])):.0f}"
    )
    return _of_the_rest("Converged", agreement, grave)


def _of_the_rest(judged: str, agreement: str, grave: list[Finding]) -> str:
    """Say how good the draws are of the mixture, and what is wrong with single components."""
    if grave and grave[0].name == "dispensable_component":
        return f"{judged} ({agreement}), but K may be too large. {grave[0].statement}"
    if grave:
        return (
            f"{judged} as a mixture ({agreement}), but not for every single component. "
            f"{grave[0].statement}"
        )
    return f"{judged} ({agreement})."
