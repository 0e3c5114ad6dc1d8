"""A trace of any model becomes a result: the same draws, whatever the trace calls them."""

import re

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytest
import xarray as xr
from helpers import refuses
from pytensor.compile.mode import Mode
from results.synthetic import FAR_APART, conjugate_posterior, exact_draws, shuffled

import bayes_gmm as bg
from bayes_gmm.model import mixture
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.results.reading import raw_draws

SHAPE = (4, 60)
SAMPLE = ("chain", "draw")


class Problem:
    """Data, and exact draws of its posterior, their components in random order."""

    def __init__(self, n_features=2):
        rng = np.random.default_rng(n_features)
        kept = range(n_features)
        theta = bg.Parameters(
            FAR_APART.weights,
            FAR_APART.means[:, kept],
            FAR_APART.covariances[:, kept][:, :, kept],
        )
        self.x, z = mixture.sample(theta, 150, rng)
        self.sorted = Draws(*exact_draws(conjugate_posterior(self.x, z, 2), *SHAPE, rng))
        self.raw, self.order = shuffled(rng, self.sorted)
        self.tau = np.take_along_axis(np.broadcast_to([1.0, 2.0], (*SHAPE, 2)), self.order, axis=2)

    @property
    def sds(self):
        return np.sqrt(np.einsum("...kii->...ki", self.raw.covariances))


@pytest.fixture(scope="module")
def two():
    return Problem()


@pytest.fixture(scope="module")
def one():
    return Problem(1)


def trace(coords=None, stats=None, groups=None, **variables):
    """A trace with these variables: (own dims, values)."""
    found = {name: ((*SAMPLE, *dims), values) for name, (dims, values) in variables.items()}
    stats = {name: (SAMPLE, values) for name, values in (stats or {}).items()}
    tree = {"/posterior": xr.Dataset(found, coords), "/sample_stats": xr.Dataset(stats)}
    return xr.DataTree.from_dict({**tree, **(groups or {})})


def ours(problem, **more):
    """The trace of a model that calls everything as this package does."""
    return trace(
        weights=(("cluster",), problem.raw.weights),
        means=(("cluster", "feature"), problem.raw.means),
        covariances=(("cluster", "feature", "feature_bis"), problem.raw.covariances),
        **more,
    )


def same_draws(result, draws):
    for name, values in draws._asdict().items():
        np.testing.assert_allclose(result["posterior"][name], values, rtol=1e-12, err_msg=name)


def test_draws_are_relabelled_and_can_be_had_back(two):
    result = bg.from_trace(ours(two), two.x, seed=0)
    same_draws(result, two.sorted)  # FAR_APART is in order of its means
    for found, raw in zip(raw_draws(result), two.raw, strict=True):
        np.testing.assert_allclose(found, raw, rtol=1e-12)


def without_names_of_dims(two):
    return {
        "trace": trace(
            weights=(("weights_dim_0",), two.raw.weights),
            means=(("means_dim_0", "means_dim_1"), two.raw.means),
            covariances=(tuple(f"covariances_dim_{j}" for j in range(3)), two.raw.covariances),
        )
    }


def with_names_of_its_own(two):
    """Components last in one variable, and as many as features: the dims tell."""
    factors = np.linalg.cholesky(two.raw.covariances)
    return {
        "trace": trace(
            phi=(("k",), two.raw.weights),
            mu=(("d", "k"), two.raw.means.swapaxes(2, 3)),
            factor=(("d", "e", "k"), np.moveaxis(factors, 2, 4)),
        ),
        "weights": "phi",
        "means": "mu",
        "choleskys": "factor",
    }


def one_variable_per_component(two):
    parts = {}
    for k in range(2):
        parts[f"w{k}"] = ((), two.raw.weights[..., k])
        parts[f"m{k}"] = ((f"m{k}_dim_0",), two.raw.means[..., k, :])
        parts[f"S{k}"] = ((f"S{k}_dim_0", f"S{k}_dim_1"), two.raw.covariances[..., k, :, :])
    return {
        "trace": trace(**parts),
        "weights": ["w0", "w1"],
        "means": ["m0", "m1"],
        "covariances": ("S0", "S1"),
    }


