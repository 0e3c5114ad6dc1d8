"""Sections about the model: does it make such data, predict new rows, and lean on its prior."""

import numpy as np
import pandas as pd

from bayes_gmm import plots
from bayes_gmm.reports.blocks import Block, Paragraph, Points, Section, image, judged, table
from bayes_gmm.reports.words import prior_sentences
from bayes_gmm.results.analysis import Analysis, too_long_for_loo
from bayes_gmm.results.checks import LEVEL
from bayes_gmm.results.labels import read_conjugate_prior
from bayes_gmm.results.reading import structure_of
from bayes_gmm.results.sensitivity import Sensitivity
from bayes_gmm.results.tables import counted


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
