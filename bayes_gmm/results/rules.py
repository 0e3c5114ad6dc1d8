"""Rules that find something wrong with a sample, or with single components, gravest first.

Whether it is a fair sample of the posterior is judged by quantities that no renumbering of the
components changes. Where it is, the mixture as a whole is known, and so are densities and
predictions; but components may not be identified, or be too many, and statements about "component
2" then mean little.
"""

from collections.abc import Iterator

import numpy as np

from bayes_gmm.posterior.convergence import Convergence, too_large
from bayes_gmm.posterior.deciding_rows import FAR
from bayes_gmm.posterior.dispensable import SAVING
from bayes_gmm.posterior.draws import flatten
from bayes_gmm.posterior.identification import AMBIGUOUS, EMPTY, ODDS, TOLD_APART
from bayes_gmm.posterior.length import RHAT, shortage
from bayes_gmm.posterior.modes import Mode
from bayes_gmm.results.diagnosis import Finding, Kind
from bayes_gmm.results.remarks import by_component, stated
from bayes_gmm.results.tables import some
from bayes_gmm.results.verdict_inputs import VerdictInputs

DIVERGENT = 0.001  # share of the draws
NEGLIGIBLE = 1e-4  # share of the posterior mass
LEFT_OUT = 0.05  # share of the posterior mass that variational Bayes may leave out


def rows_decide(inputs: VerdictInputs) -> Iterator[Finding]:
    """Rows far from all others that decide a component alone."""
    for group in by_component(inputs.deciding):
        statement, advice = stated(group)
        furthest = max(one.deviations for one in group)
        yield Finding("rows_decide", "data", statement, furthest, FAR, advice)


def not_finite(inputs: VerdictInputs) -> Iterator[Finding]:
    """Draws without a log density."""
    bad = int((~np.isfinite(inputs.values)).any(axis=2).sum())
    if not bad:
        return
    yield Finding(
        "not_finite",
        "convergence",
        f"{bad} draws have a log density that is not finite.",
        bad,
        0,
        "Use a proper prior, and check the scale of the data.",
    )


def stuck(inputs: VerdictInputs) -> Iterator[Finding]:
    """Chains that don't move."""
    which = inputs.stuck
    if not which:
        return
    yield Finding(
        "stuck_chains",
        "convergence",
        f"{listed('Chain', which)} hardly moved.",
        len(which),
        0,
        "Do not use these draws. Sample again with another seed or more tuning.",
    )


def several_modes(inputs: VerdictInputs) -> Iterator[Finding]:
    """Chains that have settled in different places."""
    modes = inputs.modes
    if len(modes) <= 1:
        return
    limits = too_large(inputs.values, inputs.label_invariant.rhat, RHAT)
    if np.isnan(limits).all():
        return
    height = inputs.height_name.replace("_", " ")
    places = " and ".join(
        f"{listed('chain', mode.chains)} (mean {height} {mode.height:.2f})" for mode in modes
    )
    yield Finding(
        "several_modes",
        "convergence",
        f"The posterior has several modes: {places} stayed in different ones. "
        f"{_masses(modes)}".strip(),
        len(modes),
        1,
        _without_dim(inputs, limits) or _advice(modes, inputs.draws.n_chains),
    )


def _without_dim(inputs: VerdictInputs, limits: np.ndarray) -> str:
    """Advise where chains agree about the mixture, and differ in what may belong to components."""
    pairs = zip(inputs.names, limits, strict=True)
    differ = [name for name, limit in pairs if not np.isnan(limit)]
    if not set(differ) <= set(inputs.names_of_model):
        return ""
    shown = ", ".join(differ[:3]) + (f" and {len(differ) - 3} more" if len(differ) > 3 else "")
    return (
        f"The chains agree on the mixture, but differ in {shown}. If a variable belongs to a "
        'component, combine those of all components into one variable with dims="cluster", so that '
        "it is relabelled. Otherwise start all chains at the same point, or report each mode "
        "separately."
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
            f"{listed('Chain', mode.chains)} {'are' if len(mode.chains) > 1 else 'is'} in a mode "
            f"with about {mode.share:.0e} of the posterior mass, which is negligible."
            for mode in lost
        )
    shares = " and ".join(f"{mode.share:.2g}" for mode in modes)
    return f"These modes hold about {shares} of the posterior mass."


