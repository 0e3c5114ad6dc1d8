"""Random problems, and independent truths about them: enumeration, SciPy, finite differences."""

import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.transform import Rotation

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.inference.em import em
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import UNCONSTRAINED, Structure


def random_covariances(rng: np.random.Generator, n: int, n_features: int) -> np.ndarray:
    """Correlated covariances (n, D, D), none close to singular."""
    root = rng.normal(size=(n, n_features, n_features + 2))
    return root @ root.swapaxes(1, 2) / n_features + 0.2 * np.eye(n_features)


def random_parameters(
    rng: np.random.Generator, n_components: int, n_features: int, spread: float = 2.0
) -> Parameters:
    """A mixture whose means lie about `spread` apart in units of the components' size."""
    return Parameters(
        rng.dirichlet(np.full(n_components, 3.0)),
        spread * rng.normal(size=(n_components, n_features)),
        random_covariances(rng, n_components, n_features),
    )


def random_prior(rng: np.random.Generator, n_components: int, n_features: int) -> ConjugatePrior:
    """A proper prior that is different in every component and every entry."""
    return ConjugatePrior(
        concentration=rng.uniform(1.5, 4.0, n_components),
        mean=rng.normal(size=(n_components, n_features)),
        mean_precision=rng.uniform(0.2, 3.0, n_components),
        degrees_of_freedom=n_features + rng.uniform(4.0, 8.0, n_components),
        scale=random_covariances(rng, n_components, n_features),
    )


def complete_statistics(
    x: np.ndarray, z: np.ndarray, n_components: int, center: np.ndarray | None = None
) -> SufficientStatistics:
    """Sufficient statistics of rows whose labels are known."""
    center = np.zeros((n_components, x.shape[1])) if center is None else center
    return SufficientStatistics.of(x, np.eye(n_components)[z], center, 0.0)


def joint_by_scipy(x: np.ndarray, parameters: Parameters) -> np.ndarray:
    """log p(x_n, z_n = k), (N, K)."""
    columns = [
        np.log(weight) + stats.multivariate_normal(mean, covariance).logpdf(x).reshape(len(x))
        for weight, mean, covariance in zip(
            parameters.weights, parameters.means, parameters.covariances, strict=True
        )
    ]
    return np.column_stack(columns)


def log_prior_by_scipy(prior: ConjugatePrior, parameters: Parameters) -> float:
    """Dirichlet x inverse Wishart x normal."""
    total = 0.0
    if prior.n_components > 1:
        total += stats.dirichlet(prior.concentration).logpdf(parameters.weights)
    for k in range(prior.n_components):
        mean, covariance = parameters.means[k], parameters.covariances[k]
        wishart = stats.invwishart(prior.degrees_of_freedom[k], prior.scale[k])
        total += wishart.logpdf(covariance)
        about = stats.multivariate_normal(prior.mean[k], covariance / prior.mean_precision[k])
        total += about.logpdf(mean)
    return float(total)


class Enumeration(NamedTuple):
    """Every labelling of the rows, (K^N, N), and its log joint density with them, (K^N,)."""

    labellings: np.ndarray
    log_joint: np.ndarray


def enumerate_labellings(x: np.ndarray, parameters: Parameters) -> Enumeration:
    """log p(x, z) of all rows together, for every z in {0..K-1}^N."""
    n_rows = len(x)
    assert n_rows <= 6, "K^N labellings are too many"
    table = joint_by_scipy(x, parameters)
    labellings = np.array(list(itertools.product(range(parameters.n_components), repeat=n_rows)))
    return Enumeration(labellings, table[np.arange(n_rows), labellings].sum(axis=1))


def gradient(
    function: Callable[[np.ndarray], float], point: np.ndarray, step: float = 1e-3
) -> np.ndarray:
    """Five-point central differences in every entry of an array; the error is of order step^4."""
    point = np.asarray(point, dtype=float)
    result = np.empty_like(point)
    for place in np.ndindex(point.shape):
        values = []
        for shift in (-2, -1, 1, 2):
            moved = point.copy()
            moved[place] += shift * step
            values.append(function(moved))
        result[place] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    return result


def pack(parameters: Parameters) -> np.ndarray:
    """Free coordinates: log ratios of weights, means, lower triangles."""
    logits = np.log(parameters.weights[1:] / parameters.weights[0])
    triangle = np.tril_indices(parameters.n_features)
    factors = [np.linalg.cholesky(covariance)[triangle] for covariance in parameters.covariances]
    return np.concatenate([logits, parameters.means.ravel(), np.ravel(factors)])


def unpack(point: np.ndarray, n_components: int, n_features: int) -> Parameters:
    logits, rest = np.split(point, [n_components - 1])
    weights = np.exp(np.append(0.0, logits))
    means, triangles = np.split(rest, [n_components * n_features])
    factors = np.zeros((n_components, n_features, n_features))
    rows, columns = np.tril_indices(n_features)
    factors[:, rows, columns] = triangles.reshape(n_components, -1)
    return Parameters(
        weights / weights.sum(),
        means.reshape(n_components, n_features),
        factors @ factors.swapaxes(1, 2),
    )


