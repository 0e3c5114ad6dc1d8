"""Every column that a user sees is what its heading says, by NumPy and SciPy from the raw draws.

The draws are made up: three components that overlap, numbered by the sampler in ways that are not
their own inverse, in chains that differ. So a column in the place of another, a divisor, a sign or
an axis shows.
"""

from functools import cached_property
from itertools import combinations

import arviz as az
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from results.synthetic import point_result, posterior_result
from scipy import stats
from scipy.special import expit, logit, logsumexp

import bayes_gmm as bg
from bayes_gmm import plots
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.pipeline import Pipeline
from bayes_gmm.plots.ranks import BAND
from bayes_gmm.reports.sections import sections, summary
from bayes_gmm.results.analysis import Analysis
from bayes_gmm.results.reading import draws_of

K, D, N, CHAINS, DRAWS = 3, 2, 40, 3, 60
NAMES = ["length", "width"]
ENDS = (0.1, 0.9)
FOLDED = 2e-3  # R-hat ranks distances from the median, of which two are equal but for rounding
TIED = 0.02  # ranks of weights that are all but zero, which rounding may tie
LEVEL = 0.8  # probability of an interval between these ends
pytestmark = pytest.mark.filterwarnings("ignore")  # of draws that are too few, on purpose


class World:
    """Rows, draws and what is known of them, in plain arrays."""

    def __init__(self):
        rng = np.random.default_rng(5)
        center = np.array([[0.0, 0.0], [2.0, 10.0], [3.5, -10.0]])
        z = rng.integers(0, K, N)
        self.x = center[z] + rng.normal(size=(N, D)) * [1.0, 6.0]
        shape = (CHAINS, DRAWS)
        self.weights = rng.dirichlet([12.0, 9.0, 6.0], shape)
        self.weights[2, ::20, 2] = 1e-30  # empty, now and then
        self.weights[0, 5] = [0.55, 0.45, 5e-7]  # holds about one row
        self.weights /= self.weights.sum(axis=2, keepdims=True)
        self.means = center + rng.normal(size=(*shape, K, D)) * [0.3, 2.0]
        root = np.array([[1.0, 0.0], [2.0, 6.0]]) + rng.normal(size=(*shape, K, D, D)) * 0.1
        self.covariances = root @ root.swapaxes(-1, -2)
        cycles = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1]])  # not their own inverses
        often = ([0.6, 0.3, 0.1], [0.1, 0.6, 0.3], [0.6, 0.3, 0.1])
        self.permutation = np.stack([cycles[rng.choice(3, DRAWS, p=p)] for p in often])
        self.diverging = np.zeros(shape, bool)
        self.diverging[1, :4] = self.diverging[2, 7] = True
        self.prior = ConjugatePrior.default(self.x, K)
        self.pivot = bg.Parameters([0.45, 0.35, 0.2], center, self.covariances.mean(axis=(0, 1)))
        self.posterior = posterior_result(
            (self.weights, self.means, self.covariances),
            self.x,
            self.prior,
            pivot=self.pivot,
            permutation=self.permutation,
            diverging=self.diverging,
            names=NAMES,
        )
        self.posterior.attrs |= {"n_observations": N, "engine": "gibbs", "tune": 7, "seed": 11}
        self.point = point_result(
            bg.Parameters(
                [0.3, 0.4, 0.3], center + np.array([0.4, 1.5]), self.covariances[0].mean(axis=0)
            ),
            self.x,
            names=NAMES,
        )

    @cached_property
    def comparison(self):
        point = {"one": bg.point_estimate(self.point)}
        return bg.compare(point, self.posterior, ci_prob=LEVEL)

    @cached_property
    def checks(self):
        return bg.check(self.posterior, draws=50, seed=3)

    @cached_property
    def diagnosis(self):
        return bg.diagnose(self.posterior)

    @cached_property
    def loo(self):
        return bg.loo(self.posterior)

    @cached_property
    def sensitivity(self):
        return bg.sensitivity(self.posterior)

    @cached_property
    def joint(self):
        """log p(x_n, z_n = k) under every draw, (S, N, K)."""
        return np.array(
            [
                [
                    np.log(w) + stats.multivariate_normal(m, c).logpdf(self.x)
                    for w, m, c in zip(*parts, strict=True)
                ]
                for parts in zip(
                    self.weights.reshape(-1, K),
                    self.means.reshape(-1, K, D),
                    self.covariances.reshape(-1, K, D, D),
                    strict=True,
                )
            ]
        ).swapaxes(1, 2)

    def shares(self):
        """Responsibilities under every draw, (S, N, K)."""
        joint = self.joint
        return np.exp(joint - logsumexp(joint, axis=2, keepdims=True))

    def scalars(self, weights=None, means=None, covariances=None):
        """Every number of every draw by its name, (chain, draw)."""
        weights = self.weights if weights is None else weights
        means = self.means if means is None else means
        covariances = self.covariances if covariances is None else covariances
        found = {}
        for k in range(K):
            found[f"weight[{k}]"] = weights[..., k]
            for i, one in enumerate(NAMES):
                found[f"mean[{k}, {one}]"] = means[..., k, i]
                found[f"sd[{k}, {one}]"] = np.sqrt(covariances[..., k, i, i])
            own = covariances[..., k, :, :]
            found[f"covariance[{k}, length, length]"] = own[..., 0, 0]
            found[f"covariance[{k}, width, length]"] = own[..., 1, 0]
            found[f"covariance[{k}, width, width]"] = own[..., 1, 1]
            found[f"correlation[{k}, width, length]"] = own[..., 1, 0] / np.sqrt(
                own[..., 0, 0] * own[..., 1, 1]
            )
        return found

    def raw(self):
        """The same with the sampler's numbers: relabelled component k was its permutation[k]."""
        raw = [np.empty_like(part) for part in (self.weights, self.means, self.covariances)]
        for place in np.ndindex(CHAINS, DRAWS):
            for k, before in enumerate(self.permutation[place]):
                for part, own in zip(
                    raw, (self.weights, self.means, self.covariances), strict=True
                ):
                    part[(*place, before)] = own[(*place, k)]
        return self.scalars(*raw)