def _advice(modes: list[Mode], n_chains: int) -> str:
    lost = _negligible(modes)
    if len(modes) - sum(mode.share < NEGLIGIBLE for mode in modes) == 1:
        kept = [chain for chain in range(n_chains) if chain not in lost]
        return (
            f"Longer chains will not help. Sample again with another seed, or drop "
            f"{listed('chain', lost)}, in Python with posterior.isel(chain={kept})."
        )
    return (
        "Longer chains will not help. Try another number of components, or report each mode "
        "separately."
    )


def divergences(inputs: VerdictInputs) -> Iterator[Finding]:
    """Too many divergences: the sampler could not enter some region."""
    share = inputs.diverging.mean()
    if share <= DIVERGENT:
        return
    yield Finding(
        "divergences",
        "convergence",
        f"{inputs.diverging.sum()} draws ({share:.1%}) diverged, so that a region of the "
        "posterior was not explored.",
        float(share),
        DIVERGENT,
        "With a conjugate prior use engine gibbs, which has no divergences. Otherwise use a "
        "prior that prevents components from collapsing.",
    )


def too_short(inputs: VerdictInputs) -> Iterator[Finding]:
    """Too few effective draws, or chains that disagree for no other reason."""
    start = "The chains are too short"
    return told_shortage(
        ("short_chains", "convergence", start),
        inputs.names,
        inputs.values,
        inputs.label_invariant,
    )


def told_shortage(
    described: tuple[str, Kind, str], names: list[str], values: np.ndarray, measured: Convergence
) -> Iterator[Finding]:
    """Report what makes chains too short, under a name and kind, and how the statement begins."""
    found = shortage(values, measured)
    if found is None:
        return
    name, kind, start = described
    if found.measure == "draws":
        statement = f"{start}: {found.value} draws per chain cannot be judged."
        yield Finding(name, kind, statement, found.value, found.limit, "Draw more.")
        return
    quantity = names[found.place]
    statement = (
        f"{start}: R-hat of {quantity} is {found.value:.3f}."
        if found.measure == "rhat"
        else f"{start}: {quantity} has {found.value:.0f} effective draws."
    )
    advice = f"Draw about {found.factor} times as many."
    yield Finding(name, kind, statement, found.value, found.limit, advice)


def far_from_posterior(inputs: VerdictInputs) -> Iterator[Finding]:
    """A variational approximation that has missed too much of the posterior."""
    found = inputs.gap
    if found is None or not found.k > found.limit:
        return
    yield Finding(
        "far_from_posterior",
        "convergence",
        "Variational Bayes understates the uncertainty: the Pareto k-hat of its importance ratios "
        f"is {found.k:.2f}, above {found.limit:.2f}.",
        found.k,
        found.limit,
        'Use these draws as a first look, and engine="gibbs" for the posterior.',
    )


def modes_left_out(inputs: VerdictInputs) -> Iterator[Finding]:
    """Other optima of the lower bound, of which variational Bayes says nothing."""
    found = inputs.gap
    if found is None or found.left_out <= LEFT_OUT:
        return
    yield Finding(
        "modes_left_out",
        "convergence",
        "Variational Bayes describes one mode of several: other optima of its lower bound hold "
        f"about {found.left_out:.0%} of the posterior.",
        found.left_out,
        LEFT_OUT,
        'Use engine="gibbs", whose chains start in each of them.',
    )


def approximate(inputs: VerdictInputs) -> Iterator[Finding]:
    """What independent draws of an approximation cannot show."""
    found = inputs.gap
    if found is None:
        return
    far = f", about {found.divergence:.2g} nats (KL)" if found.divergence >= 0 else ""
    several = inputs.draws.weights.shape[2] > 1
    part = ", of one mode and one order of the components" if several else ""
    yield Finding(
        "approximate",
        "note",
        f"These are independent draws of a variational approximation{part}. R-hat and effective "
        f"sample sizes do not measure its distance from the posterior{far}.",
        found.k,
        found.limit,
        'To check it, sample with engine="gibbs" and compare.',
    )


def few_divergences(inputs: VerdictInputs) -> Iterator[Finding]:
    """Too few divergences to matter."""
    share = inputs.diverging.mean()
    if not 0 < share <= DIVERGENT:
        return
    yield Finding(
        "few_divergences",
        "note",
        f"{inputs.diverging.sum()} of {inputs.diverging.size} draws diverged.",
        float(share),
        DIVERGENT,
        "So few are usually harmless. With a conjugate prior, engine gibbs has none.",
    )


