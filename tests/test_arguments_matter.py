"""Every argument of every verb changes what it should in the answer, and nothing else.

An answer is looked at through views: the numbers of a group, an attribute, what was printed. A row
of the table says of one argument which views another value of it changes; all others must stay as
they are, to the last bit. Arguments like `cores`, which say how and not what, change none. The
table is held to the signatures, so that an argument without a row fails.
"""

import inspect
import tempfile
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from helpers import random_parameters

import bayes_gmm as bg
from bayes_gmm.errors import InputError
from bayes_gmm.model import mixture
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.results.groups import NAMES

TINY = 1e-9  # GiB, in which nothing has room
pytestmark = pytest.mark.filterwarnings("ignore")  # few iterations and few draws, on purpose


def table_of_rows(seed, apart=3.6, n=60):
    rng = np.random.default_rng(seed)
    means = [[0, 0], [apart, 0.4 * apart]]
    theta = bg.Parameters([0.4, 0.6], means, [[[1, 0.5], [0.5, 1]], np.eye(2)])
    return pd.DataFrame(mixture.sample(theta, n, rng)[0] * [1.0, 20.0], columns=["a", "b"])


X, OTHER_X, DOUBTFUL = table_of_rows(0), table_of_rows(1), table_of_rows(0, apart=2.6)
SAMPLED = {"engine": "gibbs", "draws": 60, "tune": 20, "chains": 3, "progressbar": False}


class World:
    """What several verbs start from, each made once and when it is first needed."""

    @cached_property
    def fit(self):
        return bg.fit(X, 2, seed=0)

    @cached_property
    def other_fit(self):
        return bg.fit(X, 2, seed=0, prior="default")

    @cached_property
    def diagonal_fit(self):
        return bg.fit(X, 2, seed=0, covariance="VVI")

    @cached_property
    def posterior(self):
        return bg.sample(X, 2, seed=0, **SAMPLED)

    @cached_property
    def other_posterior(self):
        return bg.sample(X, 2, seed=1, **SAMPLED)

    @cached_property
    def unknown(self):
        """With an unknown number of components."""
        return bg.sample(X, None, seed=0, **SAMPLED)

    @cached_property
    def other_unknown(self):
        return bg.sample(X, None, seed=1, **SAMPLED)

    @cached_property
    def tables(self):
        """Files, each with another peculiarity."""
        folder = Path(tempfile.mkdtemp())
        (folder / "one.csv").write_text("a,b\n1,2\n3,4\n5,7\n")
        (folder / "two.csv").write_text("a,b\n1,2\n3,5\n")
        (folder / "two_ways.csv").write_text("c,x;c\n1,2;3\n4,5;6\n")
        (folder / "thousands.csv").write_text('a,b\n"1,234",1\n"2,345",2\n')
        (folder / "latin.csv").write_bytes("\u00b9,b\n1,2\n3,4\n".encode("latin-1"))
        bg.save(self.fit, folder / "one.nc")
        bg.save(self.diagonal_fit, folder / "two.nc")
        return folder

    @cached_property
    def trace(self):
        return as_trace(self.posterior)

    @cached_property
    def pulled_posterior(self):
        """Under a prior that expects the means elsewhere."""
        usual = ConjugatePrior.default(X, 2)
        away = replace(usual, mean=usual.mean + np.array([20.0, 0.0]), mean_precision=2.0)
        return bg.sample(X, 2, prior=away, seed=0, **SAMPLED)

    @property
    def rowless(self):
        """As one of more rows than a result keeps."""
        return self.posterior.drop_nodes("observed_data")

    @property
    def other_rowless(self):
        return self.other_posterior.drop_nodes("observed_data")

    @property
    def rowless_fit(self):
        return self.fit.drop_nodes("observed_data")

    @cached_property
    def selection(self):
        return bg.select(X, [1, 2], covariance=["EEE", "VVV"], seed=0, **QUIET)

    @property
    def theta(self):
        return bg.point_estimate(self.fit)

    @property
    def other_theta(self):
        return bg.point_estimate(self.diagonal_fit)


QUIET: dict[str, Any] = {"progressbar": False}


def as_trace(result):
    """Draws as a model with variables enough for another choice of each would leave them."""
    drawn = result["posterior"].to_dataset()
    factors = np.linalg.cholesky(drawn["covariances"].to_numpy())
    return xr.DataTree.from_dict(
        {
            "/posterior": drawn.assign(
                even=xr.full_like(drawn["weights"], 0.5),
                moved=drawn["means"] + 0.5,
                wide=2 * drawn["covariances"],
                factors=(drawn["covariances"].dims, 1.5 * factors),
                spread=abs(drawn["means"]) + 1,
            )
        }
    )


@pytest.fixture(scope="module")
def world():
    return World()


class Row(NamedTuple):
    """One argument: another value, the views that it changes, and those that it may change."""

    value: Any
    changes: Set[str] = frozenset()
    may: Set[str] = frozenset()
    beside: Mapping[str, Any] = MappingProxyType({})  # other arguments, on both sides
    refused: Any = None  # a value that is an error


class Verb(NamedTuple):
    """A verb, the arguments that it is first called with, how its answer is seen, and the table."""

    call: Callable
    base: Callable[[World], dict[str, Any]]
    views: Callable[[Any], dict[str, Any]]
    rows: dict[str, Row]


def same(one: Any, other: Any) -> bool:
    """Whether two views are the same to the last bit."""
    if one is None or other is None:
        return one is other
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        numbers = one.dtype.kind in "fc"
        return one.shape == other.shape and np.array_equal(one, other, equal_nan=numbers)
    return bool(one == other)


def variables(dataset, *names: str) -> list[np.ndarray]:
    return [np.asarray(dataset[name]) for name in names if name in dataset]


def attributes(tree, *names: str) -> dict[str, Any]:
    return {name: tree.attrs.get(name) for name in names}


def of_fit(tree) -> dict[str, Any]:
    search = tree["optimizer_result"].to_dataset()
    return {
        "estimate": variables(tree["point_estimate"], "weights", "means", "covariances"),
        "rows": variables(tree["observed_data"], "x", "row_weights"),
        "prior": "prior_parameters" in tree.children,
        "starts": search.sizes["start"],
        "where they began": np.asarray(search["start_objective"])[1:],
        "iterations": int(search["n_iterations"]),
        "parameters": int(search["n_parameters"]),
        **attributes(tree, "covariance", "estimator", "equal_weights", "seed", "n_components"),
        **attributes(tree, "missing"),
    }


