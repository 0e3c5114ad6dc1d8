"""The sections of a report, each from the results that it needs; what is missing is left out."""

from collections.abc import Callable, Iterator

import pandas as pd
import xarray as xr

from bayes_gmm.results import plots
from bayes_gmm.results.analysis import Analysis
from bayes_gmm.results.check_result import LEVEL, Check
from bayes_gmm.results.diagnosis import Diagnosis
from bayes_gmm.results.draws import observed_rows
from bayes_gmm.results.report.blocks import Block, Paragraph, Points, Section, image, table
from bayes_gmm.results.report.words import prior_sentences, provenance, versions
from bayes_gmm.results.tables import number

BuildSection = Callable[[Analysis], Section | None]


def summary(analysis: Analysis) -> list[Paragraph]:
    """Say what the data are and what was found, a sentence each."""
    said = []
    if analysis.trees:
        said.append(Paragraph(_data(next(iter(analysis.trees.values())))))
    if analysis.diagnosis is not None:
        said.append(_judged(analysis.diagnosis, "Sampling"))
    if analysis.comparison is not None:
        said.append(_agreement(analysis))
    if analysis.checks is not None:
        said.append(_judged(analysis.checks, "Fit"))
    return said


def sections(analysis: Analysis) -> Iterator[Section]:
    """Yield the sections for which there are results."""
    for build in (
        _mixture,
        _estimates,
        _comparison,
        _diagnosis,
        _checks,
        _prior,
        _reproduction,
    ):
        section = build(analysis)
        if section is not None:
            yield section


def _data(tree: xr.DataTree) -> str:
    names = [str(name) for name in tree["point_estimate"]["feature"].to_numpy()]
    kept = "observed_data" in tree.children
    n_rows = len(observed_rows(tree)) if kept else int(tree.attrs["n_observations"])
    n_components = int(tree.attrs["n_components"])
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return (
        f"{n_rows:,} rows, {len(names)} feature{'s' * (len(names) != 1)} "
        f"({listed}), {n_components} component{'s' * (n_components != 1)}."
    )


def _judged(judgement: Diagnosis | Check, topic: str = "") -> Paragraph:
    return Paragraph(judgement.verdict, "good" if judgement.ok else "bad", topic)


def _agreement(analysis: Analysis) -> Paragraph:
    assert analysis.comparison is not None
    data = analysis.comparison.dataset
    covered = data["covered"][:, data["kind"].to_numpy() != "covariance"]
    counts = [
        f"{int(covered.sel(estimator=name).sum())} of {covered.sizes['parameter']} parameters of "
        f"the {name}"
        for name in analysis.comparison.estimators
    ]
    text = f"{' and '.join(counts)} lie inside their {data.attrs['ci_prob']:.0%} intervals."
    return Paragraph(text, "note", "EM against the posterior")


def _mixture(analysis: Analysis) -> Section | None:
    if not analysis.trees:
        return None
    name, tree = next(iter(analysis.trees.items()))
    reading = (
        "Each component has its color, and each row the color of the cluster that it most likely "
        "belongs to, the grayer the less sure. "
    )
    reading += (
        "Bands and thin lines show other mixtures that the data leave possible."
        if name == "posterior"
        else "The picture shows one estimate, without its uncertainty."
    )
    description = f"The fitted mixture over the data ({name})"
    return Section("mixture", "The mixture", reading, [image(plots.mixture(tree), description)])


def _estimates(analysis: Analysis) -> Section | None:
    if not analysis.points:
        return None
    rows = []
    blocks: list[Block] = []
    for name, tree in analysis.points.items():
        search = tree["optimizer_result"].to_dataset()
        rows.append(
            {
                "log-likelihood": f"{float(search['log_likelihood']):.5f}",
                "log prior": f"{float(search['log_prior']):.5f}" if name == "MAP" else "",
                "parameters": str(int(search["n_parameters"])),
                "iterations": str(int(search["n_iterations"])),
                "converged": "yes" if bool(search["converged"]) else "no",
            }
        )
        blocks.append(image(plots.em_trajectory(tree), f"The path of EM to the {name}"))
    frame = pd.DataFrame(rows, index=pd.Index(list(analysis.points), name="estimate"))
    reading = (
        "EM climbs from many starting points and never goes down; the most promising climbs are "
        "followed to the end. If many starts reach the same height, it is likely the highest. A "
        "spurious optimum is higher still, but rests on a handful of rows, and is set aside."
    )
    return Section("em", "Point estimates by EM", reading, [table(frame), *blocks])


