"""What `compare` returns: a labelled Dataset that prints as the tables a person reads."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.results.diagnosis import worst
from bayes_gmm.results.reading import feature_names, is_point, structure_of
from bayes_gmm.results.tables import Printed, counted, ends, number, some

LABELLINGS = {"raw": "parameters, sampler's labels", "relabelled": "parameters, matched labels"}
LABEL_INVARIANT = "label-invariant quantities"


NOT_RUN = "not run"  # EM was not run from a draw with a higher likelihood
FEWEST_STARTS = 60  # to advise; with more than 30 the search also goes on longer


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Printed):
    """Point estimates against a posterior.

    Attributes
    ----------
    dataset : xarray.Dataset
        By ``parameter`` and ``estimator``: estimate, standard_error, mean, sd, lower, upper, z,
        quantile, covered, and why_not, the reason why the component is not identified, or "";
        log_likelihood, its quantile among the draws and its excess over their mean; rows_decide,
        rows that determine a component, in words; constraint, a constraint of the estimate that the
        draws do not have; em_from_draw, the result of EM from a draw with a higher likelihood than
        a maximum-likelihood estimate, and em_from_draw_log_likelihood; rhat, ess_bulk and ess_tail
        before and after relabelling, and of the label-invariant quantities.
    """

    dataset: xr.Dataset

    @property
    def estimators(self) -> list[str]:
        """Names of the point estimates."""
        return [str(name) for name in self.dataset["estimator"].to_numpy()]

    @property
    def table(self) -> pd.DataFrame:
        """One row per scalar parameter; numbers, not rounded."""
        data = self.dataset
        lower, upper = ends(data.attrs["ci_prob"])
        columns = {name: data["estimate"].sel(estimator=name) for name in self.estimators}
        columns |= {"mean": data["mean"], "sd": data["sd"]}
        errors = data["standard_error"]
        columns |= {
            f"se {name}": errors.sel(estimator=name)
            for name in self.estimators
            if errors.sel(estimator=name).notnull().any()
        }
        columns |= {lower: data["lower"], upper: data["upper"]}
        for label, variable in (("z", "z"), ("quantile", "quantile"), ("covered", "covered")):
            columns |= {
                f"{label} {name}": data[variable].sel(estimator=name) for name in self.estimators
            }
        frame = pd.DataFrame({name: values.to_numpy() for name, values in columns.items()})
        return frame.set_index(pd.Index(data["parameter"].to_numpy(), name="parameter"))

    @property
    def log_likelihood(self) -> pd.DataFrame:
        """One row per estimator: its log-likelihood, and where that lies among the draws."""
        data = self.dataset
        frame = pd.DataFrame(
            {
                "log-likelihood": data["log_likelihood"].to_numpy(),
                "share of draws below": data["log_likelihood_quantile"].to_numpy(),
                "above the posterior mean": data["log_likelihood_excess"].to_numpy(),
            }
        )
        return frame.set_index(pd.Index(self.estimators, name="estimator"))

    @property
    def diagnostics(self) -> pd.DataFrame:
        """R-hat and ESS: by the sampler's labels, by matched labels, and label-invariant."""
        names = ("rhat", "ess_bulk", "ess_tail")
        parts = [
            pd.DataFrame(
                {
                    "group": LABELLINGS[labelling],
                    "quantity": self.dataset["parameter"].to_numpy(),
                    **{name: self.dataset[name].sel(labelling=labelling) for name in names},
                }
            )
            for labelling in LABELLINGS
        ]
        label_invariant = {name: self.dataset[f"invariant_{name}"].to_numpy() for name in names}
        quantity = self.dataset["invariant"].to_numpy()
        parts.append(
            pd.DataFrame({"group": LABEL_INVARIANT, "quantity": quantity, **label_invariant})
        )
        return pd.concat(parts).set_index(["group", "quantity"])

    @property
    def sentences(self) -> list[str]:
        """The main findings, in words."""
        return sentences(self.dataset)

    @property
    def surpassed(self) -> list[str]:
        """Names of maximum-likelihood estimates below the largest log-likelihood of the draws."""
        data = self.dataset
        return [name for name in self.estimators if surpassed(data.sel(estimator=name))]

    def with_em_from_draw(self, name: str, meaning: str, log_likelihood: float) -> "Comparison":
        """Add what EM came to from a draw that surpasses an estimate.

        Parameters
        ----------
        name : str
            Of the estimate.
        meaning : str
            "unconverged", "collapsed", "set aside" or "missed".
        log_likelihood : float
            Where EM ended; not a number if a component collapsed.
        """
        data = self.dataset
        others = data["estimator"] != name
        heights = data["em_from_draw_log_likelihood"].where(others, log_likelihood)
        meanings = data["em_from_draw"].where(others, meaning)
        return Comparison(data.assign(em_from_draw=meanings, em_from_draw_log_likelihood=heights))

    @property
    def is_free(self) -> np.ndarray:
        """Whether each parameter is free, unlike a correlation where covariances are diagonal."""
        data = self.dataset
        between = data["kind"].isin(["correlation", "covariance"]) & (
            data["feature"] != data["feature_bis"]
        )
        return ~(between & (data["sd"] == 0)).to_numpy()

    @property
    def _identified(self) -> np.ndarray:
        """Whether each parameter belongs to a component that is identified."""
        return self.dataset["why_not"].to_numpy() == ""

    @property
    def _title(self) -> str:
        attrs = self.dataset.attrs
        return (
            f"{' and '.join(self.estimators)} against the posterior: "
            f"{counted(attrs['n_observations'], 'row')}, "
            f"{counted(attrs['n_features'], 'feature')}, "
            f"{counted(attrs['n_components'], 'component')}, "
            f"{attrs['n_chains']} x {counted(attrs['n_draws'], 'draw')}"
        )

    def _parameters(self) -> pd.DataFrame:
        """Round the table to what the posterior sd supports; an asterisk marks an outlier.

        Of a component without identity there is nothing to compare.
        """
        table = self.table
        sds = table["sd"].to_numpy()
        written = pd.DataFrame(index=table.index)
        for name in self.estimators:
            inside = table[f"covered {name}"]
            written[name] = [
                number(value, sd) + (" " if covered else "*")
                for value, sd, covered in zip(table[name], sds, inside, strict=True)
            ]
        # The others' standard errors differ little, and the table should fit a line.
        first_error = [name for name in table.columns if name.startswith("se ")][:1]
        for name in ("mean", "sd", *first_error, *ends(self.dataset.attrs["ci_prob"])):
            written[name] = [number(v, sd) for v, sd in zip(table[name], sds, strict=True)]
        for name in self.estimators:
            written[f"z {name}"] = [f"{z:+z.2f}" for z in table[f"z {name}"]]
        written[~self._identified] = "-"
        return written

    def _likelihoods(self) -> pd.DataFrame:
        table = self.log_likelihood
        return pd.DataFrame(
            {
                "log-likelihood": [f"{v:.4f}" for v in table["log-likelihood"]],
                "share of draws below": [f"{v:.1%}" for v in table["share of draws below"]],
                "above the posterior mean": [f"{v:.2f}" for v in table["above the posterior mean"]],
            },
            index=table.index,
        )

    def _parts(self, *, html: bool) -> list[Any]:
        parameters: Any = self._parameters()[self.is_free]
        if not html:
            shown = parameters[self.dataset["kind"].to_numpy()[self.is_free] != "covariance"]
            note = "Covariances are in the report and in .table; * marks values outside intervals"
            errors = any(name.startswith("se ") for name in shown)
            note += "; se is from the observed information." if errors else "."
            parameters = [shown, note]
        diagnostics = worst(self.diagnostics)
        return [self._title, parameters, self._likelihoods(), self.sentences, diagnostics]