def packed_triangles(two):
    """As `pymc.LKJCholeskyCov` has them, one for each component."""
    factors = np.linalg.cholesky(two.raw.covariances)[..., *np.tril_indices(2)]
    parts = {f"chol_{k}": ((f"chol_{k}_dim_0",), factors[..., k, :]) for k in range(2)}
    made = trace(weights=(("k",), two.raw.weights), means=(("k", "d"), two.raw.means), **parts)
    return {"trace": made, "choleskys": ["chol_0", "chol_1"]}


def arrays_made_of_its_variables(two):
    of_groups = np.stack([np.full((*SHAPE, 2), 0.5), two.raw.weights], axis=2)
    made = trace(
        weights=(("group", "k"), of_groups),
        means=(("k", "d"), two.raw.means - 1),
        cov=(("k", "d", "e"), two.raw.covariances),
        coords={"group": ["a", "b"]},
    )
    posterior = made["posterior"]
    return {
        "trace": made,
        "weights": posterior["weights"].sel(group="b"),
        "means": posterior["means"] + 1,
        "covariances": "cov",
    }


@pytest.mark.parametrize(
    "written",
    [
        without_names_of_dims,
        with_names_of_its_own,
        one_variable_per_component,
        packed_triangles,
        arrays_made_of_its_variables,
    ],
)
def test_the_same_draws_are_the_same_result_however_they_are_written(two, written):
    same_draws(bg.from_trace(X=two.x, seed=0, **written(two)), two.sorted)


@pytest.mark.parametrize("form", ["sds", "variances", "full"])
def test_a_mixture_of_one_feature_needs_no_axis_for_it(one, form):
    w, mu, sigma = one.raw.weights, one.raw.means[..., 0], one.sds[..., 0]
    written, dims, name = {
        "sds": (sigma, ("k",), "sds"),
        "variances": (sigma**2, ("k",), "covariances"),
        "full": (one.raw.covariances, ("k", "d", "e"), "covariances"),
    }[form]
    made = trace(w=(("k",), w), mu=(("k",), mu), spread=(dims, written))
    result = bg.from_trace(made, one.x[:, 0], weights="w", means="mu", **{name: "spread"}, seed=0)
    same_draws(result, one.sorted)


def test_sds_are_of_features_without_correlation_and_what_is_shared_is_everybodys(two):
    shared = two.sds[..., 0, :]
    made = trace(
        w=(("k",), two.raw.weights), means=(("k", "d"), two.raw.means), sd=(("d",), shared)
    )
    result = bg.from_trace(made, two.x, weights="w", sds="sd", seed=0)
    covariances = result["posterior"]["covariances"].to_numpy()
    expected = np.broadcast_to((shared**2)[:, :, None, :], two.raw.means.shape)
    np.testing.assert_allclose(np.einsum("...kii->...ki", covariances), expected, rtol=1e-12)
    np.testing.assert_array_equal(covariances[..., 0, 1], 0)


def test_other_variables_keep_their_names_and_follow_by_their_dims_alone(two):
    other = np.arange(np.prod(SHAPE) * 2.0).reshape(*SHAPE, 2)
    made = trace(
        phi=(("k",), two.raw.weights),
        means=(("k", "d"), two.raw.means),
        covariances=(("k", "d", "e"), two.raw.covariances),
        tau=(("k",), two.tau),
        w1=(("k",), two.tau),
        w2=(("k",), -two.tau),
        size=((), other[..., 0]),
        unlike=(("side",), other),
        weights=(("side",), other),
        coords={"k": ["first", "second"], "side": ["left", "right"]},
    )
    before = made.copy(deep=True)
    result = bg.from_trace(made, two.x, weights="phi", seed=0)
    xr.testing.assert_identical(made, before)
    posterior = result["posterior"].to_dataset()
    assert set(posterior.data_vars) == {*made["posterior"].data_vars, "weights_of_model"}
    for name, sign in (("tau", 1), ("w1", 1), ("w2", -1)):
        assert posterior[name].dims == (*SAMPLE, "cluster")
        np.testing.assert_array_equal(
            posterior[name], np.broadcast_to([sign, 2 * sign], two.tau.shape)
        )
    np.testing.assert_allclose(posterior["phi"], posterior["weights"], rtol=1e-12)
    np.testing.assert_array_equal(posterior["size"], other[..., 0])
    for name in ("unlike", "weights_of_model"):
        np.testing.assert_array_equal(posterior[name], other)
        assert list(posterior[name]["side"]) == ["left", "right"]
    assert bg.diagnose(result).table.index.is_unique