def _comparison(analysis: Analysis) -> Section | None:
    blocks: list[Block] = []
    if analysis.comparison is not None:
        data, frame = analysis.comparison.dataset, _written(analysis)
        kinds = data["kind"].to_numpy()
        outside = ~data["covered"].to_numpy().all(axis=0)
        for title, chosen, folded in (
            ("", kinds != "covariance", False),
            ("Covariances", kinds == "covariance", True),
        ):
            blocks.append(table(frame[chosen], outside[chosen], title, folded=folded))
        blocks.append(Points(analysis.comparison.sentences))
    if analysis.posterior is not None and analysis.points:
        figure = plots.comparison(analysis.points, analysis.posterior)
        blocks.append(image(figure, "Posterior of each parameter with the point estimates marked"))
    if not blocks:
        return None
    reading = (
        "A point estimate is the top of a hill; the posterior is the whole hill. The interval says "
        "how far each parameter could be from the estimate, and z how many posterior standard "
        "deviations the estimate lies from the posterior mean. Rows in color have an estimate "
        "outside the interval: there the hill is lopsided, or has another top."
    )
    return Section("comparison", "EM against the posterior", reading, blocks)


def _written(analysis: Analysis) -> pd.DataFrame:
    """Round the numbers of the comparison to what the posterior sd leaves of them."""
    assert analysis.comparison is not None
    frame = analysis.comparison.table
    sds = frame["sd"].to_numpy()
    written = pd.DataFrame(index=frame.index)
    for name in frame.columns:
        if name.startswith("z "):
            written[name] = [f"{value:+z.2f}" for value in frame[name]]
        elif not name.startswith(("quantile ", "covered ")):
            written[name] = [number(v, sd) for v, sd in zip(frame[name], sds, strict=True)]
    return written


def _diagnosis(analysis: Analysis) -> Section | None:
    blocks: list[Block] = []
    if analysis.diagnosis is not None:
        diagnosis = analysis.diagnosis
        blocks.append(_judged(diagnosis))
        if diagnosis.reasons:
            blocks.append(
                Points([f"{reason.statement} {reason.advice}" for reason in diagnosis.reasons])
            )
        worst = diagnosis.table.groupby(level="group", sort=False)
        frame = pd.DataFrame(
            {
                "largest R-hat": [f"{value:.3f}" for value in worst["rhat"].max()],
                "smallest ESS bulk": [f"{value:.0f}" for value in worst["ess_bulk"].min()],
                "smallest ESS tail": [f"{value:.0f}" for value in worst["ess_tail"].min()],
            },
            index=pd.Index(list(worst.groups), name="quantities"),
        )
        blocks.append(table(frame))
    if analysis.posterior is not None:
        figure = plots.ranks(analysis.posterior)
        blocks.append(image(figure, "Traces and rank plots of the chains"))
    if not blocks:
        return None
    reading = (
        "Chains that agree have an R-hat near 1, traces that can't be told apart, and rank lines "
        "inside the gray band. Quantities that don't depend on the numbering of the components are "
        "judged first, because the numbering is arbitrary."
    )
    return Section("sampling", "Can the draws be trusted?", reading, blocks)


def _checks(analysis: Analysis) -> Section | None:
    if analysis.checks is None:
        return None
    checks = analysis.checks
    frame = checks.table
    written = pd.DataFrame(index=frame.index)
    for name in ("observed", "mean", "lower", "upper"):
        pairs = zip(frame[name], frame["sd"], strict=True)
        written[name] = [number(value, sd) for value, sd in pairs]
    written["p"] = [f"{p:.3f}" for p in frame["p_value"]]
    written["joint p"] = [f"{p:.3f}" for p in frame["adjusted_p_value"]]
    surprising = [bool(p < LEVEL) for p in frame["adjusted_p_value"]]
    blocks: list[Block] = [
        _judged(checks),
        image(plots.checks(checks), "Densities and statistics of the data against replicates"),
        table(written, surprising, f"All {len(frame)} statistics", folded=True),
    ]
    reading = (
        "If the model were true, data like these would be ordinary draws from it. Replicated data "
        "sets show what is ordinary: the gray band, and a p-value for each statistic. With many "
        "statistics some p-value is small by chance; joint p allows for that."
    )
    return Section("fit", "Does the model make such data?", reading, blocks)


def _prior(analysis: Analysis) -> Section | None:
    for tree in analysis.trees.values():
        if "prior_parameters" in tree.children:
            sentences = prior_sentences(tree["prior_parameters"].to_dataset())
            reading = (
                "What was believed before the data were seen, in the units of the data. The MAP "
                "and the posterior use it; the MLE does not."
            )
            return Section("prior", "The prior in words", reading, [Points(sentences)])
    return None


def _reproduction(analysis: Analysis) -> Section | None:
    if not analysis.trees:
        return None
    reading = "The same data, seed and versions give the same numbers."
    blocks: list[Block] = [table(provenance(analysis.trees)), Paragraph(versions(), "quiet")]
    return Section("reproduction", "To make these results again", reading, blocks)
