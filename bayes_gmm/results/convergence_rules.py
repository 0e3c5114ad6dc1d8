"""Rules that find a sample to be no fair sample of the posterior, gravest first.

They look only at quantities that no renumbering of the components changes.
"""

import numpy as np

from bayes_gmm.posterior.convergence import FEWEST_DRAWS, Convergence
from bayes_gmm.posterior.rhat_error import too_large
from bayes_gmm.results.deciding_rows import FAR, by_component, stated
from bayes_gmm.results.diagnosis import Finding, Kind
from bayes_gmm.results.evidence import Evidence, Mode
from bayes_gmm.results.tables import some

RHAT = 1.01
ESS_PER_CHAIN = 100
DIVERGENT = 0.001  # share of the draws
NEGLIGIBLE = 1e-4  # share of the posterior mass


def rows_decide(evidence: Evidence) -> list[Finding]:
    """Rows far from all others that decide a component alone."""
    return [
        Finding("rows_decide", "data", statement, max(one.deviations for one in group), FAR, advice)
        for group in by_component(evidence.deciding)
        for statement, advice in [stated(group)]
    ]


def not_finite(evidence: Evidence) -> list[Finding]:
    """Draws without a log density."""
    bad = int((~np.isfinite(evidence.values)).any(axis=2).sum())
    if not bad:
        return []
    return [
        Finding(
            "not_finite",
            "convergence",
            f"{bad} draws have a log density that is not finite.",
            bad,
            0,
            "Use a proper prior, and look at the scale of the data.",
        )
    ]


def stuck(evidence: Evidence) -> list[Finding]:
    """Chains that don't move."""
    which = evidence.stuck
    if not which:
        return []
    return [
        Finding(
            "stuck_chains",
            "convergence",
            f"{listed('Chain', which)} hardly moved.",
            len(which),
            0,
            "Sample again with another seed or more tuning; don't use these draws.",
        )
    ]


def several_modes(evidence: Evidence) -> list[Finding]:
    """Chains that have settled in different places."""
    modes = evidence.modes
    if len(modes) <= 1:
        return []
    limits = too_large(evidence.values, evidence.label_free.rhat, RHAT)
    if np.isnan(limits).all():
        return []
    height = evidence.height_name.replace("_", " ")
    places = " and ".join(
        f"{listed('chain', mode.chains)} (mean {height} {mode.height:.2f})" for mode in modes
    )
    return [
        Finding(
            "several_modes",
            "convergence",
            f"The posterior has several modes: {places} settled apart. {_masses(modes)}".strip(),
            len(modes),
            1,
            _without_dim(evidence, limits) or _advice(modes, evidence.draws.n_chains),
        )
    ]


def _without_dim(evidence: Evidence, limits: np.ndarray) -> str:
    """Advise where chains agree about the mixture, and differ in what may belong to components."""
    pairs = zip(evidence.names, limits, strict=True)
    differ = [name for name, limit in pairs if not np.isnan(limit)]
    if not set(differ) <= set(evidence.names_of_model):
        return ""
    shown = ", ".join(differ[:3]) + (f" and {len(differ) - 3} more" if len(differ) > 3 else "")
    return (
        f"They agree about the mixture, and differ in {shown}. If a variable belongs to a "
        'component, put those of all components into one with dims="cluster", so that it is '
        "relabelled; else start all chains at the same place, or report the modes one by one."
    )


def _negligible(modes: list[Mode]) -> list[int]:
    """Chains in modes that hold next to nothing of the posterior."""
    return sorted(chain for mode in modes if mode.share < NEGLIGIBLE for chain in mode.chains)


def _masses(modes: list[Mode]) -> str:
    """What each mode weighs, in words."""
    if any(np.isnan(mode.share) for mode in modes):
        return ""
    lost = [mode for mode in modes if mode.share < NEGLIGIBLE]
    if lost:
        return " ".join(
            f"{listed('Chain', mode.chains)} {'sit' if len(mode.chains) > 1 else 'sits'} in a mode "
            f"of negligible mass, about {mode.share:.0e} of the posterior."
            for mode in lost
        )
    shares = " and ".join(f"{mode.share:.2g}" for mode in modes)
    return f"Their shares of the posterior are about {shares}, in this order."