def test_what_the_sampler_recorded_stays_and_divergences_count(two):
    rng = np.random.default_rng(0)
    diverging, energy = rng.random(SHAPE) < 0.2, rng.normal(size=SHAPE)
    ambiguous = ("log_likelihood", "log_prior")
    stats = {"diverging": diverging, "energy": energy, **dict.fromkeys(ambiguous, energy)}
    result = bg.from_trace(ours(two, stats=stats), two.x, seed=0)
    assert "log_posterior" not in result["invariants"]
    for name in ambiguous:
        np.testing.assert_array_equal(result["sample_stats"][f"{name}_of_model"], energy)
    np.testing.assert_array_equal(result["sample_stats"]["energy"], energy)
    assert "divergences" in [finding.name for finding in bg.diagnose(result).reasons]
    expected = mixture.log_likelihood(two.x, bg.Parameters(*(array[1, 7] for array in two.raw)))
    found = result["invariants"]["log_likelihood"][1, 7]
    assert float(found) == pytest.approx(expected, rel=1e-9)  # and not what is called so


def test_the_prior_gives_the_log_posterior(two):
    prior = bg.ConjugatePrior.default(two.x, 2)
    result = bg.from_trace(ours(two), two.x, prior=prior, seed=0)
    free = result["invariants"].to_dataset()
    theta = bg.Parameters(*(array[2, 3] for array in two.raw))
    log_prior = float((free["log_posterior"] - free["log_likelihood"])[2, 3])
    assert log_prior == pytest.approx(prior.log_density(theta), rel=1e-9)
    assert bg.sensitivity(result).table.loc[("relabelled parameters", "mean[0, x0]"), "sd"] > 0
    with refuses("log_posterior"):
        bg.sensitivity(bg.from_trace(ours(two), two.x, seed=0))
    with refuses("prior", "function"):
        bg.from_trace(ours(two), two.x, prior=lambda: None)


def test_labels_on_which_the_draws_agree_stay_and_a_pivot_decides(two):
    flipped = Draws(*(np.flip(array, axis=2) for array in two.sorted))
    made = trace(
        weights=(("k",), flipped.weights),
        means=(("k", "d"), flipped.means),
        covariances=(("k", "d", "e"), flipped.covariances),
    )
    same_draws(bg.from_trace(made, two.x, seed=0), flipped)
    same_draws(bg.from_trace(made, two.x, pivot=FAR_APART), two.sorted)
    same_draws(bg.from_trace(made, two.x, pivot=bg.fit(two.x, 2, seed=0).copy()), two.sorted)


def test_names_of_features_come_from_X_or_else_from_the_trace(two):
    made = trace(
        weights=(("k",), two.raw.weights),
        means=(("k", "d"), two.raw.means),
        covariances=(("k", "d", "e"), two.raw.covariances),
        coords={"d": ["length", "width"]},
    )
    for rows in (two.x, pd.DataFrame(two.x, columns=["length", "width"])):
        result = bg.from_trace(made, rows, seed=0)
        assert list(result["posterior"]["feature"].to_numpy()) == ["length", "width"]
    with refuses("X has the columns width, length", "labelled length, width"):
        bg.from_trace(made, pd.DataFrame(two.x, columns=["width", "length"]))
    named = bg.from_trace(ours(two), pd.DataFrame(two.x, columns=["a", "b"]), seed=0)
    assert list(named["posterior"]["feature"].to_numpy()) == ["a", "b"]