def z_scores(draws: np.ndarray, expected: np.ndarray | float) -> np.ndarray:
    """How many standard errors the mean of independent draws (n, ...) is from what it should be."""
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    return (draws.mean(axis=0) - expected) / error


@contextmanager
def refuses(*words: str) -> Iterator[None]:
    """Hold a block to raising an InputError of one line that says all these words."""
    with pytest.raises(InputError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) > 20, message
    for word in words:
        assert word in message, f"{word!r} is not in {message!r}"


def from_labels(x: np.ndarray, z: np.ndarray) -> Parameters:
    """Weights, means and covariances of labelled rows: where EM can set out."""
    n_components = z.max() + 1
    statistics = complete_statistics(x, z, n_components)
    return ConjugatePrior.flat(n_components, x.shape[1]).posterior(statistics).mode()


class Fit(NamedTuple):
    """How one run of EM went, in the units of the data."""

    parameters: Parameters
    objectives: np.ndarray
    converged: bool
    collapsed: int | None


def run_em(
    x: np.ndarray,
    start: Parameters,
    prior: ConjugatePrior | None = None,
    max_iter: int = 10_000,
    tol: float = 1e-10,
    accelerate: bool = True,
) -> Fit:
    """Run EM from one start: data, start, prior and outcome in the units of the data."""
    observations = Observations.of(x)
    origin, scale = observations.origin, observations.scale
    if prior is None:
        prior = ConjugatePrior.flat(start.n_components, start.n_features)
    correlation = np.corrcoef(observations.values.T).reshape(2 * (start.n_features,))
    rule = Rule(
        prior.rescale(-origin / scale, 1 / scale),
        UNCONSTRAINED,
        np.diagonal(cholesky(correlation)) ** 2,
    )
    result = em.run(
        expectation(observations),
        rule,
        rule.at(start.rescale(-origin / scale, 1 / scale)),
        max_iter=max_iter,
        tol=tol,
        accelerate=accelerate,
    )
    parameters = result.state.parameters.rescale(origin, scale)
    n_features, n_components = start.n_features, start.n_components
    jacobian = -observations.n_rows * np.log(scale).sum()
    if prior.is_proper:  # the density of D means and D (D + 1) / 2 covariances per component
        jacobian -= n_components * (n_features + 2) * np.log(scale).sum()
    return Fit(
        parameters, np.array(result.objectives) + jacobian, result.converged, result.collapsed
    )


def em_steps(
    x: np.ndarray, start: Parameters, n_steps: int, prior: ConjugatePrior | None = None
) -> Parameters:
    """Plain EM in the units of the data: E-step, M-step, and nothing else."""
    observations = Observations.of(x)
    origin, scale = observations.origin, observations.scale
    prior = prior or ConjugatePrior.flat(start.n_components, start.n_features)
    prior = prior.rescale(-origin / scale, 1 / scale)
    parameters = start.rescale(-origin / scale, 1 / scale)
    expect = expectation(observations)
    for _ in range(n_steps):
        parameters = prior.posterior(expect(parameters.log_quadratic())).mode()
    return parameters.rescale(origin, scale)


def sklearn_mixture(x: np.ndarray, start: Parameters, max_iter: int, tol: float):
    """scikit-learn's EM from this start, without its ridge."""
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(
        start.n_components,
        reg_covar=0.0,
        tol=tol,
        max_iter=max_iter,
        init_params="random",
        random_state=0,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=np.linalg.inv(start.covariances),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns when it stops at max_iter, as it is told to
        model.fit(x)
    return model


def assert_same_mixture(a: Parameters, b: Parameters, rtol: float) -> None:
    """Hold two mixtures to each other, every entry relative to the size of its own units."""
    sd = np.sqrt(np.einsum("kii->ki", b.covariances))
    np.testing.assert_allclose(a.weights, b.weights, rtol=0, atol=rtol)
    np.testing.assert_allclose((a.means - b.means) / sd, 0, atol=rtol)
    difference = (a.covariances - b.covariances) / (sd[:, :, None] * sd[:, None, :])
    np.testing.assert_allclose(difference, 0, atol=rtol)


def covariances_from_free(
    structure: Structure, free: np.ndarray, n_components: int, n_features: int
) -> np.ndarray:
    """Covariances lambda_k D_k A_k D_k' from as many free numbers as the structure has; D = 3."""
    pool = iter(free)

    def take(letter: str, size: int) -> np.ndarray:
        """K blocks of free numbers: none, one block repeated, or one each."""
        blocks = {"I": 0, "E": 1, "V": n_components}[letter]
        values = np.array([[next(pool) for _ in range(size)] for _ in range(blocks)])
        return np.broadcast_to(values if blocks else np.zeros((1, size)), (n_components, size))

    volumes = np.exp(take(structure.volume, 1))
    shapes = take(structure.shape, n_features - 1)
    variances = volumes * np.exp(np.column_stack([shapes, -shapes.sum(axis=1)]))
    axes = Rotation.from_rotvec(take(structure.orientation, 3)).as_matrix()
    assert next(pool, None) is None, "the structure has fewer free numbers than it counts"
    return (axes * variances[:, None, :]) @ axes.swapaxes(1, 2)
