"""The whole analysis, stage by stage; the results of a stage are written before the next begins.

If the analysis is stopped, only the stage in progress is lost. If the sampler is interrupted, the
analysis continues with the draws made so far.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.data.streams import Stream
from bayes_gmm.data.writing import replace, write_table
from bayes_gmm.errors import CollapseError, InputError, require_whole
from bayes_gmm.model.structures import Structure, names
from bayes_gmm.posterior.predictive import tails
from bayes_gmm.progress import progress
from bayes_gmm.results.analysis import Analysis, too_long_for_loo
from bayes_gmm.results.comparison import constraint
from bayes_gmm.results.given import likely, numbers_of_clusters
from bayes_gmm.results.predictive import with_clusters
from bayes_gmm.results.reading import keeps_rows, structure_of
from bayes_gmm.results.relabel import BY_ROWS, METHODS, read_key
from bayes_gmm.results.remarks import how_found, remarks
from bayes_gmm.results.tree import MOST_ROWS
from bayes_gmm.seeds import Seed, as_seed

FAMILIES = {"independent": "IndependentPrior", "hierarchical": "HierarchicalPrior"}
UNSURE = 0.9
MOST_COMPONENTS = 9  # of the point estimates among which BIC chooses
MOST_INTERVALS = 400_000_000  # memberships, rows x draws x components, some ten seconds


class Stage(NamedTuple):
    """A part of the analysis: `run` computes it and returns its outcome as one line."""

    title: str
    run: Callable[[], str]
    shows_progress: bool = False


@dataclass(eq=False, kw_only=True)
class Pipeline:
    """An analysis in progress."""

    X: Any
    n_components: int | None  # None: unknown, and found
    folder: Path  # for the files; created if missing
    title: str  # of the report
    # structure of the covariances of MLE and MAP; the posterior's are unconstrained
    covariance: str | None = "VVV"  # None: found, with an unknown number of components
    n_starts: int = 30  # of EM
    # "default", which is conjugate, "independent" or "hierarchical", under which there is no MAP
    # estimate; or a prior
    prior: Any = "default"
    engine: str = "auto"  # as in the verbs
    # a method of `bg.relabel`; "ordering" is followed by a colon and what to order by, such as
    # "ordering:weights"
    relabel: str = "pivot"
    seed: int | None = None
    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    cores: int | None = None
    ci_prob: float = 0.95
    progressbar: bool = False  # whether the sampler shows its progress
    # results so far, by the names that `report` uses
    results: dict[str, Any] = field(default_factory=dict)
    written: list[Path] = field(default_factory=list)  # files written so far

    def __post_init__(self) -> None:
        self._method = _relabelling(self.relabel, tuple(map(str, self.X.columns)))
        if self._method["method"] in BY_ROWS and len(self.X) > MOST_ROWS:
            raise InputError(
                f"relabel is {self.relabel!r}, which needs the rows, but a result with more than "
                f"{MOST_ROWS:,} rows does not keep them: choose pivot or ordering:..."
            )
        self._found = 1  # number of clusters, until the posterior says more
        if self.n_components is not None and self.covariance is None:
            self.covariance = "VVV"
        if self.covariance is not None:
            Structure.of(self.covariance, self.X.shape[1])
        for name in ("n_starts", "draws", "tune", "chains", *["cores"] * (self.cores is not None)):
            require_whole(name, getattr(self, name), 1)
        tails(self.ci_prob)
        if self.n_components is None:
            self._require_drawn()
        drawn = ("nuts", "vb") if self.prior == "hierarchical" else ("gibbs", "nuts", "vb")
        if self._family and self.engine in drawn:
            raise InputError(
                f"engine is {self.engine}, which needs a conjugate prior, but the prior "
                f"{self.prior} is not conjugate: choose the prior default or the engine pymc"
            )
        for folder in (self.folder, self.folder / "pictures"):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"{folder}: this folder can't be created ({error.strerror}): choose another one"
                ) from None

    def _require_drawn(self) -> None:
        """Check that an unknown number of components can be sampled as asked for."""
        if self.engine not in ("auto", "gibbs"):
            raise InputError(
                f"engine is {self.engine}, which needs a known number of components: choose the "
                "engine gibbs, or give the number"
            )
        if self.prior == "independent":
            raise InputError(
                "prior is independent, under which an unknown number of components can't be drawn: "
                "choose default or hierarchical, or give the number"
            )
        if self.relabel != "pivot":
            raise InputError(
                f"relabel is {self.relabel!r}, but draws with an unknown number of components are "
                "not relabelled: give the number, or use bg.relabel in Python"
            )
        structure = Structure.of(self.covariance or "VVV", self.X.shape[1])
        if not structure.is_drawn:
            raise InputError(
                f"covariance is {self.covariance!r}, which is not sampled with an unknown number "
                f"of components: choose one of {', '.join(names(drawn=True))}"
            )

    @property
    def _k(self) -> int:
        """The number of components, or of clusters that is most probable."""
        return self.n_components if self.n_components is not None else self._found

    @property
    def _draws_structure(self) -> bool:
        """Whether the posterior can have the covariance structure of the estimates."""
        structure = Structure.of(self.covariance or "VVV", self.X.shape[1])
        return structure.is_drawn and not self._family and self.engine in ("auto", "gibbs", "vb")

    @property
    def stages(self) -> list[Stage]:
        """The stages in their order."""
        estimates = [
            Stage("maximum likelihood", self.maximum_likelihood),
            Stage("maximum a posteriori", self.maximum_a_posteriori),
        ]
        posterior = Stage("posterior", self.posterior, shows_progress=True)
        if self.n_components is None:
            first = [Stage("selection", self.selection), posterior, *estimates]
        else:
            first = [*estimates, posterior]
        return [
            *first,
            Stage("diagnosis", self.diagnosis),
            Stage("comparison", self.comparison),
            Stage("clusters", self.clusters),
            Stage("predictive checks", self.checks),
            Stage("prior sensitivity", self.sensitivity),
            Stage("leave-one-out", self.leave_one_out),
            Stage("report", self.report),
        ]

    @property
    def interrupted(self) -> str:
        """How many draws an interrupted posterior has, in words; "" if it was not interrupted."""
        posterior = self.results.get("posterior")
        if posterior is None or not posterior.attrs.get("partial", 0):
            return ""
        sizes = posterior["posterior"].sizes
        chains = "each chain"
        if sizes["chain"] < self.chains:
            chains = f"{sizes['chain']} of {self.chains} chains"
        return f"the posterior has {sizes['draw']} of {self.draws} draws of {chains}"

    def selection(self) -> str:
        """Rank structures and numbers of components by BIC; take the best structure."""
        structures = (self.covariance,) if self.covariance else names(drawn=True)
        most = max(1, min(MOST_COMPONENTS, len(self.X) // 2))
        found = bg.select(
            self.X, range(1, most + 1), covariance=structures, n_starts=self.n_starts,
            seed=self.seed,
        )  # fmt: skip
        self.results["selection"] = found
        best = found.best.attrs
        self.covariance = str(best["covariance"])
        self._draw("selection", bg.plots.selection(found))
        return f"BIC chooses {best['covariance']} with {best['n_components']} components"

    def maximum_likelihood(self) -> str:
        """EM without a prior; if every run collapses, this is reported and the analysis goes on."""
        try:
            self.results["mle"] = bg.fit(self.X, self._k, **self._search)
        except CollapseError as error:
            (self.folder / "pictures" / "em-mle.png").unlink(missing_ok=True)  # of an earlier run
            return f"skipped: {error}"
        self._save()
        self._draw("em-mle", bg.plots.em_trajectory(self.results["mle"]))
        return _of_search(self.results["mle"])

    def maximum_a_posteriori(self) -> str:
        """EM with the prior, if it is conjugate."""
        if self._family:
            (self.folder / "pictures" / "em-map.png").unlink(missing_ok=True)  # of an earlier run
            return f"skipped: EM needs a conjugate prior, and the prior {self.prior} is not"
        point = bg.fit(self.X, self._k, prior=self.prior, **self._search)
        self.results["map"] = point
        self._save()
        self._draw("em-map", bg.plots.em_trajectory(point))
        return _of_search(point)

    def posterior(self) -> str:
        """Draws from the posterior; after an interrupt those made so far."""
        posterior = bg.sample(
            self.X,
            self.n_components,
            prior=self._family.default(self.X, self._k) if self._family else self.prior,
            engine=self.engine,
            covariance=(self.covariance or "VVV") if self._draws_structure else "VVV",
            draws=self.draws,
            tune=self.tune,
            chains=self.chains,
            cores=self.cores,
            seed=self.seed,
            progressbar=self.progressbar,
        )
        self.results["posterior"] = posterior
        self._save()
        if self.n_components is None:
            self._draw("number", bg.plots.number_of_clusters(posterior))
            probabilities = numbers_of_clusters(posterior)
            self._found = next(iter(probabilities))
            return f"number of clusters, with probabilities: {', '.join(likely(probabilities, ''))}"
        if self.relabel != "pivot":
            self.results["posterior"] = bg.relabel(posterior, **self._method)
            self._save()
        if self.interrupted:
            return f"interrupted: {self.interrupted}; Ctrl-C again stops the analysis"
        engine = posterior.attrs.get("engine", "")
        said = f"{self.chains} chains of {self.draws} draws{f' by {engine}' * bool(engine)}"
        structure = structure_of(posterior)
        other = [constraint(self.results.get(name), structure) for name in ("mle", "map")]
        if any(other):
            said += f"; the EM estimates are of a different model, with {max(other)}"
        return said

    def diagnosis(self) -> str:
        """Whether the draws can be trusted."""
        posterior = self.results["posterior"]
        self.results["diagnosis"] = bg.diagnose(posterior)
        self._draw("mixture", bg.plots.mixture(posterior))
        self._draw("ranks", bg.plots.ranks(posterior))
        return str(self.results["diagnosis"].verdict)

    def comparison(self) -> str:
        """Each point estimate against the draws."""
        points = {
            name: self.results[name.lower()]
            for name in ("MLE", "MAP")
            if name.lower() in self.results
        }
        if not points:
            return "skipped: there is no point estimate to compare"
        posterior = self.results["posterior"]
        self.results["comparison"] = bg.compare(points, posterior, ci_prob=self.ci_prob)
        self._save()
        figure = bg.plots.comparison(points, posterior, ci_prob=self.ci_prob)
        self._draw("comparison", figure)
        return f"{' and '.join(points)} against the posterior"

    def clusters(self) -> str:
        """Membership probabilities of each row, averaged over the draws."""
        found = bg.predict(self._thinned(), self._rows(), ci_prob=self.ci_prob)
        table = with_clusters(self.X, found)
        self._note(write_table(self.folder / "clusters.csv", iter([table])))
        unsure = int((found["responsibilities"].max("cluster") < UNSURE).sum())
        return f"{len(table)} rows, {unsure} of them with membership probability under {UNSURE}"

    def checks(self) -> str:
        """Replicated data against the data."""
        self.results["checks"] = bg.check(self.results["posterior"], self._rows(), seed=self.seed)
        self._save()
        self._draw("checks", bg.plots.checks(self.results["checks"]))
        return f"{self.results['checks'].tree.attrs['n_replicates']} replicated data sets"

    def sensitivity(self) -> str:
        """Sensitivity to the prior; skipped if there are too few draws."""
        try:
            self.results["sensitivity"] = bg.sensitivity(self.results["posterior"])
        except InputError as error:
            return f"skipped: {error}"
        self._save()
        return str(self.results["sensitivity"].verdict.partition(". ")[0])

    def leave_one_out(self) -> str:
        """How well a row is predicted from the others, where that is quick."""
        reason = too_long_for_loo(self.results["posterior"])
        if reason:
            return reason
        try:
            self.results["loo"] = bg.loo(self.results["posterior"], self._rows())
        except InputError as error:
            return f"skipped: {error}"
        self._save()
        return f"elpd {self.results['loo'].elpd:.1f}, standard error {self.results['loo'].se:.1f}"

    def report(self) -> str:
        """Everything on one page."""
        path = self.folder / "report.html"
        bg.report(self.results, path, title=self.title)
        self._note(path)
        return "one page"

    @property
    def _family(self) -> Any:
        """The class of a prior that is not conjugate, or None."""
        name = FAMILIES.get(self.prior) if isinstance(self.prior, str) else None
        return getattr(bg, name) if name else None

    @property
    def _search(self) -> dict[str, Any]:
        """How EM is run."""
        return {"covariance": self.covariance, "n_starts": self.n_starts, "seed": self.seed}

    def _rows(self) -> Any:
        """The rows, if the result keeps no copy of them."""
        return None if keeps_rows(self.results["posterior"]) else self.X

    def _thinned(self) -> Any:
        """The posterior, thinned if intervals for all rows would take long."""
        posterior = self.results["posterior"]
        sizes = posterior["posterior"].sizes
        n_draws = max(100, MOST_INTERVALS // (len(self.X) * self._k))
        step = -(-sizes["chain"] * sizes["draw"] // n_draws)
        return posterior.isel(draw=slice(None, None, step), missing_dims="ignore")

    def _save(self) -> None:
        self._note(bg.save(self.results, self.folder / "analysis.nc"))

    def _draw(self, name: str, figure: Any) -> None:
        path = self.folder / "pictures" / f"{name}.png"
        self._note(replace(path, lambda part: figure.savefig(part, format="png")))

    def _note(self, path: Path) -> None:
        if path not in self.written:
            self.written.append(path)


def analyze(
    X: Any,
    n_components: int | None,
    folder: str | Path,
    *,
    covariance: str | None = None,
    prior: str = "default",
    engine: str = "auto",
    relabel: str = "pivot",
    n_starts: int = 30,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    cores: int | None = None,
    ci_prob: float = 0.95,
    title: str = "",
    seed: Seed = None,
    progressbar: bool = True,
) -> Analysis:
    """Fit by EM, sample the posterior, compare the two, check the fit and write a report.

    What ``bayes-gmm analyze`` does: `fit` without and with the prior, `sample`, `diagnose`,
    `compare`, `predict`, `check`, `sensitivity` and `loo`, one after the other.

    Parameters
    ----------
    X : table (N, D)
        As for `fit`, in memory.
    n_components : int or None
        K; or None, if it is unknown: `select` then finds the structure, K is sampled with the
        parameters, and the estimates have the most probable number of clusters.
    folder : str or Path
        Where analysis.nc, clusters.csv, report.html and the folder pictures are written, each as
        soon as it is complete. The folder is created if it is missing; other files in it are not
        touched.
    covariance : str, optional
        Covariance structure, as in `fit`; by default VVV, or for an unknown K the best by BIC of
        those that are sampled. The posterior has the same one if `sample` supports it,
        and VVV otherwise.
    prior : "default", "independent" or "hierarchical"
        Prior of MAP estimate and posterior, scaled to the data. Only the first is conjugate and
        has a MAP estimate.
    engine : str
        As in `sample`.
    relabel : str
        A method of `relabel`, or "ordering:" and what to order components by, such as
        "ordering:weights" or "ordering:means[x0]".
    n_starts, draws, tune, chains, cores
        As in `fit` and `sample`.
    ci_prob : float
        Probability of credible intervals.
    title : str
        Title of the report.
    seed : int, SeedSequence or Generator, optional
        Fixes the whole analysis.
    progressbar : bool

    Returns
    -------
    Analysis
        With the results `mle`, `map`, `posterior`, `comparison`, `diagnosis`, `checks`,
        `sensitivity`, `loo` and, for an unknown K, `selection`; those that were skipped are None.
        `report` and `save` accept it.

    Raises
    ------
    InputError
        If the input cannot be used; this is checked before anything is computed.

    Examples
    --------
    >>> import tempfile
    >>> import bayes_gmm as bg
    >>> found = bg.analyze(
    ...     bg.datasets.load("faithful"), 2, tempfile.mkdtemp(), seed=1, progressbar=False
    ... )
    >>> found.diagnosis.converged
    True
    """
    if n_components is not None:
        require_whole("n_components", n_components, 1)
    rows = Observations.of(X)
    if isinstance(rows.values, Stream):
        raise InputError(
            "X is read block by block, and analyze needs all rows in memory: pass X as an array, "
            "or pass a random subset of its rows"
        )
    pipeline = Pipeline(
        X=rows.frame,
        n_components=n_components,
        folder=Path(folder),
        title=title or titled(n_components),
        covariance=covariance,
        n_starts=n_starts,
        prior=prior,
        engine=engine,
        relabel=relabel,
        seed=as_seed(seed),
        draws=draws,
        tune=tune,
        chains=chains,
        cores=cores,
        ci_prob=ci_prob,
    )
    stages = pipeline.stages
    with progress(len(stages), "analysis", shown=progressbar) as done:
        for stage in stages:
            stage.run()
            done()
    return Analysis.of(pipeline.results)


def titled(n_components: int | None) -> str:
    """Say of how many components a mixture is."""
    if n_components is None:
        return "an unknown number of Gaussian components"
    return f"{n_components} Gaussian component{'s' * (n_components != 1)}"


def _relabelling(text: str, features: tuple[str, ...]) -> dict[str, str]:
    """Read the relabelling method, before anything is computed."""
    method, _, by = text.partition(":")
    if method not in METHODS or (method == "ordering") != bool(by):
        raise InputError(
            f"relabel is {text!r}; choose one of {', '.join(METHODS[:-1])}, or a parameter to "
            f"order by: ordering:weights, ordering:means[{features[0]}]"
        )
    if not by:
        return {"method": method}
    read_key(by, features)
    return {"method": method, "by": by}


def _of_search(point: Any) -> str:
    """Say how EM ended, in one line."""
    search = point["optimizer_result"].to_dataset()
    how = how_found(search)
    return f"log-likelihood {float(search['log_likelihood']):.5f}, {how}" + "".join(
        f". {remark.removesuffix('.')}" for remark in remarks(search)
    )