SEARCH = {"where they began", "iterations"}
ALL_OF_FIT = {"estimate", *SEARCH}


def of_posterior(tree) -> dict[str, Any]:
    drawn = tree["posterior"].to_dataset()
    raw = tree["posterior"]["weights"].to_numpy()
    return {
        "all draws": variables(drawn, "weights", "means", "covariances"),
        "first draws": raw[:2, :30].sum(axis=2) if raw.shape[2] == 1 else raw[:2, :30],
        "draws": drawn.sizes["draw"],
        "chains": drawn.sizes["chain"],
        "rows": variables(tree["observed_data"], "x", "row_weights"),
        "prior": variables(tree["prior_parameters"], "mean", "scale"),
        "map": np.round(tree["point_estimate"]["means"].to_numpy(), 3),
        "groups": list(tree.children),
        **attributes(tree, "covariance", "engine", "seed", "tune", "thin", "relabelling"),
        **attributes(tree, "n_components", "missing"),
    }


def of_given(tree) -> dict[str, Any]:
    return {
        "draws": variables(tree["posterior"], "weights", "means", "covariances"),
        **attributes(tree, "given_n_clusters", "given_probability", "given_share", "seed"),
    }


def of_selection(found) -> dict[str, Any]:
    data, best = found.dataset, found.best
    return {
        "fits": variables(data, "log_likelihood", "bic", "icl", "aic"),
        "shape": tuple(data.sizes.values()),
        "structures": data["covariance"].to_numpy(),
        "sizes": data["n_components"].to_numpy(),
        "converged": variables(data, "converged"),
        "order": found.table[["covariance", "n_components"]].to_numpy().tolist(),
        "best": (best.attrs["covariance"], best.attrs["n_components"]),
        "estimator": best.attrs["estimator"],
        **attributes(best, "seed", "missing"),
        "starts": best["optimizer_result"].sizes["start"],
        "iterations": int(best["optimizer_result"]["n_iterations"]),
        "first words": found.sentences[0].partition(":")[0],
    }


def of_how_many(found) -> dict[str, Any]:
    data, best = found.dataset, found.selection.best
    return {
        "fits": variables(data, "log_likelihood", "bic", "n_modes"),
        "sizes": data["n_components"].to_numpy(),
        "criteria": list(found.answers),
        "answers": list(found.answers.values()),
        "tests": variables(data, "likelihood_ratio", "p_value"),
        "replicates": variables(data, "n_replicates"),
        "posteriors": variables(data, "elpd", "elpd_se"),
        "best": variables(best["point_estimate"], "means"),
        "starts": best["optimizer_result"].sizes["start"],
        **attributes(best, "covariance", "estimator", "seed", "missing"),
    }


def of_merging(found) -> dict[str, Any]:
    data = found.dataset
    return {
        "tree": variables(data, "joined", "height"),
        "clusters": found.n_clusters,
        "rows": variables(data, "label", "responsibilities"),
        "entropy": variables(data, "entropy"),
        "height": found.mergers.columns[-1],
    }


def of_modes(found) -> dict[str, Any]:
    return {
        "modes": variables(found, "location", "log_density", "mode_of_component"),
        "draws": found.sizes.get("draw"),
    }


def of_errors(errors) -> dict[str, Any]:
    data = errors.dataset
    return {
        "estimate": variables(data, "estimate"),
        "errors": variables(data, "standard_error", "bias", "replicates"),
        "interval": variables(data, "lower", "upper"),
        "columns": errors.table.columns.tolist(),
        "refits": data.sizes.get("replicate"),
        **attributes(data, "method", "seed", "ci_prob", "covariance"),
    }


def of_comparison(found) -> dict[str, Any]:
    data = found.dataset
    return {
        "estimate": variables(data, "estimate", "log_likelihood"),
        "names": found.estimators,
        "draws": variables(data, "mean", "sd", "rhat", "draws_log_likelihood_mean"),
        "interval": variables(data, "lower", "upper", "draws_log_likelihood_lower"),
        "covered": variables(data, "covered"),
        "z": variables(data, "z", "quantile"),
        "columns": [name for name in found.table.columns if name.endswith("%")],
        "ci_prob": data.attrs["ci_prob"],
    }


def of_check(found) -> dict[str, Any]:
    data = found.tree["statistics"].to_dataset()
    return {
        "observed": variables(data.sel(statistic="mean"), "observed"),
        "replicated": variables(data.sel(statistic="mean"), "replicated"),
        "statistics": data["statistic"].to_numpy().tolist(),
        "replicates": found.tree.attrs["n_replicates"],
    }


def of_partition(found) -> dict[str, Any]:
    return {
        "label": variables(found, "label"),
        "rows": variables(found, "obs_id"),
        "confidence": variables(found, "confidence"),
        "loss": found.attrs["loss"],
        "expected": float(found["expected_loss"]),
        "radius": float(found["ball_radius"]),
        "bounds": variables(found, "lower_bound", "upper_bound", "horizontal_bound"),
        "ci_prob": found.attrs["ci_prob"],
    }


def of_loo(found) -> dict[str, Any]:
    rows = [np.asarray(found[name]) for name in ("elpd_i", "p_loo_i", "pareto_k")]
    return {"rows": rows, "sums": (found.elpd, found.se, found.p), "draws": found.n_samples}


def of_evidence(found) -> dict[str, Any]:
    table = found.table
    return {
        "evidence": table[["log_evidence", "standard_error"]].to_numpy(),
        "prior": table["prior_probability"].to_numpy(),
        "probability": table["probability"].to_numpy(),
    }


def of_drawing(figure) -> dict[str, Any]:
    """What is drawn, and what is written beside it."""
    import matplotlib.pyplot as plt

    drawn, words = [], [text.get_text() for text in figure.texts]
    for legend in figure.legends:
        words += [text.get_text() for text in legend.get_texts()]
    for axes in figure.axes:
        drawn += [np.asarray(line.get_xydata(), float) for line in axes.lines]
        drawn += [path.vertices for kept in axes.collections for path in kept.get_paths()]
        drawn += [np.asarray(kept.get_offsets()) for kept in axes.collections]
        drawn += [patch.get_extents().get_points() for patch in axes.patches]
        drawn += [np.asarray(image.get_array()) for image in axes.images]
        words += [axes.get_title(loc=side) for side in ("left", "center", "right")]
        words += [axes.get_xlabel(), axes.get_ylabel(), *(t.get_text() for t in axes.texts)]
    plt.close(figure)
    return {"drawn": drawn, "words": words, "panels": len(figure.axes)}


