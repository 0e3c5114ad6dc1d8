import numpy as np
import pymc as pm
import pytensor
import pytest
import xarray as xr
from arviz_stats import loo
from pymc.initial_point import make_initial_point_fn
from pymc.pytensorf import rewrite_pregrad
from pytensor.compile.mode import Mode
from pytensor.graph.traversal import io_toposort
from scipy import stats

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.pymc.model import LIKELIHOODS, pymc_model
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.results.labels import labelled
from tests.helpers import gradient, random_parameters, random_prior, refuses

PYTHON = Mode(linker="py", optimizer="fast_compile")  # slow to run, quick to compile
SIZES = [(n_components, n_features) for n_components in (1, 2, 3) for n_features in (1, 2, 3)]


@pytest.fixture(scope="module", autouse=True)
def no_c_compiler():
    """PyTensor would compile parts of a Python function in C, for longer than they run."""
    with pytensor.config.change_flags(cxx=""):
        yield


class Problem:
    """Data in awkward units, a prior unlike the default, and the model as NumPy functions."""

    def __init__(self, n_components, n_features, seed=0, likelihood="fused"):
        rng = np.random.default_rng([seed, n_components, n_features])
        self.n_components, self.n_features, self.rng = n_components, n_features, rng
        scale = 10.0 ** rng.uniform(-5, 5, n_features)
        shift = 1000 * rng.normal(size=n_features) * scale
        self.x = shift + scale * rng.standard_t(4, size=(25, n_features))
        self.observations = Observations.of(self.x)
        self.prior = random_prior(rng, n_components, n_features).rescale(shift, scale)
        self.model = pymc_model(self.observations, self.prior, likelihood=likelihood)
        self.shapes = [
            (n_components - 1,),
            (n_components, n_features * (n_features + 1) // 2),
            (n_components, n_features),
        ]
        self.size = sum(int(np.prod(shape)) for shape in self.shapes)

        def compiled(output):
            return self.model.compile_fn(
                output, inputs=self.model.value_vars, mode=PYTHON, point_fn=False
            )

        self._log_density = compiled(self.model.logp())
        self._backward = compiled(self.model.unobserved_value_vars[-3:])
        self._gradient = compiled(self.model.dlogp())

    def parts(self, free):
        edges = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        pieces = np.split(free, edges)
        return [piece.reshape(shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def log_density(self, free):
        return float(self._log_density(*self.parts(free)))

    def gradient(self, free):
        return self._gradient(*self.parts(free))

    def parameters(self, free):
        weights, covariances, means = self._backward(*self.parts(free))
        return Parameters(weights, means, covariances)

    def coordinates(self, free):
        """Map free coordinates to as many numbers that determine the parameters."""
        weights, covariances, means = self._backward(*self.parts(free))
        entries = covariances[:, *np.tril_indices(self.n_features)]
        return np.concatenate([weights[:-1], entries.ravel(), means.ravel()])

    def free_points(self, n):
        return self.rng.normal(size=(n, self.size))


def log_jacobian(theta, prior, scale):
    """log |d (phi_1..phi_K-1, mu, Sigma) / d free coordinates|, written out by hand.

    A simplex of K weights contributes K prod phi_k; the means, the scales of the data; a covariance
    with whitener W = S A, 2^D prod_i S_ii A_ii^(D - i + 1) W_ii^(i - 2 (D + 1)).
    """
    n_features, n_components = theta.n_features, theta.n_components
    row = np.arange(1, n_features + 1)
    total = np.log(theta.weights).sum() + np.log(n_components)
    total += n_components * np.log(scale).sum()
    for k in range(n_components):
        w = np.diagonal(np.linalg.inv(theta.choleskys[k]))
        a = 1 / np.diagonal(np.linalg.cholesky(prior.scale[k]))
        total += n_features * np.log(2) + np.log(w / a).sum()
        total += ((n_features - row + 1) * np.log(a)).sum()
        total += ((row - 2 * (n_features + 1)) * np.log(w)).sum()
    return total


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"K{size[0]}-D{size[1]}")
def problem(request):
    return Problem(*request.param)


def test_the_log_density_is_likelihood_times_prior_times_jacobian(problem):
    for free in problem.free_points(50):
        theta = problem.parameters(free)
        expected = (
            mixture.log_likelihood(problem.x, theta)
            + problem.prior.log_density(theta)
            + log_jacobian(theta, problem.prior, problem.observations.scale)
        )
        assert problem.log_density(free) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (2, 13)])
