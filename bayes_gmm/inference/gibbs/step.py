r"""The Gibbs sweep as a step method of PyMC, for a mixture in a larger model.

    z | theta, x, rest     theta | z, rest     theta = (weights, means, covariances)

`pm.sample(step=[GibbsStep()])` draws the parameters of the mixture by Gibbs sweeps and every other
variable of the model by the step methods that PyMC chooses, such as NUTS. The parameters of the
prior may depend on those variables: they are evaluated in every sweep.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pymc.step_methods.compound import BlockedStep, StepMethodState
from pymc.util import get_random_generator
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorVariable

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.inference.gibbs.gibbs import require_counts
from bayes_gmm.inference.pymc.conjugate import MixtureVariables
from bayes_gmm.inference.settings import standardized
from bayes_gmm.kernels.gibbs import Prior, State, Sums, draw_conjugate
from bayes_gmm.kernels.kernel import c_order
from bayes_gmm.kernels.sampling import look_at
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior

# The distributions that are conjugate, as `pymc_model` makes them.
CONJUGATE = ["DirichletRV", "MvNormal", "InverseWishart"]
SMALLEST_WEIGHT = np.finfo(float).tiny  # its logarithm is a number


class GibbsStep(BlockedStep):
    """Blocked Gibbs update of the parameters of a mixture with a conjugate prior.

    Parameters
    ----------
    vars : sequence of three variables, optional
        The weights (K,), means (K, D) and covariances (K, D, D) of the mixture, in any order; by
        default the free variables with these names, as in `pymc_model`.
    model : pymc.Model, optional
        A model from `pymc_model` with a `ConjugatePrior`, or with a function that returns fields
        of one; or a model that extends it. By default the model of the current context. The rows
        are the current values of its data container.
    rng : numpy.random.Generator or int, optional
        `pymc.sample` replaces it for every chain.
    **options : object
        `blocked`, which PyMC passes, is ignored.

    Raises
    ------
    InputError
        If the variables are not the parameters of a mixture with a conjugate prior and the fused
        likelihood, or if anything else in the model depends on them.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_gmm.data import Observations
    >>> from bayes_gmm.inference.pymc.model import pymc_model
    >>> x = np.array([[0.0], [0.2], [4.0], [4.1]])
    >>> def unknown_size():
    ...     size = pm.LogNormal("size")  # NUTS takes this one
    ...     return {"scale": size * np.eye(1)}
    >>> with pymc_model(Observations.of(x), unknown_size, n_components=2):
    ...     step = GibbsStep()
    >>> [variable.name for variable in step.vars]
    ['weights_simplex__', 'means_standardized__', 'covariances_bartlett__']
    """

    name = "gibbs_mixture"
    stats_dtypes_shapes: dict[str, Any] = {"n_occupied": (np.int64, [])}  # noqa: RUF012
    _state_class = StepMethodState

    def __init__(
        self,
        vars: Sequence[TensorVariable] | None = None,
        *,
        model: pm.Model | None = None,
        rng: Any = None,
        **options: Any,
    ):
        model = pm.modelcontext(model)
        theta = _variables(model, vars)
        rows, times = _rows(model, theta)
        self.vars = [model.rvs_to_values[variable] for variable in theta]
        self.var_names = tuple(variable.name for variable in self.vars)
        self.rng = get_random_generator(rng)
        observations = Observations.of(rows, what="the observed rows")
        if times is not None:
            observations = observations.weighted(times, what="row_weights")
            require_counts(observations)
        self._rows, self._times = c_order(
            np.asarray(observations.values), np.empty(0) if times is None else times
        )
        self._observations = observations
        self._to_parameters, self._to_values = _coordinates(model, theta, self.vars)
        prior = model.replace_rvs_by_values(_prior_parameters(theta))
        self._is_fixed = set(model.value_vars).isdisjoint(ancestors(prior))
        self._prior_at = model.compile_fn(
            prior, inputs=model.value_vars, on_unused_input="ignore", point_fn=True
        )
        self._prior: Prior | None = None

    def step(self, point: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[dict]]:
        """Run one sweep from a point: labels given the parameters, parameters given the labels.

        Parameters
        ----------
        point : dict of str to ndarray

        Returns
        -------
        point : dict of str to ndarray
        stats : list of one dict
            n_occupied, how many components held rows.
        """
        origin, scale = self._observations.origin, self._observations.scale
        units = np.outer(scale, scale)
        weights, means, covariances = self.parameters(point)
        state = State.of(Parameters.trusted(weights, (means - origin) / scale, covariances / units))
        sums = Sums.zeros(*state.means.shape)
        look_at(self._observations)(
            self._rows,
            self._times,
            0,  # the place of the first row
            self.rng.integers(1 << 64, dtype=np.uint64),
            *c_order(origin, 1 / scale),
            state.offset,
            state.means,
            state.whitener,
            *sums,
            np.empty(0, np.int64),
            0.0,
        )
        if draw_conjugate(self.rng, self._prior_of(point), state, sums) >= 0:
            raise InputError("the prior's scale is numerically singular: give a larger scale")
        values = self._to_values(
            np.maximum(state.weights, SMALLEST_WEIGHT),
            origin + scale * state.means,
            state.covariances * units,
        )
        moved = {**point, **dict(zip(self.var_names, values, strict=True))}
        return moved, [{"n_occupied": np.count_nonzero(sums.counts)}]

    def parameters(self, point: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Read weights, means and covariances, in the user's units, at a point of the sampler.

        Parameters
        ----------
        point : dict of str to ndarray

        Returns
        -------
        list of ndarray
        """
        return self._to_parameters(*(point[name] for name in self.var_names))

    def _prior_of(self, point: dict[str, np.ndarray]) -> Prior:
        """Prior in the coordinates of the sweep, given the other variables."""
        if self._prior is None or not self._is_fixed:
            prior = ConjugatePrior(*self._prior_at(point))
            prior.require_proper()
            self._prior = Prior.conjugate(standardized(prior, self._observations))
        return self._prior


