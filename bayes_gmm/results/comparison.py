"""What `compare` returns: a labelled Dataset that prints as the tables a person reads."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.results.comparison_words import sentences, surpassed
from bayes_gmm.results.diagnosis import worst
from bayes_gmm.results.tables import as_html, as_text, counted, number, wrapped

LABELLINGS = {"raw": "parameters, sampler's labels", "relabelled": "parameters, matched labels"}
LABEL_FREE = "label-free quantities"


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Point estimates against a posterior.

    Attributes
    ----------
    dataset : xarray.Dataset
        By ``parameter`` and ``estimator``: estimate, standard_error, mean, sd, lower, upper, z,
        quantile, covered, and why_not, why the component has no identity, empty if it has one;
        log_likelihood, its quantile among the draws and its excess over their mean; rows_decide,
        which rows decide a component alone, in words; constraint, what an estimate holds fixed that
        the draws leave free; em_from_draw, what EM came to from a draw with a higher likelihood
        than a maximum, and em_from_draw_log_likelihood; rhat, ess_bulk and ess_tail before and
        after relabelling, and of the label-free quantities.
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
        lower, upper = self._ends
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
        """R-hat and ESS of every quantity: sampler's labels, matched labels, and label-free."""
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
        label_free = {name: self.dataset[f"invariant_{name}"].to_numpy() for name in names}
        quantity = self.dataset["invariant"].to_numpy()
        parts.append(pd.DataFrame({"group": LABEL_FREE, "quantity": quantity, **label_free}))
        return pd.concat(parts).set_index(["group", "quantity"])

    @property
    def sentences(self) -> list[str]:
        """What stands out, in words."""
        return sentences(self.dataset)

    @property
    def surpassed(self) -> list[str]:
        """Maxima of the likelihood, by name, than which a draw has a higher one."""
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
    def _ends(self) -> tuple[str, str]:
        tail = 50 * (1 - self.dataset.attrs["ci_prob"])
        return f"{tail:g}%", f"{100 - tail:g}%"

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
        for name in ("mean", "sd", *first_error, *self._ends):
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

    def __str__(self) -> str:
        parameters = self._parameters()
        shown = parameters[self.is_free & (self.dataset["kind"].to_numpy() != "covariance")]
        note = "Covariances are in the report and in .table; * lies outside the interval"
        errors = any(name.startswith("se ") for name in shown)
        note += "; se is by the observed information." if errors else "."
        parts = [
            self._title,
            f"{as_text(shown)}\n{wrapped(note)}",
            as_text(self._likelihoods()),
            "\n".join(map(wrapped, self.sentences)),
            as_text(worst(self.diagnostics)),
        ]
        return "\n\n".join(parts)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return as_html(
            self._title,
            [
                self._parameters()[self.is_free],
                self._likelihoods(),
                *self.sentences,
                worst(self.diagnostics),
            ],
        )