def test_both_likelihoods_are_the_same_density_with_the_same_gradient(size):
    fused, written_out = (Problem(*size, likelihood=name) for name in LIKELIHOODS)
    for free in fused.free_points(4):
        expected = written_out.log_density(free)
        assert fused.log_density(free) == pytest.approx(expected, rel=1e-9)
        slope = written_out.gradient(free)
        np.testing.assert_allclose(
            fused.gradient(free), slope, rtol=1e-9, atol=1e-9 * np.abs(slope).max()
        )


def test_density_and_gradient_read_the_rows_once(problem):
    for_samplers = problem.model.logp_dlogp_function(
        mode=Mode(linker="py", optimizer="fast_run"), ravel_inputs=True
    )
    graph = for_samplers._pytensor_function.maker.fgraph
    names = [type(node.op).__name__ for node in graph.toposort()]
    assert [name for name in names if name.startswith("Mixture")] == [
        "MixtureLogDensityAndGradient"
    ]


def test_the_jacobian_is_that_of_the_map_from_free_coordinates(problem):
    step = 1e-3
    for free in problem.free_points(2):
        columns = []
        for shift in step * np.eye(problem.size):
            far, near = (
                problem.coordinates(free + n * shift) - problem.coordinates(free - n * shift)
                for n in (2, 1)
            )
            columns.append((8 * near - far) / (12 * step))
        units = np.abs(columns).max(axis=0)
        numeric = np.linalg.slogdet(columns / units)[1] + np.log(units).sum()
        written = log_jacobian(problem.parameters(free), problem.prior, problem.observations.scale)
        assert written == pytest.approx(numeric, abs=1e-6)


def test_the_gradient_is_that_of_the_log_density(problem):
    for free in problem.free_points(3):
        np.testing.assert_allclose(
            problem.gradient(free), gradient(problem.log_density, free), rtol=1e-6, atol=1e-6
        )


def test_the_gradient_needs_no_factorization_and_no_solve(problem):
    factorizations = {"Whitener", "Covariance", "Cholesky", "SolveTriangular", "MatrixInverse"}

    def operations(graph):
        """Names of the operations that depend on a free variable."""
        depends, found = set(problem.model.value_vars), set()
        for node in io_toposort([], [graph]):
            if depends & set(node.inputs):
                depends |= set(node.outputs)
                found.add(type(getattr(node.op, "core_op", node.op)).__name__)
        return found

    as_written = problem.model.logp()
    assert operations(as_written) & factorizations
    assert not operations(rewrite_pregrad(as_written)) & factorizations


def test_a_point_in_parameters_becomes_the_same_point_in_free_coordinates(problem):
    rng = np.random.default_rng(3)
    observations = problem.observations
    theta = random_parameters(rng, problem.n_components, problem.n_features).rescale(
        observations.origin, observations.scale
    )
    values = {name: getattr(theta, name) for name in ("weights", "means", "covariances")}
    point = make_initial_point_fn(model=problem.model, overrides=values)(0)
    free = np.concatenate([point[value.name].ravel() for value in problem.model.value_vars])
    there_and_back = problem.parameters(free)
    for name, value in values.items():
        np.testing.assert_allclose(getattr(there_and_back, name), value, rtol=1e-9)