def constraint(result: Any, structure: Structure = UNCONSTRAINED) -> str:
    """Say in what an estimate is of another model than the draws."""
    if not is_point(result):
        return ""
    own, n_features = structure_of(result), len(feature_names(result))
    other = []
    if own != structure:
        codes = own.label(n_features), structure.label(n_features)
        other.append("covariance structure {}, while the draws have {}".format(*codes))
    if result.attrs.get("equal_weights", 0):
        other.append("equal weights, while those of the draws vary")
    return ", and ".join(other)


def sentences(data: xr.Dataset) -> list[str]:
    """Say what stands out."""
    estimators = [data.sel(estimator=name) for name in data["estimator"].to_numpy()]
    deciding = {str(one["estimator"].item()): str(one["rows_decide"].item()) for one in estimators}
    said = [f"{name}: {rows}" for name, rows in deciding.items() if rows]
    said += _of_constraints(data)
    said.append(_of_likelihood(data))
    for one in estimators:
        said += [_of_higher_draw(one), _of_standard_errors(one), _of_intervals(one)]
    return [*filter(None, said), *_of_components(data)]


def surpassed(one: xr.Dataset) -> bool:
    """Whether a draw has a higher likelihood than an estimate that is said to maximize it."""
    free = bool(one["maximizes_likelihood"]) and not str(one["constraint"].item())
    return free and float(one["log_likelihood_quantile"]) < 1