@pytest.fixture(scope="module")
def world():
    return World()


def rhat(values):
    return float(az.rhat(np.asarray(values)))


def close(found, expected, **more):
    np.testing.assert_allclose(found, expected, **{"rtol": 1e-8, "atol": 1e-10, **more})


def memberships(world):
    """What is said of each row: by name, (N,) or (N, K)."""
    shares = world.shares()
    mean = shares.mean(axis=0)
    low, high = np.quantile(shares, ENDS, axis=0)
    expected = -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=2).mean(axis=0)
    total = -(mean * np.log(mean)).sum(axis=1)
    return {
        "responsibilities": mean,
        "responsibilities_lower": low,
        "responsibilities_upper": high,
        "label": mean.argmax(axis=1),
        "uncertainty": 1 - mean.max(axis=1),
        "entropy": total,
        "expected_entropy": expected,
        "mutual_information": total - expected,
    }


def test_of_predict(world):
    expected = memberships(world)
    found = bg.predict(world.posterior, ci_prob=LEVEL)
    assert set(found.data_vars) == set(expected)
    for name, values in expected.items():
        close(found[name].to_numpy(), values)
    assert (found["responsibilities_lower"] < found["responsibilities_upper"]).all()
    assert found.attrs == {"n_draws": CHAINS * DRAWS, "ci_prob": LEVEL}


def test_of_predict_at_a_point(world):
    theta = bg.point_estimate(world.point)
    joint = np.stack(
        [
            np.log(w) + stats.multivariate_normal(m, c).logpdf(world.x)
            for w, m, c in zip(theta.weights, theta.means, theta.covariances, strict=True)
        ],
        axis=1,
    )
    shares = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    found = bg.predict(theta, world.x)
    close(found["responsibilities"], shares)
    close(found["uncertainty"], 1 - shares.max(axis=1))
    close(found["entropy"], -(shares * np.log(shares)).sum(axis=1))
    close(bg.log_density(theta, world.x), logsumexp(joint, axis=1))


def test_of_log_density(world):
    of_draws = logsumexp(world.joint, axis=2)
    found = bg.log_density(world.posterior, ci_prob=LEVEL)
    close(found["log_density"], logsumexp(of_draws, axis=0) - np.log(len(of_draws)))
    low, high = np.quantile(of_draws, ENDS, axis=0)
    close(found["log_density_lower"], low)
    close(found["log_density_upper"], high)