def test_the_model_is_the_story_with_its_dims_named(problem):
    model = problem.model
    assert [variable.name for variable in model.free_RVs] == ["weights", "covariances", "means"]
    assert [variable.name for variable in model.observed_RVs] == ["x"]
    assert model.named_vars_to_dims == {
        "weights": ("cluster",),
        "covariances": ("cluster", "feature", "feature_bis"),
        "means": ("cluster", "feature"),
        "data": ("obs_id", "feature"),
        "x": ("obs_id", "feature"),
    }
    assert model.coords["cluster"] == tuple(range(problem.n_components))
    assert model.coords["feature"] == problem.observations.feature_names
    assert model.coords["obs_id"] == tuple(range(25))
    assert all(initial is None for initial in model.rvs_to_initial_values.values())
    assert "GaussianMixture(weights, means, covariances)" in model.str_repr()


def test_the_map_estimate_of_em_is_where_the_density_of_the_parameters_is_flat():
    data = bg.datasets.load("faithful")
    theta = bg.point_estimate(bg.fit(data, 2, prior="default", seed=1))
    model = bg.pymc_model(data, 2)
    values = {name: getattr(theta, name) for name in ("weights", "means", "covariances")}
    point = make_initial_point_fn(model=model, overrides=values)(0)
    slope = model.compile_fn(model.dlogp(jacobian=False), mode=PYTHON)
    assert np.abs(slope(point)).max() < 1e-3
    beside = {name: value + 0.01 for name, value in point.items()}
    assert np.abs(slope(beside)).max() > 1


def two_components(n_features, likelihood="fused"):
    rng = np.random.default_rng(n_features)
    x = rng.normal(size=(40, n_features)) * 10.0 ** np.arange(n_features) + 100
    observations = Observations.of(x)
    prior = random_prior(rng, 2, n_features).rescale(observations.origin, observations.scale)
    return observations, prior, pymc_model(observations, prior, likelihood=likelihood)


def draws_from_the_prior(model, n_draws, variables):
    tree = pm.sample_prior_predictive(
        n_draws,
        model=model,
        var_names=variables,
        random_seed=5,
        compile_kwargs={"mode": PYTHON},
    )
    return tree["prior" if "x" not in variables else "prior_predictive"].to_dataset()


@pytest.mark.parametrize("n_features", [1, 2, 3])
def test_draws_from_the_prior_have_the_prior_as_their_distribution(n_features):
    _, prior, model = two_components(n_features)
    drawn = draws_from_the_prior(model, 1000, ["weights", "means", "covariances"])
    draws = {name: array.to_numpy()[0] for name, array in drawn.items()}
    alpha = prior.concentration
    for k in range(2):
        weights = stats.beta(alpha[k], alpha.sum() - alpha[k])
        assert stats.kstest(draws["weights"][:, k], weights.cdf).pvalue > 1e-3
        factors = np.linalg.cholesky(draws["covariances"][:, k])
        gap = draws["means"][:, k] - prior.mean[k]
        standard = np.linalg.solve(factors, gap[..., None])[..., 0]
        standard *= np.sqrt(prior.mean_precision[k])
        assert stats.kstest(standard.ravel(), stats.norm.cdf).pvalue > 1e-3
        for direction in np.random.default_rng(0).normal(size=(4, n_features)):
            # v'Psi v / v'Sigma v ~ chi2(nu - D + 1) for every direction v
            ratio = (direction @ prior.scale[k] @ direction) / (
                direction @ draws["covariances"][:, k] @ direction
            )
            degrees = prior.degrees_of_freedom[k] - n_features + 1
            assert stats.kstest(ratio, stats.chi2(degrees).cdf).pvalue > 1e-3
    x = draws_from_the_prior(model, 3, ["x"])["x"]
    assert x.dims == ("chain", "draw", "obs_id", "feature")
    assert x.shape == (1, 3, 40, n_features)
    assert np.isfinite(x).all()
    assert len(np.unique(x)) == x.size


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("n_features", [1, 2])
def test_predictions_need_only_weights_means_and_covariances(n_features, likelihood, caplog):
    rng = np.random.default_rng(8)
    observations, _, model = two_components(n_features, likelihood)
    theta = random_parameters(rng, 2, n_features)
    theta = theta.rescale(observations.origin, observations.scale)
    arrays = {
        name: np.broadcast_to(getattr(theta, name), (1, 100, *getattr(theta, name).shape))
        for name in ("weights", "means", "covariances")
    }
    names = observations.feature_names
    dataset = labelled(arrays, feature_names=names, leading=("chain", "draw"))
    posterior = xr.DataTree.from_dict({"/posterior": dataset})
    options = {"model": model, "progressbar": False, "compile_kwargs": {"mode": PYTHON}}
    with caplog.at_level("INFO", logger="pymc"):
        predicted = pm.sample_posterior_predictive(posterior, random_seed=2, **options)
    assert "Sampling: [x]" in caplog.text  # and nothing from the prior
    drawn = predicted["posterior_predictive"]["x"].to_numpy().reshape(-1, n_features)
    direct, _ = mixture.sample(theta, len(drawn), rng)
    for j in range(n_features):
        assert stats.ks_2samp(drawn[:, j], direct[:, j]).pvalue > 1e-3
    densities = [mixture.marginal_log_density(rows, theta) for rows in (drawn, direct)]
    assert stats.ks_2samp(*densities).pvalue > 1e-3

    computed = pm.compute_log_likelihood(posterior, extend_inferencedata=False, **options)
    expected = mixture.marginal_log_density(observations.values, theta)
    np.testing.assert_allclose(computed["x"].to_numpy()[0, 0], expected, rtol=1e-9)


