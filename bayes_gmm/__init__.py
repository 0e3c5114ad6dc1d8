"""Bayesian Gaussian mixtures: the model, EM, the posterior by PyMC, and a comparison of them.

    z ~ Categorical(phi)        x | z = k ~ N(mu_k, Sigma_k)

Import as ``import bayes_gmm as bg``. The verbs load what they need when they are called, so that
importing the package is instant.
"""

from bayes_gmm import datasets
from bayes_gmm.api import (
    check,
    compare,
    diagnose,
    fit,
    log_density,
    parameters,
    predict,
    pymc_model,
    report,
    sample,
    simulate,
)
from bayes_gmm.errors import (
    CollapseError,
    CollapseWarning,
    ConvergenceWarning,
    IdentificationWarning,
    InputError,
)
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import Prior

__version__ = "0.1.0"

__all__ = [
    "CollapseError",
    "CollapseWarning",
    "ConvergenceWarning",
    "IdentificationWarning",
    "InputError",
    "Parameters",
    "Prior",
    "check",
    "compare",
    "datasets",
    "diagnose",
    "fit",
    "log_density",
    "parameters",
    "predict",
    "pymc_model",
    "report",
    "sample",
    "simulate",
]