def _of_constraints(data: xr.Dataset) -> list[str]:
    """Say which estimates are of another model than the draws, and what follows."""
    held: dict[str, list[str]] = {}
    for name, what in zip(
        *(data[of].to_numpy() for of in ("estimator", "constraint")), strict=True
    ):
        held.setdefault(str(what), []).append(str(name))
    return [
        f"{' and '.join(names)}: {what}. Because the models differ, a draw may have a higher "
        "log-likelihood, and an estimate may lie outside an interval."
        for what, names in held.items()
        if what
    ]


def _of_likelihood(data: xr.Dataset) -> str:
    lower, upper = data["draws_log_likelihood_lower"], data["draws_log_likelihood_upper"]
    said = (
        f"Log-likelihood of the draws: mean {float(data['draws_log_likelihood_mean']):.2f}, "
        f"sd {float(data['draws_log_likelihood_sd']):.2f}, {data.attrs['ci_prob']:.0%} interval "
        f"{float(lower):.2f} to {float(upper):.2f}, "
        f"largest {float(data['draws_log_likelihood_max']):.2f}."
    )
    if (data["constraint"] != "").all():
        return said
    return (
        f"{said} With many rows a maximum lies about {data.attrs['n_parameters'] / 2:g} above the "
        f"mean, half the number of parameters ({data.attrs['n_parameters']})."
    )


def _of_higher_draw(one: xr.Dataset) -> str:
    """Say why a draw has a higher likelihood than a maximum, and what to do if it was missed."""
    if not surpassed(one):
        return ""
    name, meaning = str(one["estimator"].item()), str(one["em_from_draw"].item())
    height, best = float(one["log_likelihood"]), float(one["draws_log_likelihood_max"])
    end = float(one["em_from_draw_log_likelihood"])
    if str(one["rows_decide"].item()):
        why = "check the row that determines a component first."
    elif meaning == "unconverged":
        why = "EM had not converged at the estimate: raise max_iter of bg.fit."
    elif meaning == "missed":
        n_starts = max(2 * int(one["n_starts"]), FEWEST_STARTS)
        why = (
            f"EM from there ends at {end:.2f}. The fit missed this better optimum: search with "
            f"n_starts={n_starts} (on the command line --starts {n_starts})."
        )
    elif meaning == "set aside":
        why = (
            f"EM from there ends at {end:.2f}, at an optimum that was rejected because it is "
            "expected to predict new rows worse than the estimate."
        )
    elif meaning == "collapsed":
        why = "EM from there collapses, because the likelihood is unbounded there."
    else:
        why = "the likelihood has a higher maximum than this estimate."
    return f"A draw reaches {best:.2f}, above the {name} at {height:.2f}: {why}"


def _of_standard_errors(one: xr.Dataset) -> str:
    if one["standard_error"].isnull().any() and one["standard_error"].notnull().any():
        return (
            f"Some parameters of the {one['estimator'].item()} have no standard error; in Python "
            "bg.standard_errors says why."
        )
    return ""


def _of_intervals(one: xr.Dataset) -> str:
    name = one["estimator"].item()
    identified = one["why_not"].to_numpy() == ""
    # A variance lies outside its interval where the sd does, and need not be named too.
    variance = (one["kind"] == "covariance") & (one["feature"] == one["feature_bis"])
    shown = ~(one["covered"] | variance).to_numpy() & identified
    outside = [str(parameter) for parameter in one["parameter"].to_numpy()[shown]]
    if outside:
        return f"{name} lies outside the interval for {some(outside, 'marked in the table')}."
    every = "every" if identified.all() else "every identified"
    return f"{name}: {every} parameter lies inside its {one.attrs['ci_prob']:.0%} interval."


def _of_components(data: xr.Dataset) -> list[str]:
    """Say which components are not identified, those with the same reason together."""
    clusters, reasons = data["cluster"].to_numpy(), data["why_not"].to_numpy().astype(str)
    why = {int(k): reasons[clusters == k][0] for k in np.unique(clusters)}
    said = []
    for reason in dict.fromkeys(filter(None, why.values())):
        which = [k for k, own in why.items() if own == reason]
        names = some(which, "dashes in the table")
        several = len(which) > 1
        said.append(
            f"Component{'s' * several} {names} {'are' if several else 'is'} not identified "
            f"({reason}), so {'their' if several else 'its'} parameters are not listed. Densities "
            "and predictions remain valid."
        )
    return said