def of_groups(tree) -> dict[str, Any]:
    """What of the groups for ArviZ there is."""

    def numbers(group: str) -> list[np.ndarray]:
        return variables(tree[group], *tree[group].data_vars) if group in tree.children else []

    return {
        "draws": numbers("posterior"),
        "rows": numbers("observed_data"),
        **{name: numbers(name) for name in NAMES},
    }


def of_model(model) -> dict[str, Any]:
    x, times = model["x"], model.named_vars.get("row_weights")
    likelihood = type(x.owner.op).__name__
    prior_mean = model["means"].owner.op.dist_params(model["means"].owner)[0]
    return {
        "rows": np.asarray(model.rvs_to_values[x].eval()),
        "components": len(model.coords["cluster"]),
        "prior": np.asarray(prior_mean.eval()),
        "likelihood": likelihood,
        "row weights": None if times is None else np.asarray(times.eval()),
    }


DENSITY = {
    "weights": [0.4, 0.6],
    "means": [[0.0, 0.0], [1.0, 1.0]],
    "choleskys": [[[1.0, 0.0], [0.5, 1.0]]] * 2,
}


def model_with_mixture(options, **arguments):
    with pm.Model(coords={"obs_id": range(len(X)), "feature": ["a", "b"]}) as model:
        bg.pymc_mixture(**arguments, **options)
    return model


def of_mixture(model) -> dict[str, Any]:
    (variable,) = model.basic_RVs
    rows = [[0.0, 0.0], [1.0, 1.0]]
    return {
        "name": variable.name,
        "density": pm.logp(variable, rows).eval(mode="FAST_COMPILE"),
        "observed": [v.name for v in model.observed_RVs],
        "dims": model.named_vars_to_dims.get(variable.name),
        "shape": variable.shape.eval(mode="FAST_COMPILE"),
    }


def values(found) -> dict[str, Any]:
    """Values and labels of an array."""
    return {"values": found.to_numpy(), "rows": found["obs_id"].to_numpy()}


def of_prediction(found) -> dict[str, Any]:
    if isinstance(found, Path):
        return dict.fromkeys(("means", "interval", "ci_prob")) | {"file": found.name}
    interval = variables(found, "responsibilities_lower", "responsibilities_upper")
    return {
        "means": variables(found, "responsibilities", "label", "entropy", "uncertainty"),
        "interval": interval,
        "ci_prob": found.attrs.get("ci_prob"),
        "file": None,
    }


def read_or_refuse(**arguments):
    with suppress(InputError):
        return bg.read(**arguments)


def of_table(table) -> dict[str, Any]:
    if table is None:
        return dict.fromkeys(("values", "names", "labels")) | {"refused": True}
    names, labels = list(table.columns), list(table.index)
    return {"values": table.to_numpy(), "names": names, "labels": labels, "refused": False}


def two_ways(world):
    return world.tables / "two_ways.csv"


def thousands(world):
    return world.tables / "thousands.csv"


def latin(world):
    return world.tables / "latin.csv"


def of_density(found) -> dict[str, Any]:
    ends = ("log_density_lower", "log_density_upper")
    return {"mean": found["log_density"].to_numpy(), "interval": variables(found, *ends)}


def of_file(path) -> dict[str, Any]:
    return {"path": path.name, "text": path.read_text(encoding="utf-8")}


def of_saved(path) -> dict[str, Any]:
    with xr.open_datatree(path) as tree:
        held = sorted(node.path for node in tree.subtree if len(node.data_vars))
        return {"path": path.name, "groups": held}


PRIOR = ConjugatePrior.default(X.to_numpy(), 2)
SHIFTED = ConjugatePrior(
    PRIOR.concentration,
    PRIOR.mean + np.array([1.0, 0.0]),
    10 * PRIOR.mean_precision,
    PRIOR.degrees_of_freedom,
    PRIOR.scale,
)
MEMORY = Row(0.7, refused=TINY)
TIMES = np.tile([1, 2, 0], 20)
OF_ANSWERS = {"answers", "replicates", "starts"}
THIRD = [1, 5, 40, 41, 59]

