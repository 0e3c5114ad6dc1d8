"""A report from its top to its end, and the sections about estimates.

Each section is made from the results that it needs; what is missing is left out.
"""

from collections.abc import Iterator

import pandas as pd
import xarray as xr

from bayes_gmm import plots
from bayes_gmm.reports.blocks import Block, Paragraph, Points, Section, image, judged, table
from bayes_gmm.reports.draws import clusters, fit, labels, prediction, prior, sampling
from bayes_gmm.reports.number import how_many
from bayes_gmm.reports.number import number as number_of_clusters
from bayes_gmm.reports.words import after_interrupt, provenance, versions
from bayes_gmm.results.analysis import Analysis
from bayes_gmm.results.comparison import constraint
from bayes_gmm.results.reading import (
    n_incomplete,
    n_observed,
    n_seen,
    read_number,
    row_weights,
    structure_of,
)
from bayes_gmm.results.remarks import remarks, search_warnings
from bayes_gmm.results.tables import counted, number, some


def summary(analysis: Analysis) -> list[Paragraph]:
    """Say what the data are and what was found, a sentence each."""
    said = []
    if analysis.trees:
        said.append(Paragraph(_data(next(iter(analysis.trees.values())))))
    said += how_many(analysis)
    said += [
        Paragraph(text, "bad", f"Data, {name}")
        for name, tree in analysis.points.items()
        for text in _warnings(tree)
    ]
    said += _two_models(analysis)
    if analysis.posterior is not None and analysis.posterior.attrs.get("partial", 0):
        said.append(Paragraph(after_interrupt(analysis.posterior), "bad", "Interrupted"))
    if analysis.diagnosis is not None:
        said.append(judged(analysis.diagnosis, "Sampling"))
    if analysis.comparison is not None:
        said.append(_agreement(analysis))
    if analysis.checks is not None:
        said.append(judged(analysis.checks, "Fit"))
    if analysis.sensitivity is not None:
        said.append(Paragraph(analysis.sensitivity.verdict, "note", "Prior"))
    return said


def sections(analysis: Analysis) -> Iterator[Section]:
    """Yield the sections for which there are results."""
    for build in (
        number_of_clusters,
        _mixture,
        _estimates,
        _comparison,
        sampling,
        labels,
        clusters,
        fit,
        prediction,
        prior,
        _reproduction,
    ):
        section = build(analysis)
        if section is not None:
            yield section


def _data(tree: xr.DataTree) -> str:
    names = [str(name) for name in tree["point_estimate"]["feature"].to_numpy()]
    components = counted(int(tree.attrs["n_components"]), "component")
    if read_number(tree) is not None:
        components = "an unknown number of components"
    weights = row_weights(tree)
    seen = "" if weights is None else f" with weights that sum to {weights.sum():,.10g}"
    lacking = n_incomplete(tree)
    gaps = f", {lacking:,} of them with missing entries" if lacking else ""
    return (
        f"{n_observed(tree):,} rows{seen}{gaps}, {counted(len(names), 'feature')} "
        f"({some(names, 'in the tables', most=12)}), {components}."
    )


def _two_models(analysis: Analysis) -> list[Paragraph]:
    """Say so where the estimates are of another model than the posterior."""
    if analysis.posterior is None:
        return []
    structure = structure_of(analysis.posterior)
    other = {name: constraint(tree, structure) for name, tree in analysis.points.items()}
    names = [name for name, what in other.items() if what]
    if not names:
        return []
    text = (
        f"{' and '.join(names)}: {other[names[0]]}. The posterior is that of a different model, "
        "and so are the results from its draws: clusters, checks, sensitivity, leave-one-out."
    )
    return [Paragraph(text, "note", "Two models")]


def _warnings(point: xr.DataTree) -> list[str]:
    """Say which rows decide a component of an estimate alone, and where starts collapsed."""
    search = point["optimizer_result"].to_dataset()
    n_rows, n_features = n_seen(point), int(point.attrs["n_features"])
    return [str(warning) for warning in search_warnings(search, n_rows, n_features)]


def _agreement(analysis: Analysis) -> Paragraph:
    assert analysis.comparison is not None
    data = analysis.comparison.dataset
    covered = data["covered"][:, (data["kind"] != "covariance") & (data["why_not"] == "")]
    if not covered.size:
        text = "No component is identified, so no parameter can be compared."
        return Paragraph(text, "note", "EM against the posterior")
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
        blocks += [Paragraph(text, "bad", name) for text in _warnings(tree)]
        blocks.append(image(plots.em_trajectory(tree), f"The path of EM to the {name}"))
    frame = pd.DataFrame(rows, index=pd.Index(list(analysis.points), name="estimate"))
    reading = (
        "EM is run from many starting points, and never decreases its objective; only the most "
        "promising runs are continued to convergence. Of the optima found, the one that is "
        "expected to predict new rows best is chosen. A higher optimum may fit a few rows only or, "
        "under a prior, have an empty component."
    )
    said = [
        f"{name}: {remark}"
        for name, tree in analysis.points.items()
        for remark in remarks(tree["optimizer_result"].to_dataset())
    ]
    points = [Points(said)] if said else []
    return Section("em", "Point estimates by EM", reading, [table(frame), *points, *blocks])


def _comparison(analysis: Analysis) -> Section | None:
    blocks: list[Block] = []
    if analysis.comparison is not None:
        data, frame = analysis.comparison.dataset, _written(analysis)
        kinds, is_free = data["kind"].to_numpy(), analysis.comparison.is_free
        known = data["why_not"].to_numpy() == ""
        outside = known & ~data["covered"].to_numpy().all(axis=0)
        for title, chosen, folded in (
            ("", is_free & (kinds != "covariance"), False),
            ("Covariances", is_free & (kinds == "covariance"), True),
        ):
            blocks.append(table(frame[chosen], outside[chosen], title, folded=folded))
        blocks.append(Points(analysis.comparison.sentences))
    if analysis.posterior is not None and analysis.points:
        figure = plots.comparison(analysis.points, analysis.posterior)
        blocks.append(image(figure, "Posterior of each parameter with the point estimates marked"))
    if not blocks:
        return None
    reading = (
        "A point estimate is a maximum; the posterior is the distribution around it. The interval "
        "says how far each parameter could be from the estimate, and z by how many posterior "
        "standard deviations the estimate differs from the posterior mean. Rows in color have an "
        "estimate outside the interval: there the posterior is skewed, or has another mode."
    )
    return Section("comparison", "EM against the posterior", reading, blocks)


def _written(analysis: Analysis) -> pd.DataFrame:
    """Round the numbers of the comparison to what the posterior sd leaves of them.

    Of a component without identity there is nothing to compare.
    """
    assert analysis.comparison is not None
    frame = analysis.comparison.table
    sds = frame["sd"].to_numpy()
    written = pd.DataFrame(index=frame.index)
    for name in frame.columns:
        if name.startswith("z "):
            written[name] = [f"{value:+z.2f}" for value in frame[name]]
        elif not name.startswith(("quantile ", "covered ")):
            written[name] = [number(v, sd) for v, sd in zip(frame[name], sds, strict=True)]
    written[analysis.comparison.dataset["why_not"].to_numpy() != ""] = "-"
    return written


def _reproduction(analysis: Analysis) -> Section | None:
    if not analysis.trees:
        return None
    reading = "The same data, seed and versions give the same numbers."
    blocks: list[Block] = [table(provenance(analysis.trees)), Paragraph(versions(), "quiet")]
    return Section("reproduction", "How to reproduce these results", reading, blocks)
