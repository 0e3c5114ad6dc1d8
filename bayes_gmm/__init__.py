"""Bayesian Gaussian mixtures: the model, EM, the posterior by PyMC, and a comparison of them.

    z ~ Categorical(phi)        x | z = k ~ N(mu_k, Sigma_k)

Import as ``import bayes_gmm as bg``. What the verbs need is loaded when it is first used, so that
importing the package is instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bayes_gmm import datasets
from bayes_gmm.api import fit, parameters, pymc_model, sample, select, simulate
from bayes_gmm.errors import (
    CollapseError,
    CollapseWarning,
    ConvergenceWarning,
    IdentificationWarning,
    InputError,
)
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import Prior

if TYPE_CHECKING:
    from bayes_gmm.results import plots
    from bayes_gmm.results.checks import check
    from bayes_gmm.results.compare import compare
    from bayes_gmm.results.diagnostics import diagnose
    from bayes_gmm.results.predictive import log_density, predict
    from bayes_gmm.results.report import write_report as report

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
    "plots",
    "predict",
    "pymc_model",
    "report",
    "sample",
    "select",
    "simulate",
]

# Names whose modules import xarray, ArviZ or matplotlib, and where they live.
_LATER = {
    "check": ("bayes_gmm.results.checks", "check"),
    "compare": ("bayes_gmm.results.compare", "compare"),
    "diagnose": ("bayes_gmm.results.diagnostics", "diagnose"),
    "log_density": ("bayes_gmm.results.predictive", "log_density"),
    "predict": ("bayes_gmm.results.predictive", "predict"),
    "report": ("bayes_gmm.results.report", "write_report"),
    "plots": ("bayes_gmm.results.plots", None),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _LATER[name]
    found = import_module(module)
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