VERBS = {
    "fit": Verb(
        bg.fit,
        lambda world: {"X": X, "n_components": 2, "seed": 0},
        of_fit,
        {
            "X": Row(OTHER_X, {"estimate", "rows", "where they began"}, SEARCH),
            "n_components": Row(3, {*ALL_OF_FIT, "n_components", "parameters"}),
            "covariance": Row("EEI", {*ALL_OF_FIT, "covariance", "parameters"}),
            "prior": Row("default", {*ALL_OF_FIT, "prior", "estimator"}),
            "equal_weights": Row(True, {*ALL_OF_FIT, "equal_weights", "parameters"}),
            "row_weights": Row(TIMES, {"estimate", "rows", "where they began"}, SEARCH),
            "missing": Row("mar", {"missing"}, refused="guess"),
            "n_starts": Row(7, {"starts", "where they began"}, ALL_OF_FIT),
            "max_iter": Row(2, {"iterations"}, ALL_OF_FIT),
            "tol": Row(0.01, {"iterations"}, ALL_OF_FIT),
            "seed": Row(1, {"seed", "where they began"}, ALL_OF_FIT),
        },
    ),
    "select": Verb(
        bg.select,
        lambda world: {
            "X": X,
            "n_components": [2, 3],
            "covariance": ["EII", "VVV"],
            "seed": 0,
            **QUIET,
        },
        of_selection,
        {
            "X": Row(OTHER_X, {"fits"}, {"order", "best", "iterations"}),
            "n_components": Row(
                [1, 3], {"fits", "sizes", "order"}, {"best", "starts", "converged", "iterations"}
            ),
            "covariance": Row(
                "VVV", {"fits", "structures", "shape", "order"}, {"best", "converged", "iterations"}
            ),
            "prior": Row("default", {"fits", "estimator"}, {"order", "best", "iterations"}),
            "criterion": Row(
                "aic",
                {"order", "best", "first words"},
                {"starts", "iterations"},
                {"X": DOUBTFUL, "n_components": [1, 2, 3], "covariance": ["EEE", "VVI"]},
            ),
            "row_weights": Row(TIMES, {"fits"}, {"order", "best", "iterations"}),
            "missing": Row("mar", {"missing"}, refused="guess"),
            "n_starts": Row(7, {"starts"}, {"fits", "iterations"}),
            "max_iter": Row(2, {"converged", "iterations"}, {"fits", "order", "best"}),
            "tol": Row(5.0, {"iterations"}, {"fits"}),
            "seed": Row(1, {"seed"}, {"fits", "iterations"}),
            "cores": Row(1),
            "progressbar": Row(True),
        },
    ),
    "how_many": Verb(
        bg.how_many,
        lambda world: {
            "X": X,
            "n_components": [1, 2, 3],
            "criteria": ["bic", "modes", "bootstrap"],
            "n_starts": 3,
            "n_bootstrap": 19,
            "draws": 60,
            "seed": 0,
            **QUIET,
        },
        of_how_many,
        {
            "X": Row(OTHER_X, {"fits", "best", "tests"}, OF_ANSWERS),
            "n_components": Row([2, 3], {"fits", "sizes", "tests"}, {*OF_ANSWERS, "best"}),
            "criteria": Row("bic", {"criteria", "tests", "replicates", "fits", "answers"}),
            "covariance": Row("EEI", {"fits", "best", "covariance", "tests"}, OF_ANSWERS),
            "prior": Row("default", {"fits", "estimator", "tests"}, {*OF_ANSWERS, "best"}),
            "row_weights": Row(TIMES, {"fits", "best", "tests"}, OF_ANSWERS, refused=TIMES / 3),
            "missing": Row("mar", {"missing"}, refused="guess"),
            "n_starts": Row(
                4,
                {"starts"},
                {"fits", "best", "tests", *OF_ANSWERS},
                {"n_components": [2, 3]},
            ),
            "n_bootstrap": Row(29, {"tests", "replicates"}, {"answers"}),
            "draws": Row(
                90, {"posteriors"}, {"answers"}, {"criteria": ["loo"], "n_components": [1, 2]}
            ),
            "seed": Row(1, {"seed", "tests"}, {"fits", "best", *OF_ANSWERS}),
            "cores": Row(1),
            "progressbar": Row(True),
        },
    ),
    "modes": Verb(
        bg.modes,
        lambda world: {"result": world.posterior},
        of_modes,
        {
            "result": Row(lambda world: world.fit, {"modes", "draws"}),
            "n_draws": Row(5, {"draws"}),
        },
    ),
    "merge": Verb(
        bg.merge,
        lambda world: {"result": bg.fit(X, 4, covariance="EEE", seed=0), "X": X},
        of_merging,
        {
            "result": Row(lambda world: world.fit, {"tree", "rows", "entropy"}, {"clusters"}),
            "X": Row(OTHER_X, {"rows", "entropy", "tree"}, {"clusters"}),
            "by": Row("modes", {"tree", "height"}, {"clusters", "rows", "entropy"}),
            "n_clusters": Row(1, {"clusters", "rows"}),
        },
    ),
    "sample": Verb(
        bg.sample,
        lambda world: {"X": X, "n_components": 2, "seed": 0, **SAMPLED},
        of_posterior,
        {
            "X": Row(OTHER_X, {"all draws", "first draws", "rows", "map", "prior"}, {"thin"}),
            "n_components": Row(
                3, {"all draws", "first draws", "map", "n_components", "prior"}, {"thin"}
            ),
            "covariance": Row("EEI", {"all draws", "first draws", "covariance", "map"}, {"thin"}),
            "prior": Row(SHIFTED, {"all draws", "first draws", "prior", "map"}, {"thin"}),
            "engine": Row("nuts", {"all draws", "first draws", "engine", "thin"}),
            "draws": Row(90, {"all draws", "draws"}, {"first draws"}),
            "tune": Row(21, {"all draws", "first draws", "tune"}),
            "chains": Row(4, {"all draws", "chains"}),
            "cores": Row(1),
            "seed": Row(1, {"all draws", "first draws", "seed"}),
            "progressbar": Row(True),
            "groups": Row("log_prior", {"groups"}),
            "row_weights": Row(
                TIMES, {"all draws", "first draws", "rows", "map", "prior"}, {"thin"}
            ),
            "missing": Row("mar", {"missing"}, refused="guess"),
        },
    ),
    "standard_errors": Verb(
        bg.standard_errors,
        lambda world: {
            "result": world.rowless_fit,
            "X": X,
            "method": "bootstrap",
            "n_bootstrap": 6,
            "seed": 0,
            **QUIET,
        },
        of_errors,
        {
            "result": Row(
                lambda world: world.diagonal_fit,
                {"estimate", "errors", "interval", "covariance"},
            ),
            "X": Row(OTHER_X, {"errors", "interval"}),
            "method": Row("weighted", {"errors", "interval", "method"}),
            "n_bootstrap": Row(8, {"errors", "interval", "refits"}),
            "ci_prob": Row(0.5, {"interval", "columns", "ci_prob"}),
            "seed": Row(1, {"errors", "interval", "seed"}),
            "cores": Row(1),
            "progressbar": Row(True),
        },
    ),
    "standard_errors by curvature": Verb(
        bg.standard_errors,
        lambda world: {"result": world.fit},
        of_errors,
        {
            "method": Row("sandwich", {"errors", "interval", "method"}),
            "ci_prob": Row(0.5, {"interval", "columns", "ci_prob"}),
        },
    ),
    "point_estimate": Verb(
        bg.point_estimate,
        lambda world: {"result": world.fit},
        lambda theta: {"theta": [theta.weights, theta.means, theta.covariances]},
        {"result": Row(lambda world: world.diagonal_fit, {"theta"})},
    ),
    "compare": Verb(
        bg.compare,
        lambda world: {"point": world.fit, "posterior": world.posterior},
        of_comparison,
        {
            "point": Row(lambda world: world.other_fit, {"estimate", "names", "z"}, {"covered"}),
            "posterior": Row(
                lambda world: world.other_posterior, {"draws", "interval", "z"}, {"covered"}
            ),
            "ci_prob": Row(0.2, {"interval", "covered", "columns", "ci_prob"}),
        },
    ),
    "check": Verb(
        bg.check,
        lambda world: {"posterior": world.posterior, "X": X, "draws": 20, "seed": 0},
        of_check,
        {
            "posterior": Row(lambda world: world.other_posterior, {"replicated"}),
            "X": Row(OTHER_X, {"observed"}),
            "statistics": Row(["mean", "max"], {"statistics"}),
            "draws": Row(21, {"replicated", "replicates"}),
            "seed": Row(1, {"replicated"}),
        },
    ),
    "diagnose": Verb(
        bg.diagnose,
        lambda world: {"posterior": world.posterior},
        lambda found: {"table": found.table[["rhat", "ess_bulk"]].to_numpy(float)},
        {"posterior": Row(lambda world: world.other_posterior, {"table"})},
    ),
    "sensitivity": Verb(
        bg.sensitivity,
        lambda world: {"posterior": world.pulled_posterior},
        lambda found: {
            "numbers": found.table[["mean", "sd", "prior", "likelihood"]].to_numpy(float),
            "diagnosis": found.table["diagnosis"].tolist(),
            "verdict": found.verdict,
        },
        {
            "posterior": Row(
                lambda world: world.other_posterior, {"numbers", "verdict"}, {"diagnosis"}
            ),
            "threshold": Row(10.0, {"diagnosis", "verdict"}),
        },
    ),
    "loo": Verb(
        bg.loo,
        lambda world: {"posterior": world.rowless, "X": X},
        of_loo,
        {
            "posterior": Row(lambda world: world.other_posterior, {"rows", "sums"}),
            "X": Row(OTHER_X, {"rows", "sums"}),
            "reff": Row(4.0, {"rows", "sums"}),
            "memory": MEMORY,
        },
    ),
    "evidence": Verb(
        bg.evidence,
        lambda world: {
            "posterior": {"one": world.rowless, "two": world.other_rowless},
            "X": X,
            "labellings": 10,
            "seed": 0,
        },
        of_evidence,
        {
            "posterior": Row(
                lambda world: {"one": world.other_rowless, "two": world.rowless},
                {"evidence", "probability"},
            ),
            # The place of a row decides which label is drawn.
            "X": Row(X[::-1], {"evidence", "probability"}, refused=OTHER_X),
            "prior_probabilities": Row([1.0, 3.0], {"prior", "probability"}, refused=[1.0]),
            "labellings": Row(11, {"evidence", "probability"}, refused=0),
            "seed": Row(1, {"evidence", "probability"}, refused=-1),
        },
    ),
    "add_groups": Verb(
        bg.add_groups,
        lambda world: {
            "posterior": world.rowless.drop_nodes("prior_parameters"),
            "groups": NAMES,
            "X": X,
            "prior": PRIOR,
            "draws": 20,
            "seed": 0,
        },
        of_groups,
        {
            "posterior": Row(
                lambda world: world.other_posterior.drop_nodes("prior_parameters"),
                {"draws", "log_likelihood", "posterior_predictive", "log_prior"},
            ),
            "groups": Row("log_prior", {*NAMES} - {"log_prior"}),
            "X": Row(OTHER_X, {"log_likelihood", "rows"}),
            "prior": Row(SHIFTED, {"prior", "prior_predictive", "log_prior"}),
            "draws": Row(21, {"prior", "prior_predictive"}),
            "seed": Row(1, {"posterior_predictive", "prior", "prior_predictive"}),
            "memory": MEMORY,
        },
    ),
    "one_feature": Verb(
        bg.one_feature,
        lambda world: {
            "posterior": bg.add_groups(world.posterior, NAMES, draws=20, seed=0),
            "feature": "a",
        },
        of_groups,
        {
            "posterior": Row(
                lambda world: bg.add_groups(world.posterior, "prior", draws=20, seed=0),
                {*NAMES} - {"prior"},
            ),
            "feature": Row("b", {"rows", "posterior_predictive", "prior_predictive"}),
        },
    ),
    "add_log_likelihood": Verb(
        bg.add_log_likelihood,
        lambda world: {"posterior": world.rowless, "X": X},
        lambda tree: {
            "log-likelihood": variables(tree["log_likelihood"], "x"),
            "draws": variables(tree["posterior"], "weights"),
        },
        {
            "posterior": Row(lambda world: world.other_posterior, {"log-likelihood", "draws"}),
            "X": Row(OTHER_X, {"log-likelihood"}),
            "memory": MEMORY,
        },
    ),
    "co_clustering": Verb(
        bg.co_clustering,
        lambda world: {"result": world.posterior, "X": X},
        values,
        {
            "result": Row(lambda world: world.theta, {"values"}),
            "X": Row(OTHER_X, {"values"}),
            "rows": Row(THIRD, {"values", "rows"}),
            "memory": MEMORY,
        },
    ),
    "partition": Verb(
        bg.partition,
        lambda world: {"result": world.posterior, "X": X, "seed": 0},
        of_partition,
        {
            "result": Row(
                lambda world: world.theta,
                {"confidence", "expected", "radius", "bounds"},
                {"label"},
            ),
            "X": Row(OTHER_X, {"label", "confidence", "expected", "bounds"}, {"radius"}),
            "loss": Row(
                "binder", {"loss", "expected", "radius"}, {"bounds", "label", "confidence"}
            ),
            "rows": Row(THIRD, {"label", "rows", "confidence", "expected", "radius", "bounds"}),
            "ci_prob": Row(0.3, {"ci_prob", "radius", "bounds"}),
            "seed": Row(1, {"expected", "bounds"}, {"radius"}),
            "memory": MEMORY,
        },
    ),
    "sample_labels": Verb(
        bg.sample_labels,
        lambda world: {"result": world.posterior, "X": X, "n_draws": 40, "seed": 0},
        values,
        {
            "result": Row(lambda world: world.theta, {"values"}),
            "X": Row(OTHER_X, {"values"}),
            "n_draws": Row(30, {"values"}),
            "seed": Row(1, {"values"}),
            "memory": MEMORY,
        },
    ),
    "predict": Verb(
        bg.predict,
        lambda world: {"result": world.posterior, "X": X},
        of_prediction,
        {
            "result": Row(lambda world: world.other_posterior, {"means", "interval"}),
            "X": Row(OTHER_X, {"means", "interval"}),
            "ci_prob": Row(0.5, {"interval", "ci_prob"}),
            "out": Row("out.csv", {"means", "interval", "ci_prob", "file"}),
        },
    ),
    "predict to a file": Verb(
        bg.predict,
        lambda world: {"result": world.posterior, "X": X, "out": "one.csv"},
        of_file,
        {
            "result": Row(lambda world: world.other_posterior, {"text"}),
            "X": Row(OTHER_X, {"text"}),
            "ci_prob": Row(0.5, {"text"}),
            "out": Row("two.csv", {"path"}),
        },
    ),
    "read": Verb(
        read_or_refuse,
        lambda world: {"path": world.tables / "one.csv"},
        of_table,
        {
            "path": Row(lambda world: world.tables / "two.csv", {"values", "labels"}),
            "columns": Row(["b"], {"values", "names"}),
            "drop_missing": Row(True, {"refused", "values", "names", "labels"}, beside={"na": "3"}),
            "sep": Row(",", {"values"}, beside={"columns": ["c"], "path": two_ways, "sep": ";"}),
            "decimal": Row(".", {"values"}, beside={"path": thousands, "decimal": ","}),
            "encoding": Row("cp1250", {"names"}, beside={"path": latin}),
            "header": Row(
                False, {"names", "labels"}, beside={"na": ["a", "b"], "drop_missing": True}
            ),
            "na": Row("3", {"values", "labels"}, beside={"drop_missing": True}),
            "labels": Row("a", {"values", "labels", "names"}),
        },
    ),
    "load": Verb(
        bg.load,
        lambda world: {"path": world.tables / "one.nc"},
        lambda tree: {"weights": tree["point_estimate"]["weights"].to_numpy()},
        {"path": Row(lambda world: world.tables / "two.nc", {"weights"})},
    ),
    "log_density": Verb(
        bg.log_density,
        lambda world: {"result": world.posterior, "X": X, "ci_prob": 0.9},
        of_density,
        {
            "result": Row(lambda world: world.other_posterior, {"mean", "interval"}),
            "X": Row(OTHER_X, {"mean", "interval"}),
            "ci_prob": Row(0.5, {"interval"}),
        },
    ),
    "given": Verb(
        bg.given,
        lambda world: {"posterior": world.unknown, "n_clusters": 2},
        of_given,
        {
            "posterior": Row(
                lambda world: world.other_unknown,
                {"draws", "seed", "given_probability", "given_share"},
            ),
            "n_clusters": Row(
                3,
                {"draws", "given_n_clusters", "given_probability", "given_share"},
                refused=0,
            ),
        },
    ),
    "relabel": Verb(
        bg.relabel,
        lambda world: {"posterior": world.posterior},
        of_posterior,
        {
            "posterior": Row(
                lambda world: world.other_posterior, {"all draws", "first draws", "seed"}
            ),
            "method": Row("ecr", {"relabelling"}, {"all draws", "first draws"}),
            "by": Row(
                "means[b]",
                {"relabelling"},
                {"all draws", "first draws", "map"},
                {"method": "ordering", "by": "weights"},
            ),
        },
    ),
    "simulate": Verb(
        bg.simulate,
        lambda world: {"parameters": world.theta, "n": 9, "seed": 0},
        lambda found: {"x": found["x"].to_numpy(), "z": found["z"].to_numpy()},
        {
            "parameters": Row(lambda world: world.other_theta, {"x"}, {"z"}),
            "n": Row(10, {"x", "z"}),
            "seed": Row(1, {"x", "z"}),
        },
    ),
    "report": Verb(
        bg.report,
        lambda world: {"results": world.fit, "path": "one.html"},
        of_file,
        {
            "results": Row(lambda world: world.diagonal_fit, {"text"}),
            "path": Row("two.html", {"path"}),
            "title": Row("Another title", {"text"}),
        },
    ),
    "save": Verb(
        bg.save,
        lambda world: {"results": world.fit, "path": "one.nc"},
        of_saved,
        {
            "results": Row(lambda world: {"posterior": world.posterior}, {"groups"}),
            "path": Row("two.nc", {"path"}),
        },
    ),
    "from_trace": Verb(
        bg.from_trace,
        lambda world: {"trace": world.trace, "X": X, "prior": PRIOR, "seed": 0},
        of_posterior,
        {
            "trace": Row(
                lambda world: as_trace(world.other_posterior), {"all draws", "first draws"}, {"map"}
            ),
            "X": Row(OTHER_X, {"rows", "map"}, {"all draws", "first draws"}),
            "weights": Row("even", {"all draws", "first draws"}, {"map"}),
            "means": Row("moved", {"all draws"}, {"map"}),
            "covariances": Row("wide", {"all draws"}, {"map"}),
            "choleskys": Row("factors", {"all draws"}, {"map"}, refused="means"),
            "sds": Row("spread", {"all draws"}, {"map", "first draws"}),
            "prior": Row(SHIFTED, {"prior", "map"}, refused="vague"),
            "pivot": Row(
                bg.Parameters([0.6, 0.4], [[3.6, 30.0], [0.0, 0.0]], [np.diag([1.0, 400.0])] * 2),
                {"all draws", "first draws", "map"},
            ),
            "row_weights": Row(TIMES, {"rows", "map"}, {"all draws", "first draws"}),
            "seed": Row(1, {"seed"}, refused=-1),
        },
    ),
    "mixture_logp": Verb(
        bg.mixture_logp,
        lambda world: {"x": X.to_numpy(), **DENSITY},
        lambda found: {"values": found.eval(mode="FAST_COMPILE")},
        {
            "x": Row(OTHER_X.to_numpy(), {"values"}),
            "weights": Row([0.5, 0.5], {"values"}),
            "means": Row([[0.0, 0.0], [1.0, 2.0]], {"values"}),
            "choleskys": Row([np.eye(2)] * 2, {"values"}),
        },
    ),
    "pymc_mixture": Verb(
        model_with_mixture,
        lambda world: {"name": "x", **DENSITY, "options": {"shape": (len(X), 2)}},
        of_mixture,
        {
            "name": Row("y", {"name"}),
            "weights": Row([0.5, 0.5], {"density"}),
            "means": Row([[0.0, 0.0], [1.0, 2.0]], {"density"}),
            "choleskys": Row([np.eye(2)] * 2, {"density"}),
            "observed": Row(X.to_numpy(), {"observed"}),
            "dims": Row(("obs_id", "feature"), {"dims"}),
            "options": Row({"shape": (3, 2)}, {"shape"}),
        },
    ),
    "pymc_model": Verb(
        bg.pymc_model,
        lambda world: {"X": X, "n_components": 2},
        of_model,
        {
            "X": Row(OTHER_X, {"rows", "prior"}),
            "n_components": Row(3, {"components", "prior"}),
            "prior": Row(SHIFTED, {"prior"}),
            "likelihood": Row("mixture", {"likelihood"}),
            "row_weights": Row(TIMES, {"row weights", "prior"}),
        },
    ),
    "plots.checks": Verb(
        bg.plots.checks,
        lambda world: {"result": bg.check(world.posterior, draws=20, seed=0)},
        of_drawing,
        {
            "result": Row(
                lambda world: bg.check(world.posterior, draws=20, seed=1), {"drawn"}, {"words"}
            )
        },
    ),
    "plots.co_clustering": Verb(
        bg.plots.co_clustering,
        lambda world: {"matrix": bg.co_clustering(world.posterior)},
        of_drawing,
        {
            "matrix": Row(
                lambda world: bg.co_clustering(world.posterior, OTHER_X), {"drawn"}, {"words"}
            ),
            "found": Row(
                lambda world: bg.partition(world.posterior, seed=0).assign(
                    label=("obs_id", np.arange(60) % 3)
                ),
                {"drawn", "words"},
            ),
        },
    ),
    "plots.comparison": Verb(
        bg.plots.comparison,
        lambda world: {"point": world.fit, "posterior": world.posterior},
        of_drawing,
        {
            "point": Row(lambda world: world.other_fit, {"drawn", "words"}),
            "posterior": Row(lambda world: world.other_posterior, {"drawn"}, {"words"}),
            "ci_prob": Row(0.5, {"drawn", "words"}),
        },
    ),
    "plots.em_trajectory": Verb(
        bg.plots.em_trajectory,
        lambda world: {"point": world.fit},
        of_drawing,
        {"point": Row(lambda world: world.other_fit, {"drawn", "words"}, {"panels"})},
    ),
    "plots.how_many": Verb(
        bg.plots.how_many,
        lambda world: {"found": bg.how_many(X, [1, 2], criteria=["bic", "modes"], seed=0, **QUIET)},
        of_drawing,
        {
            "found": Row(
                lambda world: bg.how_many(OTHER_X, [1, 2], criteria=["icl"], seed=0, **QUIET),
                {"drawn", "words", "panels"},
            )
        },
    ),
    "plots.mergers": Verb(
        bg.plots.mergers,
        lambda world: {"found": bg.merge(world.fit)},
        of_drawing,
        {"found": Row(lambda world: bg.merge(world.fit, n_clusters=1), {"drawn", "words"})},
    ),
    "plots.mixture": Verb(
        bg.plots.mixture,
        lambda world: {"result": world.fit, "X": X},
        of_drawing,
        {
            "result": Row(lambda world: world.diagonal_fit, {"drawn"}, {"words"}),
            "X": Row(OTHER_X, {"drawn"}, {"words"}),
            "features": Row(["b"], {"drawn", "words"}),
        },
    ),
    "plots.number_of_clusters": Verb(
        bg.plots.number_of_clusters,
        lambda world: {"posterior": world.unknown},
        of_drawing,
        {"posterior": Row(lambda world: world.other_unknown, {"drawn", "words"})},
    ),
    "plots.predictive": Verb(
        bg.plots.predictive,
        lambda world: {"result": world.posterior, "X": X},
        of_drawing,
        {
            "result": Row(lambda world: world.other_posterior, {"drawn"}),
            "X": Row(OTHER_X, {"drawn"}),
            "features": Row(["b"], {"drawn", "words", "panels"}),
            "ci_prob": Row(0.5, {"drawn", "words"}),
        },
    ),
    "plots.prior": Verb(
        bg.plots.prior,
        lambda world: {"prior": PRIOR, "X": X},
        of_drawing,
        {
            "prior": Row(SHIFTED, {"drawn"}, {"words"}),
            "X": Row(OTHER_X, {"drawn"}, {"words"}),
            "features": Row(["b"], {"drawn", "words"}, {"panels"}),
            "n_rows": Row(
                200,
                {"drawn", "words"},
                beside={"prior": bg.NumberOfComponents(), "X": None, "n_rows": 100},
            ),
            "draws": Row(5, {"drawn"}, {"words", "panels"}),
            "seed": Row(1, {"drawn"}, {"words"}),
        },
    ),
    "plots.prior of K": Verb(
        bg.plots.prior,
        lambda world: {"prior": bg.NumberOfComponents(alpha=1.0), "n_rows": 60, "X": None},
        of_drawing,
        {
            "prior": Row(bg.NumberOfComponents(alpha=5.0), {"drawn", "words"}),
            "X": Row(X, beside={"n_rows": None, "X": OTHER_X}),
            "draws": Row(5, {"drawn", "words"}, refused=0),
            "seed": Row(1, {"drawn"}),
        },
    ),
    "plots.ranks": Verb(
        bg.plots.ranks,
        lambda world: {"posterior": world.posterior},
        of_drawing,
        {"posterior": Row(lambda world: world.other_posterior, {"drawn", "words"})},
    ),
    "plots.selection": Verb(
        bg.plots.selection,
        lambda world: {"found": world.selection},
        of_drawing,
        {
            "found": Row(
                lambda world: bg.select(
                    X, [1, 2], covariance=["EEE", "VVV"], criterion="aic", seed=0, **QUIET
                ),
                {"drawn", "words"},
            )
        },
    ),
}
# Their arguments are fields, or have tests that they need a model for.
FIELDS = {
    "Parameters": ("weights", "means", "covariances"),
    "ConjugatePrior": ("concentration", "mean", "mean_precision", "degrees_of_freedom", "scale"),
    "IndependentPrior": ("concentration", "mean", "mean_sd", "sd", "sd_spread", "eta"),
    "HierarchicalPrior": (
        *("concentration", "mean", "mean_sd"),
        *("degrees_of_freedom", "scale_degrees_of_freedom", "scale"),
    ),
    "SemiconjugatePrior": ("concentration", "mean", "mean_sd", "degrees_of_freedom", "scale"),
}
ELSEWHERE = {
    "GibbsStep": "tests/inference/gibbs/test_gibbs_step.py",
    "NumberOfComponents": "tests/model/test_number_of_components.py",
    "analyze": "tests/test_analyze.py",
}