def test_groups_of_the_trace_stay_but_for_those_with_the_samplers_labels(two):
    rows = xr.Dataset({"y": ("row", np.arange(150.0))})
    groups = {"/posterior_predictive": rows, "/observed_data": rows, "/warmup_posterior": rows}
    result = bg.from_trace(ours(two, groups=groups), two.x, seed=0)
    xr.testing.assert_identical(result["posterior_predictive"].to_dataset(), rows)
    assert set(result["observed_data"].data_vars) == {"x", "y"}
    assert "warmup_posterior" not in result.children


@pytest.mark.filterwarnings("ignore")  # of few draws
def test_every_verb_takes_it(two, tmp_path):
    tau = {"tau": (("cluster",), two.tau)}
    result = bg.from_trace(ours(two, **tau), two.x, prior="default", seed=0)
    fit = bg.fit(two.x, 2, seed=0)
    assert bg.diagnose(result).reasons is not None
    assert bg.relabel(result, "stephens")["posterior"]["tau"].dims == (*SAMPLE, "cluster")
    assert bg.predict(result, two.x[:3])["label"].shape == (3,)
    assert np.isfinite(bg.log_density(result, two.x[:3])).all()
    assert np.isfinite(bg.loo(result).elpd)
    bg.compare(fit, result)
    bg.check(result, seed=0)
    bg.plots.mixture(result)
    bg.plots.ranks(result)
    bg.report({"posterior": result, "diagnosis": bg.diagnose(result)}, tmp_path / "page.html")
    with xr.open_datatree(bg.save(result, tmp_path / "kept.nc")) as read:
        xr.testing.assert_allclose(read["posterior"].to_dataset(), result["posterior"].to_dataset())


@pytest.mark.validate  # PyMC compiles for half a minute
@pytest.mark.filterwarnings("ignore")  # of few draws
def test_own_draws_of_an_extended_model_by_pymcs_own_sampler(two):
    """Its statistics have other names than nutpie's, and one that is an object."""
    model = bg.pymc_model(pd.DataFrame(two.x, columns=["a", "b"]), 2)
    with pytensor.config.change_flags(cxx=""), model:
        pm.Potential("hearsay", pm.logp(pm.Normal.dist(0.3, 0.01), model["weights"][0]))
        level = pm.Deterministic("level", model["means"][:, 0] * 2, dims="cluster")
        assert level.name == "level"
        drawn = pm.sample(
            60,
            tune=40,
            chains=2,
            cores=1,
            random_seed=0,
            nuts_sampler="pymc",
            compute_convergence_checks=False,
            progressbar=False,
            quiet=True,
            compile_kwargs={"mode": Mode(linker="py", optimizer="fast_run")},
        )
    result = bg.from_trace(drawn, pd.DataFrame(two.x, columns=["a", "b"]), seed=0)
    for name in ("energy", "diverging", "tree_depth", "lp"):
        np.testing.assert_array_equal(result["sample_stats"][name], drawn["sample_stats"][name])
    posterior = result["posterior"].to_dataset()
    np.testing.assert_array_equal(posterior["level"], 2 * posterior["means"].sel(feature="a"))
    assert abs(float(posterior["weights"].sel(cluster=0).mean()) - 0.3) < 0.05
    assert bg.diagnose(result).table.index.is_unique
    assert result.attrs["sampler"] == "pymc"
    assert result.attrs["tune"] == 40
    assert np.isfinite(bg.loo(result, reff=1.0).elpd)


def broken(two, **changes):
    parts = {
        "w": (("k",), two.raw.weights),
        "means": (("k", "d"), two.raw.means),
        "covariances": (("k", "d", "e"), two.raw.covariances),
    }
    return trace(**{**parts, **changes})


def at(array, value):
    changed = np.array(array)
    changed[1, 2] = value
    return changed


