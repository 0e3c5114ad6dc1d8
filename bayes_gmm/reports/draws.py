"""Sections about the posterior.

Can its draws be trusted, how are they labelled, which rows belong together; does the model make
such data, does it predict new rows, and what depends on its prior?
"""

import numpy as np
import pandas as pd

from bayes_gmm import plots
from bayes_gmm.reports.blocks import Block, Paragraph, Points, Section, image, judged, table
from bayes_gmm.reports.words import engine_sentence, prior_sentences, relabelling_sentence
from bayes_gmm.results.analysis import Analysis, too_long_for_loo
from bayes_gmm.results.checks import LEVEL
from bayes_gmm.results.clustering import co_clustering
from bayes_gmm.results.diagnosis import LabelReport, worst
from bayes_gmm.results.labels import read_conjugate_prior
from bayes_gmm.results.reading import keeps_rows, n_observed, structure_of
from bayes_gmm.results.sensitivity import Sensitivity
from bayes_gmm.results.tables import counted, some

MOST_ROWS = 500  # of the co-clustering matrix


def sampling(analysis: Analysis) -> Section | None:
    """Whether the draws can be trusted."""
    blocks: list[Block] = []
    if analysis.posterior is not None:
        blocks.append(Paragraph(engine_sentence(analysis.posterior)))
    if analysis.diagnosis is not None:
        diagnosis = analysis.diagnosis
        blocks.append(judged(diagnosis))
        if diagnosis.reasons:
            blocks.append(
                Points([f"{reason.statement} {reason.advice}" for reason in diagnosis.reasons])
            )
        blocks.append(table(worst(diagnosis.table).rename_axis("quantities")))
    if analysis.posterior is not None:
        figure = plots.ranks(analysis.posterior)
        blocks.append(image(figure, "Traces and rank plots of the chains"))
    if not blocks:
        return None
    reading = (
        "Chains that agree have R-hat near 1, traces that look alike, and rank lines inside the "
        "gray band. Label-invariant quantities are judged first, because the labels of components "
        "are arbitrary."
    )
    return Section("sampling", "Can the draws be trusted?", reading, blocks)


def labels(analysis: Analysis) -> Section | None:
    """What became of the names of the components; one alone needs none."""
    if analysis.diagnosis is None or len(analysis.diagnosis.labels.table) == 1:
        return None
    report = analysis.diagnosis.labels
    blocks: list[Block] = [
        table(
            pd.DataFrame(
                {
                    "as sampled": [f"{report.rhat_raw:.3f}"],
                    "relabelled": [f"{report.rhat_relabelled:.3f}"],
                    "label-invariant": [f"{report.rhat_label_free:.3f}"],
                },
                index=pd.Index(["largest R-hat"], name=""),
            )
        ),
        Points(_of_labels(analysis, report)),
    ]
    if report.unidentified:
        named = [f"{k} ({report.table['why_not'][k]})" for k in report.unidentified]
        text = (
            f"Component{'s' * (len(named) > 1)} not identified: {some(named, 'in the table')}. "
            "Table rows and clusters with such a label mean little."
        )
        blocks.append(Paragraph(text, "bad"))
    blocks.append(table(_components(report), ~report.table["identified"].to_numpy()))
    reading = (
        "The labels of components are arbitrary, and a chain may switch between labellings. Label "
        "switching makes R-hat large as sampled, but not after relabelling. It does not affect "
        "label-invariant quantities at all."
    )
    return Section("labels", "Did labels switch?", reading, blocks)


def _of_labels(analysis: Analysis, report: LabelReport) -> list[str]:
    """Say how components were named, and how often that was in doubt."""
    said = []
    if analysis.posterior is not None:
        said.append(relabelling_sentence(analysis.posterior))
    said.append(f"Relabelling changed the labels of {report.renamed:.1%} of the draws.")
    most = report.switches.max()
    if most == 0:
        said.append("No chain switched labels.")
    else:
        said.append(
            f"Chains switched labels: {report.switches.mean():.1%} of the draws do not have the "
            f"most common labelling of their chain (at most {most:.1%}, in chain "
            f"{report.switches.idxmax()})."
        )
    if len(report.switches) > 1:
        differ = "differs between chains" if report.chains_differ else "is the same in all chains"
        said.append(f"The most common labelling {differ}.")
    said.append(
        f"The labels of {report.ambiguous:.1%} of the draws are ambiguous: another labelling is "
        "nearly as good."
    )
    if len(report.occupied):
        shares = [f"{k} with probability {share:.1%}" for k, share in report.occupied.items()]
        said.append(f"Number of nonempty components: {', '.join(shares)}.")
    return said


def _components(report: LabelReport) -> pd.DataFrame:
    """Tabulate the components; why one is not identified is said above."""
    names = {
        "nearest, in sds": "nearest, in posterior sds",
        "nearly empty": "draws nearly empty",
        "ambiguous": "draws ambiguous",
    }
    written = report.written().rename(columns=names)
    return written.assign(identified=[text.partition(":")[0] for text in written["identified"]])