def public():
    """Everything that can be called, by its name, with the names of its arguments."""
    exceptions = (Exception, Warning)
    called = {
        name: getattr(bg, name)
        for name in bg.__all__
        if callable(getattr(bg, name))
        and not (inspect.isclass(getattr(bg, name)) and issubclass(getattr(bg, name), exceptions))
    }
    called |= {f"plots.{name}": getattr(bg.plots, name) for name in bg.plots.__all__}
    return {name: list(inspect.signature(one).parameters) for name, one in called.items()}


def test_every_argument_is_in_the_table():
    listed = {name: list(verb.rows) for name, verb in VERBS.items() if " " not in name}
    listed |= {name: list(fields) for name, fields in FIELDS.items()}
    assert listed == {name: of for name, of in public().items() if name not in ELSEWHERE}


ROWS = [(name, argument) for name, verb in VERBS.items() for argument in verb.rows]


@pytest.fixture(scope="module")
def first_answers():
    """Answers to the first calls, which all rows of a verb are held against."""
    return {}


@pytest.fixture
def ask(world, first_answers, tmp_path_factory):
    def asked(name, /, **other):
        verb = VERBS[name]
        arguments = {
            key: value(world) if inspect.isfunction(value) else value
            for key, value in (verb.base(world) | other).items()
        }
        for key in {"path", "out"} & set(arguments):
            arguments[key] = tmp_path_factory.mktemp("written") / arguments[key]
        return verb.views(verb.call(**arguments))

    def answer(name, /, **other):
        if other:
            return asked(name, **other)
        if name not in first_answers:
            first_answers[name] = asked(name)
        return first_answers[name]

    return answer