def test_of_clusters_csv(world, tmp_path):
    expected = memberships(world)
    frame = pd.DataFrame(world.x, columns=NAMES)
    pipeline = Pipeline(X=frame, n_components=K, folder=tmp_path, title="", ci_prob=LEVEL)
    pipeline.results["posterior"] = world.posterior
    said = pipeline.clusters()
    table = pd.read_csv(tmp_path / "clusters.csv", index_col="row")
    label = expected["label"]
    assert table.columns.tolist() == [*NAMES, "cluster", "probability", "lower", "upper", "entropy"]
    np.testing.assert_array_equal(table["cluster"], label)
    for column, name in (
        ("probability", "responsibilities"),
        ("lower", "responsibilities_lower"),
        ("upper", "responsibilities_upper"),
    ):
        close(table[column], expected[name][np.arange(N), label], atol=1e-6)
    close(table["entropy"], expected["entropy"], atol=1e-6)
    unsure = int((expected["responsibilities"].max(axis=1) < 0.9).sum())
    assert 0 < unsure < N
    assert said == f"{N} rows, {unsure} of them with membership probability under 0.9"


def test_of_co_clustering(world):
    shares = world.shares()
    together = np.einsum("snk,smk->nm", shares, shares) / len(shares)
    np.fill_diagonal(together, 1.0)
    close(bg.co_clustering(world.posterior).to_numpy(), together)
    some = bg.co_clustering(world.posterior, rows=5)
    np.testing.assert_array_equal(some["obs_id"], [0, 10, 20, 29, 39])


@pytest.mark.parametrize("n", [N, 7])
def test_of_partition(world, n):
    """Of few rows some draws have fewer clusters, so that the bounds of the ball differ in them."""
    x, shares = world.x[:n], world.shares()[:, :n]
    together = np.einsum("snk,smk->nm", shares, shares) / len(shares)
    found = bg.partition(world.posterior, x, ci_prob=LEVEL, seed=2)
    label = found["label"].to_numpy()
    sizes = np.bincount(label)
    assert (np.diff(sizes) <= 0).all()
    assert int(found["n_clusters"]) == len(sizes) > 1
    for row in range(n):
        others = (label == label[row]) & (np.arange(n) != row)
        if others.any():
            close(found["confidence"][row], together[row, others].mean())

    def distance(one, other):
        def entropy(*z):
            share = np.unique(np.stack(z, 1), axis=0, return_counts=True)[1] / n
            return -(share * np.log(share)).sum()

        return 2 * entropy(one, other) - entropy(one) - entropy(other)

    drawn = bg.sample_labels(world.posterior, x, n_draws=CHAINS * DRAWS, seed=2).to_numpy()
    distances = np.array([distance(label, z) for z in drawn])
    close(found["expected_loss"], distances.mean())
    radius = np.sort(distances)[int(np.ceil(LEVEL * len(drawn))) - 1]
    close(found["ball_radius"], radius)
    inside = distances <= radius + 1e-12
    counts = np.array([len(np.unique(z)) for z in drawn])
    assert (counts[inside].min() < counts[inside].max()) == (n < N)
    for name, size in (("lower", counts[inside].max()), ("upper", counts[inside].min())):
        bound = found[f"{name}_bound"].to_numpy()
        assert len(np.unique(bound)) == size
        close(distance(label, bound), distances[inside & (counts == size)].max())
    close(distance(label, found["horizontal_bound"].to_numpy()), distances[inside].max())


def test_of_drawn_labels(world):
    """Their frequencies are the responsibilities, to five standard errors over all rows."""
    theta = world.pivot
    joint = np.stack(
        [
            np.log(w) + stats.multivariate_normal(m, c).logpdf(world.x)
            for w, m, c in zip(theta.weights, theta.means, theta.covariances, strict=True)
        ],
        axis=1,
    )
    shares = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    drawn = bg.sample_labels(theta, world.x, n_draws=4000, seed=0).to_numpy()
    for k in range(K):
        error = np.sqrt(shares[:, k] * (1 - shares[:, k]) / 4000)
        assert (np.abs((drawn == k).mean(axis=0) - shares[:, k]) < 5 * error + 1e-3).all()


def test_of_compare(world):
    theta = bg.point_estimate(world.point)
    found, draws = world.comparison, world.scalars()
    estimates = world.scalars(theta.weights, theta.means, theta.covariances)
    table = found.table
    assert set(table.index) == set(draws)
    assert table.columns.tolist() == [
        *("one", "mean", "sd", "10%", "90%", "z one", "quantile one", "covered one")
    ]
    for name, row in table.iterrows():
        values, estimate = draws[name], float(estimates[name])
        low, high = np.quantile(values, ENDS)
        expected = [
            *(estimate, values.mean(), values.std(ddof=1), low, high),
            (estimate - values.mean()) / values.std(ddof=1),
            (values < estimate).mean() + (values == estimate).mean() / 2,
        ]
        close(row.to_numpy()[:7].astype(float), expected)
        assert row["covered one"] == (low <= estimate <= high)
    assert 0 < table["covered one"].sum() < len(table)
    for line in str(found).splitlines():
        name = line.partition("]")[0] + "]"
        if name in table.index and " - " not in line:
            assert ("*" in line) == (not table.loc[name, "covered one"])