def _advice(modes: list[Mode], n_chains: int) -> str:
    lost = _negligible(modes)
    if len(modes) - sum(mode.share < NEGLIGIBLE for mode in modes) == 1:
        kept = [chain for chain in range(n_chains) if chain not in lost]
        return (
            f"Longer chains won't bring {listed('chain', lost)} back: sample again with another "
            f"seed, or leave {'them' if len(lost) > 1 else 'it'} out, in Python by "
            f"posterior.isel(chain={kept})."
        )
    return (
        "Longer chains won't join them. Try another number of components, or report the modes one "
        "by one."
    )


def divergences(evidence: Evidence) -> list[Finding]:
    """Too many divergences: the sampler could not enter some region."""
    share = evidence.diverging.mean()
    if share <= DIVERGENT:
        return []
    return [
        Finding(
            "divergences",
            "convergence",
            f"{evidence.diverging.sum()} draws diverged, {share:.1%}: a region was not explored.",
            float(share),
            DIVERGENT,
            "If the prior is conjugate use the engine gibbs, which has none; else use a prior that "
            "keeps components from shrinking.",
        )
    ]


def too_short(evidence: Evidence) -> list[Finding]:
    """Too few effective draws, or chains that disagree for no other reason."""
    start = "The chains are too short"
    return shortage(
        ("short_chains", "convergence", start),
        evidence.names,
        evidence.values,
        evidence.label_free,
    )


def shortage(
    described: tuple[str, Kind, str], names: list[str], values: np.ndarray, measured: Convergence
) -> list[Finding]:
    """Report an R-hat that is too large, or else an effective sample size that is too small.

    Parameters
    ----------
    described : tuple
        Name and kind of the finding, and how its statement begins.
    names : list of str
    values : ndarray (chain, draw, P)
    measured : Convergence

    Returns
    -------
    list of Finding
    """
    name, kind, start = described
    n_chains, n_draws, _ = values.shape
    if n_draws < FEWEST_DRAWS:
        statement = f"{start}: {n_draws} draws a chain tell nothing."
        return [Finding(name, kind, statement, n_draws, FEWEST_DRAWS, "Draw more.")]
    wanted = ESS_PER_CHAIN * n_chains
    sizes = np.minimum(measured.ess_bulk, measured.ess_tail)
    few = exceeds(-sizes, -wanted)
    factor = int(np.ceil(wanted / np.nanmin(sizes))) if few else 1
    advice = f"Draw about {max(2, factor)} times as many."
    limits = too_large(values, measured.rhat, RHAT)
    if not np.isnan(limits).all():
        worst = int(np.nanargmax(np.where(np.isnan(limits), np.nan, measured.rhat)))
        rhat, limit = float(measured.rhat[worst]), float(limits[worst])
        statement = f"{start}: R-hat of {names[worst]} is {rhat:.3f}."
        return [Finding(name, kind, statement, rhat, limit, advice)]
    if few:
        worst = int(np.nanargmin(sizes))
        statement = f"{start}: {names[worst]} has {sizes[worst]:.0f} effective draws."
        return [Finding(name, kind, statement, float(sizes[worst]), wanted, advice)]
    return []


def few_divergences(evidence: Evidence) -> list[Finding]:
    """Too few divergences to matter."""
    share = evidence.diverging.mean()
    if not 0 < share <= DIVERGENT:
        return []
    return [
        Finding(
            "few_divergences",
            "note",
            f"{evidence.diverging.sum()} of {evidence.diverging.size} draws diverged.",
            float(share),
            DIVERGENT,
            "So few are mostly harmless; the engine gibbs has none, if the prior is conjugate.",
        )
    ]


def one_chain(evidence: Evidence) -> list[Finding]:
    """Nothing to compare with."""
    if evidence.draws.n_chains > 1:
        return []
    return [
        Finding(
            "one_chain",
            "note",
            "There is only one chain, which cannot show a second mode.",
            1,
            2,
            "Sample at least four.",
        )
    ]


def exceeds(values: np.ndarray, threshold: float) -> bool:
    """Whether any value that is defined exceeds the threshold."""
    return bool((values[~np.isnan(values)] > threshold).any())


def listed(word: str, numbers: list[int] | np.ndarray) -> str:
    """Write numbers after their word, in the plural where there are several."""
    of_all = f"see the table by {word.lower()}"
    return f"{word}{'s' * (len(numbers) > 1)} {some(numbers, of_all)}"