def test_rows_can_be_replaced_and_parameters_fixed():
    observations, prior, model = two_components(2)
    theta = prior.sample(np.random.default_rng(0))
    new = np.asarray(observations.values)[:7] + 1
    with model:
        pm.set_data({"data": new}, coords={"obs_id": np.arange(7)})
    fixed = pm.do(model, {"means": theta.means, "covariances": theta.covariances})
    assert [variable.name for variable in fixed.free_RVs] == ["weights"]
    point = make_initial_point_fn(model=fixed, overrides={"weights": theta.weights})(0)
    log_likelihood = fixed.compile_fn(fixed.logp(vars=fixed["x"]), mode=PYTHON)(point)
    assert float(log_likelihood) == pytest.approx(mixture.log_likelihood(new, theta), rel=1e-12)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")  # of so few draws
def test_pymcs_own_sampler_takes_the_model_and_loo_its_draws():
    observations, _, model = two_components(1)
    options = {"progressbar": False, "compile_kwargs": {"mode": PYTHON}}
    drawn = pm.sample(
        40,
        tune=40,
        chains=1,
        random_seed=0,
        nuts_sampler="pymc",
        compute_convergence_checks=False,
        quiet=True,
        model=model,
        **options,
    )
    assert np.isfinite(drawn["sample_stats"]["lp"]).all()
    assert drawn["posterior"]["means"].std() > 0
    pm.compute_log_likelihood(drawn, model=model, **options)
    estimate = loo(drawn, reff=1.0)
    assert estimate.n_data_points == observations.n_rows
    assert np.isfinite(estimate.elpd)
    # and they come back as a result, with what the sampler recorded
    result = bg.from_trace(drawn, observations, seed=0)
    np.testing.assert_array_equal(result["sample_stats"]["energy"], drawn["sample_stats"]["energy"])
    free = result["invariants"]["log_likelihood"]
    pointwise = drawn["log_likelihood"]["x"].sum("obs_id")
    np.testing.assert_allclose(free, pointwise, rtol=1e-9)
    xr.testing.assert_identical(
        result["log_likelihood"].to_dataset(), drawn["log_likelihood"].to_dataset()
    )
    assert bg.diagnose(result).table.index.is_unique


def test_an_unknown_likelihood_and_an_improper_prior_are_refused():
    observations = Observations.of(np.arange(6.0).reshape(3, 2) ** 2)
    with refuses("likelihood", "'magic'", "'fused'", "'mixture'"):
        pymc_model(observations, ConjugatePrior.default(observations.values, 2), likelihood="magic")
    with refuses("prior", "improper", "mean_precision"):
        pymc_model(observations, ConjugatePrior.flat(2, 2))
