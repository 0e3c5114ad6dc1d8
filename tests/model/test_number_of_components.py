"""The prior of K is SciPy's; of partitions and of K+ it is what all labellings add up to."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from helpers import refuses
from scipy import stats
from scipy.integrate import quad
from scipy.special import gammaln, logsumexp

import bayes_gmm as bg
from bayes_gmm.model.concentration import Concentration

NUMBERS = {
    "default": bg.NumberOfComponents(),
    "fixed alpha": bg.NumberOfComponents(alpha=0.7, maximum=12),
    "Richardson & Green": bg.NumberOfComponents("uniform", concentration="static", maximum=30),
    "static gamma": bg.NumberOfComponents(
        "poisson", 2.0, concentration="static", alpha=("gamma", 2.0, 4.0), maximum=9
    ),
    "given": bg.NumberOfComponents([0.2, 0.0, 0.5, 0.3], alpha=2.0),
    "sparse": bg.NumberOfComponents.sparse(6, ("gamma", 10, 60)),
    "process": bg.NumberOfComponents.dirichlet_process(alpha=("gamma", 2, 4)),
    "process, alpha fixed": bg.NumberOfComponents.dirichlet_process(alpha=1.3),
}
FIXED = [name for name, number in NUMBERS.items() if number.alpha_kind == "fixed"]


def partitions(n):
    """Set partitions of n rows as restricted growth strings: a label is at most one new."""
    if n == 0:
        return [()]
    return [(*z, k) for z in partitions(n - 1) for k in range(max(z, default=-1) + 2)]


@pytest.mark.parametrize(
    ("number", "truth"),
    [
        (bg.NumberOfComponents(), stats.betanbinom(1, 4, 3)),
        (bg.NumberOfComponents(parameters=(4, 4, 3), maximum=7), stats.betanbinom(4, 4, 3)),
        (bg.NumberOfComponents("poisson", 2.5, maximum=5), stats.poisson(2.5)),
        (bg.NumberOfComponents("geometric", 0.3, maximum=5), stats.geom(0.3, loc=-1)),
        (bg.NumberOfComponents("uniform", maximum=5), stats.randint(0, 5)),
    ],
)
def test_the_prior_of_k_is_scipys_cut_off_and_renormalized(number, truth):
    expected = truth.pmf(np.arange(number.maximum))
    np.testing.assert_allclose(np.exp(number.log_probabilities), expected / expected.sum())
    assert number.mass_beyond == pytest.approx(truth.sf(number.maximum - 1), rel=1e-6, abs=1e-14)


def test_the_beta_negative_binomial_is_a_mixture_of_poissons():
    a_lambda, a_pi, b_pi = 1.5, 4.0, 3.0
    number = bg.NumberOfComponents(parameters=(a_lambda, a_pi, b_pi), maximum=400)
    for k in (1, 2, 5):

        def given(share, k=k):
            return stats.nbinom(a_lambda, share).pmf(k - 1) * stats.beta(a_pi, b_pi).pdf(share)

        assert np.exp(number.log_probabilities[k - 1]) == pytest.approx(
            quad(given, 0, 1)[0], rel=1e-5
        )
    mean = np.exp(number.log_probabilities) @ np.arange(400)
    assert mean == pytest.approx(a_lambda * b_pi / (a_pi - 1), abs=1e-3)


@pytest.mark.parametrize("name", list(NUMBERS))
def test_the_partitions_of_a_few_rows_have_probability_one(name):
    number = NUMBERS[name]
    for alpha in (0.01, 1.0, 300.0):
        total = logsumexp([number.log_eppf(np.bincount(z), alpha) for z in partitions(6)])
        assert total == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("concentration", ["static", "dynamic"])
def test_a_partition_is_the_sum_of_its_labellings(concentration):
    """By the Dirichlet-multinomial probability of each of the K^N labellings."""
    number = bg.NumberOfComponents("fixed", 3, concentration=concentration, alpha=0.6)
    gamma = 0.2 if concentration == "dynamic" else 0.6
    truth = {}
    for z in product(range(3), repeat=4):
        count = np.bincount(z, minlength=3)
        log_p = gammaln(3 * gamma) - gammaln(3 * gamma + 4)
        log_p += (gammaln(count + gamma) - gammaln(gamma)).sum()
        names = list(dict.fromkeys(z))
        partition = tuple(names.index(k) for k in z)
        truth[partition] = truth.get(partition, 0) + np.exp(log_p)
    for partition, p in truth.items():
        counts = np.bincount(partition)
        assert np.exp(number.log_eppf(counts, 0.6)) == pytest.approx(p)
        assert np.exp(number.log_partition(counts, 3, 0.6)) == pytest.approx(p)
    assert number.log_partition([2, 1, 1, 1], 3, 0.6) == -np.inf
    both = number.log_partition([2, 1], [1, 3], [0.6, 0.6])
    assert both.shape == (2,)
    assert both[0] == -np.inf
    assert both[1] == number.log_partition([2, 1], 3, 0.6)


def test_a_dirichlet_process_is_the_limit_of_many_components():
    process = bg.NumberOfComponents.dirichlet_process()
    finite = bg.NumberOfComponents("fixed", 10**7)
    for counts in ([5], [3, 1, 1], [1, 1, 1, 1, 1]):
        assert finite.log_partition(counts, 10**7, 1.7) == pytest.approx(
            process.log_eppf(counts, 1.7), abs=1e-5
        )


@pytest.mark.parametrize("name", list(NUMBERS))
@pytest.mark.parametrize("alpha", [0.05, 3.0])
def test_the_number_of_clusters_is_the_sum_over_partitions(name, alpha):
    number, n = NUMBERS[name], 7
    truth = np.zeros(n)
    for z in partitions(n):
        truth[max(z)] += np.exp(number.log_eppf(np.bincount(z), alpha))
    found = number.cluster_probabilities(n, alpha)
    np.testing.assert_allclose(found, truth[: len(found)], atol=1e-13)
    assert truth[len(found) :].sum() == 0


@pytest.mark.parametrize("name", [name for name in NUMBERS if name not in FIXED])
def test_the_number_of_clusters_is_integrated_over_alpha_as_by_scipy(name):
    number, n = NUMBERS[name], 30
    kind, a, b = number.alpha
    alpha = stats.f(a, b) if kind == "F" else stats.gamma(a, scale=1 / b)
    found = number.cluster_probabilities(n)
    assert found.sum() == pytest.approx(1, abs=1e-9)
    for k in (1, 2, 5):
        # Over the quantiles of alpha, so that all of its mass is seen.
        truth = quad(
            lambda u, k=k: number.cluster_probabilities(n, float(alpha.ppf(u)))[k - 1],
            *(1e-12, 1 - 1e-12),
            limit=200,
            epsabs=1e-9,
        )[0]
        assert found[k - 1] == pytest.approx(truth, abs=5e-7)


@pytest.mark.parametrize("name", list(NUMBERS))
def test_drawn_sizes_make_as_many_clusters_as_they_should(name):
    number, n, draws = NUMBERS[name], 40, 20_000
    size, counts = number.sample_sizes(n, draws, np.random.default_rng(0))
    assert (counts.sum(axis=1) == n).all()
    assert (np.diff(counts, axis=1) <= 0).all()
    clusters = (counts > 0).sum(axis=1)
    assert (clusters <= size).all()
    truth = number.cluster_probabilities(n)
    found = np.bincount(clusters, minlength=len(truth) + 1)[1:] / draws
    error = np.sqrt(truth * (1 - truth) / draws) + 1e-9
    assert np.abs((found - truth) / error)[truth > 1e-3].max() < 5
    if number.is_dirichlet_process:
        assert np.isinf(size).all()
    else:
        of_k = np.exp(number.log_probabilities)
        drawn = np.bincount(size.astype(int), minlength=number.maximum + 1)[1:] / draws
        assert np.abs(drawn - of_k).max() < 5 * np.sqrt(0.25 / draws)


@pytest.mark.parametrize("name", FIXED)
def test_drawn_partitions_have_the_probability_of_their_sizes(name):
    """Of all partitions of five rows into clusters of such sizes."""
    number, n, draws = NUMBERS[name], 5, 40_000
    truth = {}
    for z in partitions(n):
        sizes = tuple(sorted(np.bincount(z), reverse=True))
        log_p = number.log_eppf(np.bincount(z), number.start_alpha)
        truth[sizes] = truth.get(sizes, 0) + np.exp(log_p)
    counts = number.sample_sizes(n, draws, np.random.default_rng(1))[1]
    drawn = [tuple(row[row > 0]) for row in counts]
    for sizes, p in truth.items():
        error = np.sqrt(p * (1 - p) / draws) + 1e-9
        assert abs(drawn.count(sizes) / draws - p) < 5 * error


@pytest.mark.parametrize("alpha", [1e-6, 0.3, 4.0, 80.0, 1e5])
@pytest.mark.parametrize("concentration", ["static", "dynamic"])
def test_rows_that_are_taken_together_give_what_rows_one_by_one_do(concentration, alpha):
    number, n = bg.NumberOfComponents("uniform", maximum=25, concentration=concentration), 3000
    size, p = np.arange(1.0, 26), np.zeros((25, 25))
    total, p[:, 0] = number.gamma(size, alpha) * size, 1.0
    unused = np.maximum(1 - np.arange(1, 26) / size[:, None], 0)
    for row in range(1, n):
        moved = p * unused * (total / (row + total))[:, None]
        p[:, 1:] += moved[:, :-1]
        p -= moved
    found = number.cluster_probabilities(n, alpha)
    np.testing.assert_allclose(found, p.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("alpha", [1e-6, 0.3, 4.0, 80.0])
def test_the_clusters_of_a_process_are_counted_as_row_by_row(alpha):
    n, p = 500, np.eye(1, 500)[0]
    for row in range(1, n):
        moved = p * alpha / (row + alpha)
        p -= moved
        p[1:] += moved[:-1]
    found = bg.NumberOfComponents.dirichlet_process().cluster_probabilities(n, alpha)
    np.testing.assert_allclose(found, p, atol=1e-11)


def test_many_rows_fill_components_as_the_weights_say():
    """With N large and uniform weights on K = 2, P(K+ = 1) is 2 / (N + 1)."""
    number = bg.NumberOfComponents("fixed", 2, concentration="static")
    for n in (999, 999_999):
        assert number.cluster_probabilities(n)[0] == pytest.approx(2 / (n + 1))


@pytest.mark.parametrize("kind", [("F", 6.0, 3.0), ("F", 1.0, 400.0), ("gamma", 0.5, 20.0)])
def test_the_density_of_alpha_and_its_expectations_are_scipys(kind):
    concentration, (name, a, b) = Concentration.of(kind), kind
    truth = stats.f(a, b) if name == "F" else stats.gamma(a, scale=1 / b)
    alpha = np.array([1e-3, 0.4, 1.0, 30.0])
    np.testing.assert_allclose(concentration.log_density(alpha), truth.logpdf(alpha))
    expected = truth.expect(lambda x: 1 / (1 + x), limit=200)
    found = concentration.expect(lambda x: np.array([1 / (1 + x)]))
    assert found == pytest.approx(expected, abs=1e-6)
    drawn = concentration.sample(4000, np.random.default_rng(0))
    assert stats.kstest(drawn, truth.cdf).pvalue > 1e-4


@pytest.mark.parametrize("shape", [0.3, 1.0, 50.0, 5000.0])
def test_expectations_are_right_whatever_the_width_of_the_prior(shape):
    """E exp(-alpha t) of a gamma distribution is (1 + t / rate)^(-shape)."""
    concentration = Concentration.of(("gamma", shape, 2.0))
    found = concentration.expect(lambda alpha: np.exp(-alpha * np.array([0.1, 1.0, 9.0]) / shape))
    truth = (1 + np.array([0.1, 1.0, 9.0]) / shape / 2) ** -shape
    np.testing.assert_allclose(found, truth, atol=1e-6)


def test_what_a_sampler_asks_for():
    default = bg.NumberOfComponents()
    assert default.is_dynamic
    assert not default.is_dirichlet_process
    assert default.alpha_kind == "F"
    assert default.alpha_parameters.tolist() == [6, 3]
    assert default.log_probabilities.shape == (default.maximum,) == (100,)
    static = bg.NumberOfComponents("uniform", maximum=30, concentration="static")
    assert (static.alpha, static.alpha_kind, static.start_alpha) == (1.0, "fixed", 1.0)
    assert static.gamma(5, 0.3) == 0.3
    assert default.gamma([5, 10], 0.3).tolist() == pytest.approx([0.06, 0.03])
    gamma = bg.NumberOfComponents.sparse(20, ("gamma", 10, 200))
    assert gamma.start_alpha == 0.05
    assert gamma.log_probabilities[-1] == 0
    assert np.isinf(gamma.log_probabilities[:-1]).all()
    process = bg.NumberOfComponents.dirichlet_process()
    assert process.is_dirichlet_process
    assert np.isinf(process.log_probabilities).all()
    assert process.mass_beyond == 0
    assert replace(NUMBERS["given"], alpha=1.0).maximum == 4


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prior", "poisson"),
        ("parameters", 3.0),
        ("concentration", "static"),
        ("alpha", 2.0),
        ("maximum", 8),
    ],
)
def test_every_argument_changes_what_is_said_of_clusters(field, value):
    first = {"prior": "geometric", "parameters": 0.5, "alpha": 1.0, "maximum": 12}
    other = first | {field: value} | ({"prior": "poisson"} if field == "parameters" else {})
    first |= {"prior": "poisson"} if field == "parameters" else {}
    one, two = (bg.NumberOfComponents(**given) for given in (first, other))
    assert abs(one.cluster_probabilities(20)[:8] - two.cluster_probabilities(20)[:8]).max() > 1e-4
    assert str(one) != str(two)


def test_the_words_hold_the_numbers():
    number = bg.NumberOfComponents("uniform", maximum=4, concentration="static")
    text = number.describe(n_rows=3)
    assert "uniform on 1..4; mean 2.5" in text
    assert "Dirichlet(alpha, ...), static; alpha = 1" in text
    p = number.cluster_probabilities(3)
    assert f"Clusters of 3 rows, K+: mean {p @ [1, 2, 3]:.3g}" in text
    assert f"({p.max():.3g})" in text
    default = str(bg.NumberOfComponents())
    assert "beta-negative-binomial(1, 4, 3), truncated at 100" in default
    assert "3e-06" in default
    assert "alpha ~ F(6, 3)" in default
    assert "infinite" in str(bg.NumberOfComponents.dirichlet_process())
    assert "fixed at 6" in str(NUMBERS["sparse"])
    assert "probabilities of 1..4 as given" in str(NUMBERS["given"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prior": "binomial"}, ["prior", "uniform", "binomial"]),
        ({"prior": "poisson"}, ["parameters", "poisson", "rate"]),
        ({"prior": "uniform", "parameters": 3}, ["parameters", "uniform", "none"]),
        ({"parameters": (1, 4)}, ["parameters", "a_lambda, a_pi, b_pi"]),
        ({"prior": "poisson", "parameters": -1}, ["parameters", "positive"]),
        ({"prior": "poisson", "parameters": np.nan}, ["parameters", "positive"]),
        ({"prior": "geometric", "parameters": 1.5}, ["parameters", "below 1", "1.5"]),
        ({"prior": "fixed", "parameters": 2.5}, ["fixed K", "2.5"]),
        ({"prior": "fixed", "parameters": 3, "maximum": 9}, ["maximum", "9"]),
        ({"prior": [0.5, 0.4]}, ["prior", "sum", "0.9"]),
        ({"prior": [1.5, -0.5]}, ["prior", ">= 0"]),
        ({"prior": [[0.5, 0.5]]}, ["prior", "(1, 2)"]),
        ({"prior": [0.5, np.nan]}, ["prior[1]", "not finite"]),
        ({"prior": [0.5, 0.5], "parameters": 1}, ["parameters", "leave"]),
        ({"prior": [0.5, 0.5], "maximum": 3}, ["maximum", "2", "3"]),
        ({"maximum": 0}, ["maximum", "0"]),
        ({"maximum": 2.5}, ["maximum", "2.5"]),
        ({"concentration": "sparse"}, ["concentration", "dynamic", "sparse"]),
        ({"prior": "dirichlet-process", "concentration": "static"}, ["Dirichlet", "static"]),
        ({"alpha": 0}, ["alpha", "positive", "0"]),
        ({"alpha": "F"}, ["alpha", "'F'"]),
        ({"alpha": ("beta", 1, 2)}, ["alpha", "gamma", "beta"]),
        ({"alpha": ("F", 6)}, ["alpha", "F", "6"]),
        ({"alpha": ("F", 6, np.inf)}, ["alpha", "inf"]),
    ],
)
def test_what_is_no_prior_is_refused(arguments, words):
    with refuses(*words):
        bg.NumberOfComponents(**arguments)


def test_what_cannot_be_asked_is_refused():
    number = bg.NumberOfComponents()
    with refuses("counts", "0"):
        number.log_eppf([3, 0], 1.0)
    with refuses("counts", "1.5"):
        number.log_partition([1.5], 2, 1.0)
    with refuses("alpha", "-1"):
        number.log_eppf([3], -1.0)
    with refuses("n_components", "0"):
        number.log_partition([3], [0, 1], 1.0)
    with refuses("n_rows", "0"):
        number.cluster_probabilities(0)
    with refuses("alpha", "-1"):
        number.cluster_probabilities(5, -1)
    with refuses("draws", "0"):
        number.sample_sizes(5, 0, np.random.default_rng(0))
    with refuses("n_components"):
        bg.NumberOfComponents.sparse(0)