def test_of_compare_likelihoods(world):
    theta = bg.point_estimate(world.point)
    at_point = sum(
        w * stats.multivariate_normal(m, c).pdf(world.x)
        for w, m, c in zip(theta.weights, theta.means, theta.covariances, strict=True)
    )
    height = np.log(at_point).sum()
    draws = logsumexp(world.joint, axis=2).sum(axis=1)
    (row,) = world.comparison.log_likelihood.to_numpy()
    close(row, [height, (draws < height).mean(), height - draws.mean()])
    data = world.comparison.dataset
    low, high = np.quantile(draws, ENDS)
    for name, value in {
        "mean": draws.mean(),
        "sd": draws.std(ddof=1),
        "lower": low,
        "upper": high,
        "max": draws.max(),
    }.items():
        close(data[f"draws_log_likelihood_{name}"], value)
    assert data.attrs["n_parameters"] == K - 1 + K * (D + D * (D + 1) // 2)
    assert (data.attrs["n_chains"], data.attrs["n_draws"]) == (CHAINS, DRAWS)


def test_of_compare_convergence(world):
    table = world.comparison.diagnostics
    raw, relabelled = world.raw(), world.scalars()
    for group, draws in (("sampler's", raw), ("matched", relabelled)):
        part = table[[group in label for label in table.index.get_level_values("group")]]
        for (_, name), row in part.iterrows():
            close(row["rhat"], rhat(draws[name]), rtol=FOLDED)
            close(row["ess_bulk"], float(az.ess(draws[name], method="bulk")), rtol=TIED)
            close(
                row["ess_tail"],
                float(az.ess(draws[name], method="tail", prob=(0.05, 0.95))),
                rtol=TIED,
            )


def test_of_diagnose(world):
    found = world.diagnosis
    draws = world.scalars()
    for (group, name), row in found.table.iterrows():
        if group == "relabelled parameters":
            close(row["rhat"], rhat(draws[name]), rtol=FOLDED)
            close(row["ess_bulk"], float(az.ess(draws[name], method="bulk")), rtol=TIED)
    log_likelihood = logsumexp(world.joint, axis=2).sum(axis=1).reshape(CHAINS, DRAWS)
    close(
        found.table.loc[("label-invariant quantities", "log_likelihood"), "rhat"],
        rhat(log_likelihood),
        rtol=FOLDED,
    )
    log_prior = np.array(
        [
            world.prior.log_density(bg.Parameters(*(part[place] for part in parts)))
            for parts in [(world.weights, world.means, world.covariances)]
            for place in np.ndindex(CHAINS, DRAWS)
        ]
    ).reshape(CHAINS, DRAWS)
    assert found.chains.columns.tolist() == [
        *("log posterior", "divergences", "other labels", "switches", "mode", "mode's mass")
    ]
    close(found.chains["log posterior"], (log_likelihood + log_prior).mean(axis=1), rtol=1e-7)
    np.testing.assert_array_equal(found.chains["divergences"], world.diverging.sum(axis=1))
    other = (world.permutation != np.arange(K)).any(axis=2)
    close(found.chains["other labels"], other.mean(axis=1))
    codes = (world.permutation * [9, 3, 1]).sum(axis=2)
    usual = [stats.mode(chain).mode for chain in codes]
    close(found.chains["switches"], [(c != u).mean() for c, u in zip(codes, usual, strict=True)])


def test_of_the_label_report(world):
    found = world.diagnosis.labels
    raw, draws = world.raw(), world.scalars()
    kinds = ("weight", "mean", "sd")
    close(found.rhat_raw, max(rhat(v) for n, v in raw.items() if n.startswith(kinds)), rtol=FOLDED)
    close(found.rhat_relabelled, max(map(rhat, draws.values())), rtol=FOLDED)
    close(found.renamed, (world.permutation != np.arange(K)).any(axis=2).mean())
    table = found.table
    close(table["weight"], world.weights.mean(axis=(0, 1)))
    for k in range(K):
        own = [rhat(v) for n, v in draws.items() if n.split("[")[1][0] == str(k)]
        close(table["rhat"][k], max(own), rtol=FOLDED)
    close(table["nearly_empty"], (N * world.weights < D + 1).mean(axis=(0, 1)))
    assert table["nearly_empty"][2] > 0
    apart = np.full((K, K), np.inf)
    for one, other in combinations(range(K), 2):
        differences = [
            draws[name] - draws[name.replace(f"[{one}", f"[{other}")]
            for name in draws
            if name.split("[")[1][0] == str(one)
        ]
        apart[one, other] = apart[other, one] = max(abs(d.mean()) / d.std() for d in differences)
    close(table["nearest"], apart.min(axis=1))
    counts = (world.shares().sum(axis=1) >= 0.5).sum(axis=1)
    expected = {k: (counts == k).mean() for k in np.unique(counts)}
    assert len(expected) > 1
    assert found.occupied.to_dict() == pytest.approx(expected)


def test_of_check(world):
    found = world.checks
    table = found.table
    statistics = {
        "mean": np.mean,
        "sd": np.std,
        "skewness": stats.skew,
        "kurtosis": lambda x: stats.kurtosis(x, fisher=False),
        "min": np.min,
        "q05": lambda x: np.quantile(x, 0.05),
        "q25": lambda x: np.quantile(x, 0.25),
        "median": np.median,
        "q75": lambda x: np.quantile(x, 0.75),
        "q95": lambda x: np.quantile(x, 0.95),
        "max": np.max,
    }
    for j, feature in enumerate(NAMES):
        for name, of in statistics.items():
            close(table.loc[f"{name}[{feature}]", "observed"], of(world.x[:, j]))
    close(
        table.loc["correlation[width, length]", "observed"],
        stats.pearsonr(world.x[:, 1], world.x[:, 0]).statistic,
    )
    replicated = [
        *found.tree["statistics"]["replicated"].to_numpy().reshape(50, -1).T,
        *found.tree["correlations"]["replicated"].to_numpy().T,
    ]
    together = []
    for (name, row), values in zip(table.iterrows(), replicated, strict=True):
        low, high = np.quantile(values, (0.025, 0.975))
        above = (1 + sum(values >= row["observed"])) / 51
        below = (1 + sum(values <= row["observed"])) / 51
        one_sided = name.startswith("distance")
        p = above if one_sided else min(1, 2 * min(above, below))
        expected = [values.mean(), values.std(), low, high, p]
        close(row[["mean", "sd", "lower", "upper", "p_value"]].to_numpy(float), expected)
        pooled = np.append(values, row["observed"])
        q16, q50, q84 = np.quantile(pooled, (0.1587, 0.5, 0.8413))
        distance = (pooled - q50) / np.where(pooled > q50, q84 - q50, q50 - q16)
        together.append(np.maximum(distance, 0) if one_sided else np.abs(distance))
    largest = np.max(together, axis=0)
    joint = [(largest >= own[-1]).mean() for own in together]
    close(table["adjusted_p_value"], joint)
    for line, p, adjusted in zip(
        [line for line in str(found).splitlines() if line.partition("]")[0] + "]" in table.index],
        table["p_value"],
        table["adjusted_p_value"],
        strict=True,
    ):
        assert line.split()[-2:] == [f"{p:.3f}", f"{adjusted:.3f}{'*' if adjusted < 0.05 else ''}"]


def test_of_loo(world):
    found = world.loo
    pointwise = logsumexp(world.joint, axis=2)
    predictive = logsumexp(pointwise, axis=0) - np.log(len(pointwise))
    elpd_i = found.elpd_i.to_numpy()
    close(found.p_loo_i, predictive - elpd_i, atol=1e-8)
    close(found.elpd, elpd_i.sum())
    close(found.se, np.sqrt(N * elpd_i.var(ddof=1)))
    close(found.p, found.p_loo_i.to_numpy().sum())
    # Importance sampling without smoothing, which moves most rows by little.
    plain = np.log(len(pointwise)) - logsumexp(-pointwise, axis=0)
    assert np.median(np.abs(plain - elpd_i)) < 0.02
    assert found.n_samples == CHAINS * DRAWS
    group = bg.add_log_likelihood(world.posterior)["log_likelihood"]["x"]
    close(group.to_numpy().reshape(-1, N), pointwise)


def test_of_sensitivity(world):
    table = world.sensitivity.table
    assert table.columns.tolist() == [
        *("mean", "sd", "prior", "likelihood", "prior_shift", "likelihood_shift"),
        *("prior_effect", "part", "diagnosis"),
    ]
    log_likelihood = logsumexp(world.joint, axis=2).sum(axis=1).reshape(CHAINS, DRAWS)
    free = world.posterior["invariants"]
    log_prior = (free["log_posterior"] - free["log_likelihood"]).to_numpy()
    draws = world.scalars()
    for (group, name), row in table.iterrows():
        if group != "relabelled parameters":
            continue
        values = draws[name]
        close(row["mean"], values.mean())
        close(row["sd"], values.std())
        for column, scaled in (("prior", log_prior), ("likelihood", log_likelihood)):
            covariance = np.cov(values.ravel(), scaled.ravel(), ddof=0)[0, 1]
            close(row[f"{column}_shift"], -covariance / 2, rtol=1e-6, atol=1e-9)
        scores = stats.norm.ppf((stats.rankdata(values) - 0.375) / (values.size + 0.25))
        shift, wider = (
            -np.cov(of_q, log_prior.ravel(), ddof=0)[0, 1] / 2 for of_q in (scores, scores**2)
        )
        close(row["prior_effect"], abs(shift) + max(wider, 0), rtol=1e-6, atol=1e-9)
        weak = row["likelihood"] < 0.05
        noticed = row["prior_effect"] >= 1 or world.sensitivity.conflicts
        if row["prior"] < 0.05 or not (noticed or (weak and wider / 2 >= 1 / 8)):
            assert row["diagnosis"] == "-"
        elif weak:
            assert row["diagnosis"] == "strong prior or weak likelihood"
        else:
            assert row["diagnosis"] == "prior-data conflict"


def test_of_standard_errors():
    x = bg.datasets.load("faithful").iloc[::4]
    fit = bg.fit(x, 2, seed=0)
    found = bg.standard_errors(
        fit, method="bootstrap", n_bootstrap=7, ci_prob=LEVEL, seed=3, progressbar=False
    )
    replicates = found.dataset["replicates"].to_numpy()
    estimate = found.dataset["estimate"].to_numpy()
    low, high = np.quantile(replicates, ENDS, axis=0)
    expected = {
        "estimate": estimate,
        "standard error": replicates.std(axis=0, ddof=1),
        "10%": low,
        "90%": high,
        "bias": replicates.sum(axis=0) / len(replicates) - estimate,
    }
    assert found.table.columns.tolist() == list(expected)
    for name, values in expected.items():
        close(found.table[name], values)
    by_curvature = bg.standard_errors(fit, ci_prob=LEVEL).table
    reach = stats.norm.ppf(0.9) * by_curvature["standard error"]
    scales = {
        "weight": (logit, expit, lambda p: 1 / (p * (1 - p))),
        "mean": (lambda m: m, lambda m: m, lambda m: 1.0),
        "sd": (np.log, np.exp, lambda s: 1 / s),
        "correlation": (np.arctanh, np.tanh, lambda r: 1 / (1 - r**2)),
    }
    for name, row in by_curvature.iterrows():
        kind = name.partition("[")[0]
        if kind in scales:
            onto, back, slope = scales[kind]
            center, half = onto(row["estimate"]), reach[name] * slope(row["estimate"])
            close([row["10%"], row["90%"]], [back(center - half), back(center + half)])


@pytest.fixture(scope="module")
def selected():
    x = bg.datasets.load("iris").iloc[::3]
    return x, bg.select(
        x,
        [1, 2, 3],
        covariance=["VVI", "EEE", "VVV"],
        criterion="icl",
        n_starts=8,
        seed=0,
        progressbar=False,
    )


def test_of_select(selected):
    x, found = selected
    data, table = found.dataset, found.table
    n_rows, d = x.shape
    free = {
        "VVI": lambda k: k * d,
        "EEE": lambda k: d * (d + 1) // 2,
        "VVV": lambda k: k * d * (d + 1) // 2,
    }
    assert len(table) == 9
    for row in table.itertuples():
        n_parameters = row.n_components - 1 + row.n_components * d
        n_parameters += free[row.covariance](row.n_components)
        assert row.n_parameters == n_parameters
        bic = -2 * row.log_likelihood + n_parameters * np.log(n_rows)
        close(
            [row.bic, row.aic, row.icl],
            [bic, -2 * row.log_likelihood + 2 * n_parameters, bic + 2 * row.entropy],
        )
        assert row.status == "ok"
    assert table["icl"].is_monotonic_increasing
    one = found.best
    theta = bg.point_estimate(one)
    joint = np.stack(
        [
            np.log(w) + stats.multivariate_normal(m, c).logpdf(x)
            for w, m, c in zip(theta.weights, theta.means, theta.covariances, strict=True)
        ],
        axis=1,
    )
    first, search = table.iloc[0], one["optimizer_result"].to_dataset()
    close(first["log_likelihood"], logsumexp(joint, axis=1).sum(), rtol=1e-9)
    shares = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    close(first["entropy"], -(shares * np.log(np.maximum(shares, 1e-300))).sum(), rtol=1e-5)
    heights = search["optimum_objective"].to_numpy()
    assert first["n_optima"] == len(heights)
    assert first["converged"] == search["converged"]
    assert (one.attrs["covariance"], one.attrs["n_components"]) == (
        first["covariance"],
        first["n_components"],
    )
    printed = str(found)
    for row in table.head(5).itertuples():
        (line,) = [
            line
            for line in printed.splitlines()
            if line.split()[:3]
            == [row.covariance, str(row.n_components), f"{row.log_likelihood:.3f}"]
        ]
        assert line.split()[3:7] == [
            f"{row.n_parameters:.0f}",
            *(f"{getattr(row, name):.2f}" for name in ("bic", "icl", "aic")),
        ]
    assert found.sentences[0].startswith(f"Best by ICL: {first['covariance']} with")
    assert str(data.attrs["criterion"]) == "icl"


def test_of_select_where_the_search_sees_several_optima():
    x = bg.datasets.load("galaxies")
    found = bg.select(x, [4], covariance=["VVV"], n_starts=12, seed=0, progressbar=False)
    search = found.best["optimizer_result"].to_dataset()
    heights, starts = (search[f"optimum_{name}"].to_numpy() for name in ("objective", "starts"))
    (row,) = found.table.itertuples()
    assert len(set(heights.round(2))) >= 3
    assert starts[0] != starts[-1]
    assert row.n_optima == len(heights)
    close(row.optimum_spread, heights.max() - heights.min())
    assert row.best_starts == starts[0]


def test_of_the_plot_of_select(selected):
    _, found = selected
    axes = bg.plots.selection(found).axes[0]
    *curves, best = axes.lines
    assert len(curves) == 3
    for curve, code in zip(curves, found.dataset["covariance"].to_numpy(), strict=True):
        close(curve.get_xdata(), [1, 2, 3])
        close(curve.get_ydata(), found.dataset["icl"].sel(covariance=code).to_numpy())
    first = found.table.iloc[0]
    close(best.get_xydata(), [[first["n_components"], first["icl"]]])


@pytest.fixture(scope="module")
def report(world):
    """Tables of the report by section and title: label to cells by column."""
    analysis = Analysis(
        posterior=world.posterior,
        comparison=world.comparison,
        diagnosis=world.diagnosis,
        checks=world.checks,
        sensitivity=world.sensitivity,
        loo=world.loo,
    )
    found = {}
    with pytest.MonkeyPatch.context() as patch:  # pictures take long, and are looked at elsewhere
        for name in plots.__all__:
            patch.setattr(plots, name, lambda *_, **__: Figure())
        made = list(sections(analysis))
    for section in made:
        for place, block in enumerate(b for b in section.blocks if b.kind == "table"):
            found[section.name, place] = {
                row.label: (dict(zip(block.columns, row.cells, strict=True)), row.flagged)
                for row in block.rows
            }
    return found, [paragraph.text for paragraph in summary(analysis)]


def near(cell, value):
    """Whether a rounded number is that number, to the digits that it has."""
    digits = len(cell.partition(".")[2])
    return abs(float(cell) - value) <= 0.5001 * 10.0**-digits


def test_of_the_report_about_estimates(world, report):
    tables, said = report
    frame = world.comparison.table
    known = world.comparison.dataset["why_not"].to_numpy() == ""
    n_listed = 0
    for (name, row), sure in zip(frame.iterrows(), known, strict=True):
        place = 1 if name.startswith("covariance") else 0
        cells, flagged = tables["comparison", place][name]
        assert flagged == (sure and not row["covered one"])
        if sure:
            n_listed += 1
            for column in ("one", "mean", "sd", "10%", "90%", "z one"):
                assert near(cells[column], row[column]), (name, column)
    assert 0 < n_listed
    shown = known & ~frame.index.str.startswith("covariance")
    covered = int(frame["covered one"][shown].sum())
    assert 0 < covered < shown.sum()
    assert any(f"{covered} of {shown.sum()} parameters of the one" in text for text in said)


def test_of_the_report_about_draws(world, report):
    tables, _ = report
    diagnosis = world.diagnosis
    for group, part in diagnosis.table.groupby(level="group"):
        cells, _ = tables["sampling", 0][group]
        assert near(cells["largest R-hat"], part["rhat"].max())
        assert near(cells["smallest ESS bulk"], part["ess_bulk"].min())
        assert near(cells["smallest ESS tail"], part["ess_tail"].min())
    labels = diagnosis.labels
    cells, _ = tables["labels", 0]["largest R-hat"]
    assert near(cells["as sampled"], labels.rhat_raw)
    assert near(cells["relabelled"], labels.rhat_relabelled)
    assert near(cells["label-invariant"], labels.rhat_label_free)
    assert labels.rhat_raw > labels.rhat_relabelled + 0.001
    for k, row in labels.table.iterrows():
        cells, flagged = tables["labels", 1][str(k)]
        assert flagged == (not row["identified"])
        assert near(cells["R-hat"], row["rhat"])
        assert near(cells["nearest, in posterior sds"], row["nearest"])
        assert near(cells["draws nearly empty"].rstrip("%"), 100 * row["nearly_empty"])
        assert near(cells["draws ambiguous"].rstrip("%"), 100 * row["ambiguous"])


def test_of_the_report_about_the_model(world, report):
    tables, _ = report
    for name, row in world.checks.table.iterrows():
        cells, flagged = tables["fit", 0][name]
        assert flagged == (row["adjusted_p_value"] < 0.05)
        for column in ("observed", "mean", "lower", "upper"):
            assert near(cells[column], row[column])
        assert near(cells["p"], row["p_value"])
        assert near(cells["joint p"], row["adjusted_p_value"])
    (cells, _) = tables["prediction", 0][f"{N} rows"]
    loo = world.loo
    assert near(cells["elpd"], loo.elpd)
    assert near(cells["standard error"], loo.se)
    assert near(cells["effective parameters"], loo.p)
    assert near(cells["largest Pareto k"], float(loo.pareto_k.max()))
    for (_, name), row in world.sensitivity.table.iterrows():
        cells, flagged = tables["prior", 0][name]
        assert flagged == (row["diagnosis"] != "-")
        assert cells["diagnosis"] == row["diagnosis"]
        assert near(cells["to the prior"], row["prior"])
        assert near(cells["to the likelihood"], row["likelihood"])
        assert cells["shift if the prior counted half"] == f"{row['prior_shift']:+.2g}"
        assert near(cells["of an interval's end, sds"], row["prior_effect"])
        assert cells["part"] == row["part"]


def test_of_the_report_about_how_it_was_made(report):
    tables, _ = report
    settings = {
        label: cells["posterior"] for label, (cells, _) in tables["reproduction", 0].items()
    }
    assert {"seed": "11", "engine": "gibbs", "tune": "7"}.items() <= settings.items()


def test_of_the_rank_plot(world):
    """The band is Kolmogorov's at the effective sizes of single chains, less what a pool takes."""
    figure = bg.plots.ranks(world.posterior)
    log_likelihood = logsumexp(world.joint, axis=2).sum(axis=1).reshape(CHAINS, DRAWS)
    effective = np.mean([az.ess(chain[None], method="bulk") for chain in log_likelihood])
    band = np.sqrt(1 - 1 / CHAINS) * stats.kstwobign.ppf(BAND) / np.sqrt(effective)
    right = figure.axes[1]
    low, high = right.patches[0].get_extents().transformed(right.transData.inverted()).intervaly
    close([low, high], [-band, band], rtol=1e-6)
    ranks = stats.rankdata(log_likelihood).reshape(CHAINS, DRAWS) / log_likelihood.size
    for line, chain in zip(right.lines, ranks, strict=False):
        grid, height = line.get_data()
        close(height, [(chain <= at).mean() - at for at in grid], atol=1e-9)


def test_of_the_invariants(world):
    free = world.posterior["invariants"].to_dataset()
    close(free["sum_squared_weights"], (world.weights**2).sum(axis=2))
    mean = np.einsum("cdk,cdki->cdi", world.weights, world.means)
    close(free["mixture_mean"], mean)
    second = world.covariances + np.einsum("cdki,cdkj->cdkij", world.means, world.means)
    covariance = np.einsum("cdk,cdkij->cdij", world.weights, second)
    covariance -= np.einsum("cdi,cdj->cdij", mean, mean)
    close(free["mixture_covariance_logdet"], np.linalg.slogdet(covariance)[1], rtol=1e-6)
    counts = (world.shares().sum(axis=1) >= 0.5).sum(axis=1).reshape(CHAINS, DRAWS)
    np.testing.assert_array_equal(free["occupied_components"], counts)
    held = world.shares().sum(axis=1)
    assert ((held > 0.7) & (held < 1.3)).any()
    raw = draws_of(world.posterior)
    assert raw.weights.shape == (CHAINS, DRAWS, K)
