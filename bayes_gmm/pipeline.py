"""The whole analysis, stage by stage; what a stage has found is on disk before the next begins.

A run that is stopped loses the stage that it was in, and nothing else.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import bayes_gmm as bg
from bayes_gmm.errors import CollapseError, InputError


class Stage(NamedTuple):
    """A part of the analysis: `run` does it and says in a line what came out."""

    title: str
    run: Callable[[], str]
    shows_progress: bool = False


@dataclass(eq=False)
class Pipeline:
    """An analysis on its way.

    Attributes
    ----------
    X : DataFrame
    n_components : int
    folder : Path
        Where files go; made if it is missing.
    title : str
        Of the report.
    prior, seed, draws, tune, chains, cores, ci_prob
        As in the verbs.
    progressbar : bool
        Whether the sampler shows how far it is.
    results : dict
        What has been found so far, by the names that `report` knows.
    written : list of Path
        Files written so far.
    """

    X: Any
    n_components: int
    folder: Path
    title: str
    prior: str = "default"
    seed: int | None = None
    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    cores: int | None = None
    ci_prob: float = 0.95
    progressbar: bool = False
    results: dict[str, Any] = field(default_factory=dict)
    written: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in (self.folder, self.folder / "pictures"):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"{folder} can't be made a folder for results: {error.strerror}"
                ) from None

    @property
    def stages(self) -> list[Stage]:
        """The stages in their order."""
        return [
            Stage("maximum likelihood", self.maximum_likelihood),
            Stage("maximum a posteriori", self.maximum_a_posteriori),
            Stage("posterior", self.posterior, shows_progress=True),
            Stage("comparison", self.comparison),
            Stage("predictive checks", self.checks),
            Stage("report", self.report),
        ]

    def maximum_likelihood(self) -> str:
        """EM without a prior; a likelihood without a peak is reported, and is no obstacle."""
        try:
            self.results["mle"] = bg.fit(self.X, self.n_components, seed=self.seed)
        except CollapseError as error:
            (self.folder / "pictures" / "em-mle.png").unlink(missing_ok=True)  # of an earlier run
            return f"left out: {error}"
        self._save()
        self._draw("em-mle", bg.plots.em_trajectory(self.results["mle"]))
        return _of_search(self.results["mle"])

    def maximum_a_posteriori(self) -> str:
        """EM with the prior."""
        point = bg.fit(self.X, self.n_components, prior=self.prior, seed=self.seed)
        self.results["map"] = point
        self._save()
        self._draw("em-map", bg.plots.em_trajectory(point))
        return _of_search(point)

    def posterior(self) -> str:
        """Draws, and whether they can be trusted."""
        with _stop_means_stop():
            posterior = bg.sample(
                self.X,
                self.n_components,
                prior=self.prior,
                draws=self.draws,
                tune=self.tune,
                chains=self.chains,
                cores=self.cores,
                seed=self.seed,
                progressbar=self.progressbar,
            )
        self.results["posterior"] = posterior
        self._save()
        self.results["diagnosis"] = bg.diagnose(posterior)
        self._draw("mixture", bg.plots.mixture(posterior))
        self._draw("ranks", bg.plots.ranks(posterior))
        return f"{self.chains} chains of {self.draws} draws"

    def comparison(self) -> str:
        """Each estimate among the draws."""
        points = {
            name: self.results[name.lower()]
            for name in ("MLE", "MAP")
            if name.lower() in self.results
        }
        posterior = self.results["posterior"]
        self.results["comparison"] = bg.compare(points, posterior, ci_prob=self.ci_prob)
        self._save()
        figure = bg.plots.comparison(points, posterior, ci_prob=self.ci_prob)
        self._draw("comparison", figure)
        return f"{' and '.join(points)} against the posterior"

    def checks(self) -> str:
        """Replicated data against the data."""
        self.results["checks"] = bg.check(self.results["posterior"], seed=self.seed)
        self._save()
        self._draw("checks", bg.plots.checks(self.results["checks"]))
        return f"{self.results['checks'].tree.attrs['n_replicates']} replicated data sets"

    def report(self) -> str:
        """Everything on one page."""
        path = self.folder / "report.html"
        bg.report(self.results, path, title=self.title)
        self._note(path)
        return "one page"

    def _save(self) -> None:
        self._note(bg.save(self.results, self.folder / "analysis.nc"))

    def _draw(self, name: str, figure: Any) -> None:
        path = self.folder / "pictures" / f"{name}.png"
        part = path.with_name(f".{name}.png")
        figure.savefig(part, format="png")
        self._note(part.replace(path))

    def _note(self, path: Path) -> None:
        if path not in self.written:
            self.written.append(path)


@contextmanager
def _stop_means_stop() -> Iterator[None]:
    """End in KeyboardInterrupt if the user asks for it, which samplers take for "few draws do"."""
    asked = []

    def ask(*_: Any) -> None:
        asked.append(True)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # signals go to that one only
        yield
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    except Exception:
        if not asked:
            raise
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt


def _of_search(point: Any) -> str:
    """Say how EM ended."""
    search = point["optimizer_result"].to_dataset()
    n_starts, reached = search.sizes["start"], int(search["optimum_starts"][0])
    return (
        f"log-likelihood {float(search['log_likelihood']):.5f}, "
        f"{reached} of {n_starts} start{'s' * (n_starts != 1)} reached the optimum"
    )