def test_where_only_the_weights_dim_has_no_name_the_length_of_the_others_tells(one, two):
    made = trace(
        weights=(("weights_dim_0",), one.raw.weights),
        means=(("d", "k"), one.raw.means.swapaxes(2, 3)),
        covariances=(("d", "e", "k"), np.moveaxis(one.raw.covariances, 2, 4)),
        tau=(("k",), one.tau),
    )
    result = bg.from_trace(made, one.x, seed=0)
    same_draws(result, one.sorted)
    np.testing.assert_array_equal(result["posterior"]["tau"][..., 0], 1.0)
    as_many = trace(
        weights=(("weights_dim_0",), two.raw.weights),
        means=(("d", "k"), two.raw.means.swapaxes(2, 3)),
        covariances=(("k", "d", "e"), two.raw.covariances),
    )
    with refuses("means", "d or k", "give the weights the same named dim"):
        bg.from_trace(as_many, two.x)


CASES = {
    "not a trace": (lambda two: [1], {}, ["object of type list", "pm.sample"]),
    "a result": (
        lambda two: bg.from_trace(broken(two), two.x, weights="w", seed=0),
        {},
        ["already"],
    ),
    "no posterior": (lambda two: xr.DataTree(), {}, ["no group posterior"]),
    "no draws": (
        lambda two: broken(two)["posterior"].to_dataset().isel(chain=0),
        {},
        ["no dim 'chain'"],
    ),
    "no such variable": (broken, {"weights": "phi"}, ["no variable 'phi'", "w, means"]),
    "two forms": (broken, {"sds": "w", "choleskys": "w"}, ["choleskys and sds", "one of them"]),
    "a number": (broken, {"means": 3}, ["means must be the name", "int"]),
    "weights per group": (
        lambda two: broken(two, w=(("group", "k"), np.stack([two.raw.weights] * 3, axis=2))),
        {},
        ["weights have the dims group (3), k (2)", "one mixture per draw", "['w'].isel(group=0)"],
    ),
    "means per row": (
        lambda two: broken(two, means=(("row", "k", "d"), np.stack([two.raw.means] * 5, axis=2))),
        {},
        ["row (5)", "2 x 2", "one mixture per draw"],
    ),
    "other features": (
        lambda two: broken(two, means=(("k", "c"), np.zeros((*SHAPE, 2, 3)))),
        {},
        ["c (3)", "2 columns of X"],
    ),
    "no sum": (
        lambda two: broken(two, w=(("k",), at(two.raw.weights, 0.7))),
        {},
        ["do not sum to one in 1 of 240 draws", "chain 1, draw 2"],
    ),
    "not finite": (
        lambda two: broken(two, means=(("k", "d"), at(two.raw.means, np.nan))),
        {},
        ["means are not finite in 1 of 240"],
    ),
    "not definite": (
        lambda two: broken(two, covariances=(("k", "d", "e"), at(two.raw.covariances, 1.0))),
        {},
        ["covariances are not positive definite in 1 of 240"],
    ),
    "not symmetric": (
        lambda two: broken(
            two, covariances=(("k", "d", "e"), at(two.raw.covariances, [[2.0, 0], [1, 2]]))
        ),
        {},
        ["not symmetric"],
    ),
    "not triangular": (broken, {"choleskys": "covariances"}, ["not lower triangular"]),
    "negative sds": (broken, {"sds": "means"}, ["sds are not positive"]),
    "cluster is another dim": (
        lambda two: broken(two, site=(("cluster",), np.zeros((*SHAPE, 5)))),
        {},
        ["dim 'cluster'", "k"],
    ),
    "feature is another dim": (
        lambda two: broken(two, slope=(("feature",), np.zeros((*SHAPE, 5)))),
        {},
        ["dim 'feature' with 5"],
    ),
    "pivot of another size": (
        broken,
        {"pivot": bg.Parameters([1.0], [[0.0, 0.0]], [np.eye(2)])},
        ["pivot has 1 components"],
    ),
    "seed": (broken, {"seed": -1}, ["seed"]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_mixture_is_refused_and_why(two, case):
    make, options, words = CASES[case]
    with pytest.raises(bg.InputError) as refusal:
        bg.from_trace(make(two), two.x, **{"weights": "w", **options})
    for word in words:
        assert re.search(re.escape(word), str(refusal.value)), str(refusal.value)