@pytest.mark.parametrize(("name", "argument"), ROWS)
def test_an_argument_changes_what_it_should_and_nothing_else(ask, name, argument):
    row = VERBS[name].rows[argument]
    before = ask(name, **row.beside)
    after = ask(name, **{**row.beside, argument: row.value})
    changed = {view for view in before if not same(before[view], after[view])}
    assert row.changes <= changed, f"{argument} leaves {row.changes - changed} as it is"
    assert changed <= row.changes | row.may, f"{argument} changes {changed - row.changes}"
    if row.refused is not None:
        with pytest.raises(InputError, match=argument):
            ask(name, **{argument: row.refused})


@pytest.mark.parametrize(
    ("name", "argument"), [(name, one) for name, of in FIELDS.items() for one in of]
)
def test_a_field_of_a_prior_or_of_parameters_changes_its_density(name, argument):
    rng = np.random.default_rng(2)
    theta = random_parameters(rng, 2, 2)
    scale = np.tile(np.array([[2.0, 0.3], [0.3, 1.0]]), (2, 1, 1))
    given = {
        "Parameters": {"weights": [0.4, 0.6], "means": np.eye(2), "covariances": scale},
        "ConjugatePrior": {
            "concentration": [2.0, 3.0],
            "mean": np.zeros((2, 2)),
            "mean_precision": [1.0, 2.0],
            "degrees_of_freedom": [5.0, 6.0],
            "scale": scale,
        },
        "IndependentPrior": {
            "concentration": [2.0, 3.0],
            "mean": np.zeros(2),
            "mean_sd": np.ones(2),
            "sd": np.ones(2),
            "sd_spread": 0.7,
            "eta": 2.0,
        },
        "HierarchicalPrior": {
            "concentration": [2.0, 3.0],
            "mean": np.zeros(2),
            "mean_sd": np.ones(2),
            "degrees_of_freedom": 6.0,
            "scale_degrees_of_freedom": 4.0,
            "scale": scale[0],
        },
        "SemiconjugatePrior": {
            "concentration": [2.0, 3.0],
            "mean": np.zeros(2),
            "mean_sd": np.ones(2),
            "degrees_of_freedom": 6.0,
            "scale": scale[0],
        },
    }[name]
    kind = getattr(bg, name)
    others = {
        "weights": [0.5, 0.5],
        "concentration": [2.0, 4.0],
        "mean": np.add(given.get("mean", 0), 1.0),
    }
    other = kind(**{**given, argument: others.get(argument, 1.5 * np.asarray(given[argument]))})
    densities = [
        mixture.log_likelihood(X.to_numpy()[:3], one)
        if name == "Parameters"
        else one.log_density(theta)
        for one in (kind(**given), other)
    ]
    assert np.isfinite(densities).all()
    assert abs(densities[0] - densities[1]) > 1e-3


def test_what_is_saved_opens_as_it_was(world, tmp_path):
    path = bg.save({"mle": world.fit, "posterior": world.posterior}, tmp_path / "all.nc")
    opened = az.from_netcdf(path)
    np.testing.assert_array_equal(
        opened["posterior"]["means"], world.posterior["posterior"]["means"]
    )
    np.testing.assert_array_equal(
        opened["mle"]["point_estimate"]["means"], world.fit["point_estimate"]["means"]
    )


def test_the_seed_fixes_where_chains_start(monkeypatch):
    """Chains of the same random numbers soon forget their starts: draws would not show it."""

    class Begun(Exception):
        """As soon as the starts are known."""

    def begin(choice, observations, prior, starts, *others, **settings):
        raise Begun(starts)

    def starts(seed):
        with pytest.raises(Begun) as begun:
            bg.sample(X, 2, seed=seed, **SAMPLED)
        return np.stack([start.means for start in begun.value.args[0]])

    monkeypatch.setattr("bayes_gmm.inference.engines.run", begin)
    first = starts(0)
    np.testing.assert_array_equal(starts(0), first)
    assert (starts(1) != first).all()
    assert len(np.unique(first[:, 0, 0])) == SAMPLED["chains"]