def _variables(model: pm.Model, chosen: Sequence[TensorVariable] | None) -> MixtureVariables:
    """Find the three variables, and check their distributions."""
    if chosen is None:
        names = MixtureVariables._fields
        if not set(names) <= {variable.name for variable in model.free_RVs}:
            raise InputError(
                "the model has no free variables weights, means and covariances: build it with "
                "pymc_model and a ConjugatePrior or a function that returns fields of one, or "
                "pass the three variables as vars"
            )
        chosen = [model[name] for name in names]
    by_ndim = {variable.ndim: variable for variable in chosen if variable in model.free_RVs}
    if len(chosen) != 3 or set(by_ndim) != {1, 2, 3}:
        raise InputError(
            "vars must be three free variables of the model: weights (K,), means (K, D) and "
            "covariances (K, D, D)"
        )
    theta = MixtureVariables(by_ndim[1], by_ndim[2], by_ndim[3])
    kinds = [type(variable.owner.op).__name__ for variable in theta]
    if kinds != CONJUGATE or theta.covariances is not _parameters_of(theta.means)[-1]:
        raise InputError(
            "the Gibbs step needs a conjugate prior: weights ~ Dirichlet, covariances ~ "
            f"InverseWishart, means ~ MvNormal given the covariances; got {', '.join(kinds)}"
        )
    return theta


def _rows(model: pm.Model, theta: MixtureVariables) -> tuple[np.ndarray, np.ndarray | None]:
    """Find the rows of the one observed variable that the parameters belong to, and weights."""
    others = [v for v in (*model.basic_RVs, *model.potentials) if v not in theta]
    dependent = [v for v in others if not set(theta).isdisjoint(ancestors([v]))]
    names = ", ".join(str(variable.name) for variable in dependent)
    if len(dependent) != 1 or dependent[0] not in model.observed_RVs:
        raise InputError(
            "exactly one observed variable, the mixture, must depend on weights, means and "
            f"covariances; in this model: {names or 'none'}"
        )
    (mixture,) = dependent
    kind = type(mixture.owner.op).__name__
    parameters, times = [], []
    if kind == "GaussianMixture":
        parameters, times = list(_parameters_of(mixture))[:3], list(_parameters_of(mixture))[3:]
    if parameters != list(theta):
        raise InputError(f'{names} is not the mixture of pymc_model with likelihood="fused"')
    value = model.rvs_to_values[mixture]
    rows = value.get_value() if hasattr(value, "get_value") else value.data
    return rows, np.asarray(times[0].eval()) if times else None


def _prior_parameters(theta: MixtureVariables) -> list[TensorVariable]:
    """Parameters of the prior in the order of the fields of `ConjugatePrior`."""
    (concentration,) = _parameters_of(theta.weights)
    degrees, scale = _parameters_of(theta.covariances)
    mean, precision, _ = _parameters_of(theta.means)
    found = [concentration, mean, precision, degrees, scale]
    if not set(theta).isdisjoint(ancestors(found)):
        raise InputError(
            "the parameters of the prior depend on weights, means or covariances, so it is not "
            "conjugate: let them depend on other variables only"
        )
    return found


def _parameters_of(variable: TensorVariable) -> Sequence[TensorVariable]:
    """What the distribution of a random variable is given."""
    return variable.owner.op.dist_params(variable.owner)


def _coordinates(
    model: pm.Model, theta: MixtureVariables, values: Sequence[TensorVariable]
) -> tuple[Any, Any]:
    """Compile the functions from values of the sampler to parameters, and back."""
    parameters, transformed = [], []
    symbols = [variable.type() for variable in theta]
    for variable, value, symbol in zip(theta, values, symbols, strict=True):
        transform = model.rvs_to_transforms[variable]
        inputs = variable.owner.inputs
        parameters.append(value if transform is None else transform.backward(value, *inputs))
        transformed.append(symbol if transform is None else transform.forward(symbol, *inputs))
    symbols = [pt.as_tensor_variable(symbol) for symbol in symbols]
    return (
        pytensor.function(list(values), parameters),
        pytensor.function(symbols, transformed),
    )