def clusters(analysis: Analysis) -> Section | None:
    """How often rows share a component, of some of them if there are many."""
    posterior = analysis.posterior
    if posterior is None or posterior.attrs["n_components"] == 1:
        return None
    n_rows = n_observed(posterior)
    if n_rows == 1 or not keeps_rows(posterior):
        return None
    matrix = co_clustering(posterior, rows=min(n_rows, MOST_ROWS))
    blocks: list[Block] = [
        image(plots.co_clustering(matrix), "Probability that two rows share a component")
    ]
    if n_rows > MOST_ROWS:
        some = f"Shown are {MOST_ROWS} of {n_rows:,} rows, evenly spaced."
        blocks.append(Paragraph(some, "quiet"))
    reading = (
        "The darker a cell, the more probable it is that its two rows come from the same "
        "component. Clear blocks are well-determined clusters; gray bands beside them are rows "
        "that could belong to either cluster."
    )
    return Section("clusters", "Which rows belong together?", reading, blocks)


def fit(analysis: Analysis) -> Section | None:
    """Replicated data against the data."""
    if analysis.checks is None:
        return None
    checks = analysis.checks
    frame = checks.table
    written = checks.written().drop(columns="sd")
    written.columns = pd.Index(["observed", "mean", "lower", "upper", "p", "joint p"])
    written["joint p"] = written["joint p"].str.rstrip("* ")  # the row is marked instead
    surprising = [bool(p < LEVEL) for p in frame["adjusted_p_value"]]
    blocks: list[Block] = [
        judged(checks),
        image(plots.checks(checks), "Densities and statistics of the data against replicates"),
        table(written, surprising, f"All {len(frame)} statistics", folded=True),
    ]
    reading = (
        "If the model were true, data like these would be ordinary draws from it. Replicated data "
        "sets show what is ordinary: the gray band, and a p-value for each statistic. With many "
        "statistics some p-value is small by chance; joint p allows for that."
    )
    return Section("fit", "Does the model make data like these?", reading, blocks)


def prediction(analysis: Analysis) -> Section | None:
    """How well each row is predicted from the others; or why that was left out."""
    reading = (
        "Leave-one-out: each row in turn is predicted from the others (by Pareto-smoothed "
        "importance sampling). The sum of the log densities, elpd, ranks models of the same data "
        "in the same units, such as other numbers of components: the larger, the better. Where a "
        "row's Pareto k is large, its part is unreliable."
    )
    title = "How well are new rows predicted?"
    loo = analysis.loo
    if loo is None:
        reason = "" if analysis.posterior is None else too_long_for_loo(analysis.posterior)
        return Section("prediction", title, reading, [Paragraph(reason)]) if reason else None
    pareto_k = loo.pareto_k.to_numpy()
    worst, n_bad = int(np.argmax(pareto_k)), int((pareto_k > loo.good_k).sum())
    frame = pd.DataFrame(
        {
            "elpd": [f"{loo.elpd:.1f}"],
            "standard error": [f"{loo.se:.1f}"],
            "effective parameters": [f"{loo.p:.1f}"],
            "largest Pareto k": [f"{pareto_k[worst]:.2f}"],
        },
        index=pd.Index([counted(len(pareto_k), "row")], name="leave-one-out"),
    )
    row = loo.pareto_k["obs_id"].to_numpy()[worst]
    if n_bad:
        said = Paragraph(
            f"Pareto k is above {loo.good_k:.2f} in {counted(n_bad, 'row')} of {len(pareto_k):,} "
            f"(largest in row {row}), so that part of elpd is unreliable.",
            "bad",
        )
    else:
        said = Paragraph(f"Every Pareto k is below {loo.good_k:.2f}, so elpd is reliable.", "good")
    return Section("prediction", title, reading, [table(frame), said])


def prior(analysis: Analysis) -> Section | None:
    """What was believed beforehand, and what depends on it."""
    blocks: list[Block] = []
    for tree in analysis.trees.values():
        if read_conjugate_prior(tree) is not None:
            held = tree["prior_parameters"].to_dataset()
            blocks.append(Points(prior_sentences(held, structure_of(tree))))
            break
    if analysis.sensitivity is not None:
        found = analysis.sensitivity
        blocks.append(Paragraph(found.verdict, "note", "Sensitivity"))
        sensitive = (found.table["diagnosis"] != "-").to_list()
        title = f"Sensitivity of all {len(found.table)} quantities"
        blocks.append(table(_sensitivities(found), sensitive, title, folded=True))
    if not blocks:
        return None
    reading = (
        "The prior distribution, in the units of the data. The MAP estimate and the posterior use "
        "it; the MLE does not."
    )
    if analysis.sensitivity is not None:
        reading += (
            " A quantity is sensitive if its posterior moves when the prior counts a little more "
            "or less. It is marked if the effect is noticeable: if an end of its 95% interval "
            "would move by a posterior sd if the prior counted half as much, or if the prior "
            "expects weights or means elsewhere. The part is that of the prior which moves "
            "it most."
        )
    return Section("prior", "The prior, and what depends on it", reading, blocks)


def _sensitivities(found: Sensitivity) -> pd.DataFrame:
    """Write the table of sensitivities, in the units of the data."""
    names = {
        "prior": "to the prior",
        "likelihood": "to the likelihood",
        "shift by half prior": "shift if the prior counted half",
        "interval's end, sds": "of an interval's end, sds",
        "part of prior": "part",
    }
    return found.written().rename(columns=names).rename_axis("quantity")