def one_chain(inputs: VerdictInputs) -> Iterator[Finding]:
    """Nothing to compare with."""
    if inputs.draws.n_chains > 1 or inputs.gap is not None:
        return
    yield Finding(
        "one_chain",
        "note",
        "There is only one chain, which cannot show a second mode.",
        1,
        2,
        "Sample at least four chains.",
    )


def listed(word: str, numbers: list[int] | np.ndarray) -> str:
    """Write numbers after their word, in the plural where there are several."""
    of_all = f"see the table by {word.lower()}"
    return f"{word}{'s' * (len(numbers) > 1)} {some(numbers, of_all)}"


def labels_disagree(inputs: VerdictInputs) -> Iterator[Finding]:
    """Components that are not the same ones in every chain."""
    found = inputs.identification
    if np.isnan(found.rhat_limit).all():
        return
    component = int(np.nanargmax(np.where(np.isnan(found.rhat_limit), np.nan, found.rhat)))
    rhat = np.where(
        [scalar.cluster == component for scalar in inputs.scalars],
        inputs.parameters.rhat,
        np.nan,
    )
    worst = int(np.nanargmax(rhat))
    yield Finding(
        "labels_disagree",
        "identification",
        f"The chains agree on the mixture but not on {inputs.parameter_names[worst]}.",
        float(rhat[worst]),
        float(found.rhat_limit[component]),
        "Densities and predictions remain valid. Do not interpret single components.",
    )


def not_told_apart(inputs: VerdictInputs) -> Iterator[Finding]:
    """Pairs of components that differ in nothing."""
    distances = inputs.identification.distances
    pairs = np.argwhere(np.triu(distances, 1) * (distances < TOLD_APART)).tolist()
    if not pairs:
        return
    pairs.sort(key=lambda pair: distances[*pair])
    closest = float(distances[*pairs[0]])
    named = [f"{one} and {other}" for one, other in pairs]
    names = some(named, "see nearest in the table of components", most=3)
    limit = f"{closest:.1f} posterior sd" if len(pairs) == 1 else f"{TOLD_APART} posterior sds"
    yield Finding(
        "not_told_apart",
        "identification",
        f"Components {names} cannot be distinguished: none of their parameters differs by more "
        f"than {limit}.",
        closest,
        TOLD_APART,
        "Interpret them together, or fit fewer components.",
    )


def nearly_empty(inputs: VerdictInputs) -> Iterator[Finding]:
    """Components that hold hardly a row."""
    needed = inputs.draws.means.shape[3] + 1
    shares = inputs.identification.empty
    which = np.flatnonzero(shares > EMPTY)
    if not which.size:
        return
    largest = float(shares[which].max())
    verb, most = ("have", "up to ") if which.size > 1 else ("has", "")
    yield Finding(
        "nearly_empty",
        "identification",
        f"{listed('Component', which)} {verb} fewer than {needed} rows in {most}{largest:.0%} "
        "of the draws.",
        largest,
        EMPTY,
        "In these draws its parameters come from the prior. Fit fewer components."
        if which.size == 1
        else "In these draws their parameters come from the prior. Fit fewer components.",
    )


def ambiguous_labels(inputs: VerdictInputs) -> Iterator[Finding]:
    """Components that many draws could as well give another name."""
    found = inputs.identification
    which = np.flatnonzero(found.ambiguous > AMBIGUOUS)
    if not which.size:
        return
    yield Finding(
        "ambiguous_labels",
        "identification",
        f"In {found.ambiguous_draws:.0%} of the draws the labels of "
        f"{listed('component', which)} are ambiguous: the best labelling is favored by odds "
        f"below {ODDS} to 1.",
        float(found.ambiguous[which].max()),
        AMBIGUOUS,
        "Interpret these components together, or fit fewer.",
    )


def dispensable_component(inputs: VerdictInputs) -> Iterator[Finding]:
    """A component more than the data ask for."""
    found = inputs.merger
    if found is None:
        return
    yield Finding(
        "dispensable_component",
        "identification",
        f"Components {found.one} and {found.other} may be redundant: merging them lowers BIC "
        f"by {found.saving:.1f} (strong evidence from {SAVING:g}).",
        found.saving,
        SAVING,
        f"Try K = {inputs.draws.weights.shape[2] - 1}; bg.select, or bayes-gmm select, compares "
        "numbers of components.",
    )


def slow_components(inputs: VerdictInputs) -> Iterator[Finding]:
    """Components that need more draws than the mixture does."""
    start = "Parameters of single components need longer chains"
    return told_shortage(
        ("slow_components", "identification", start),
        inputs.parameter_names,
        flatten(*inputs.draws),
        inputs.parameters,
    )
