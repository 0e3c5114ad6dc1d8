"""Bayesian Gaussian mixtures: the model, EM, the posterior by PyMC, and a comparison of them.

    z ~ Categorical(phi)        x | z = k ~ N(mu_k, Sigma_k)

Import as ``import bayes_gmm as bg``. What the verbs need is loaded when it is first used, so that
importing the package is instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bayes_gmm import datasets
from bayes_gmm.errors import (
    CollapseError,
    CollapseWarning,
    ConvergenceWarning,
    IdentificationWarning,
    InputError,
)

if TYPE_CHECKING:
    from bayes_gmm.api import (
        fit,
        parameters,
        pymc_model,
        sample,
        select,
        simulate,
        standard_errors,
    )
    from bayes_gmm.model.parameters import Parameters
    from bayes_gmm.model.priors import Prior
    from bayes_gmm.results import plots
    from bayes_gmm.results.archive import save
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
    "save",
    "select",
    "simulate",
    "standard_errors",
]

# Where the names live whose modules import NumPy, SciPy or more: "module" or "module:name".
_LATER = {
    **dict.fromkeys(
        ("fit", "parameters", "pymc_model", "sample", "select", "simulate", "standard_errors"),
        "bayes_gmm.api",
    ),
    "Parameters": "bayes_gmm.model.parameters",
    "Prior": "bayes_gmm.model.priors",
    "check": "bayes_gmm.results.checks",
    "compare": "bayes_gmm.results.compare",
    "diagnose": "bayes_gmm.results.diagnostics",
    "log_density": "bayes_gmm.results.predictive",
    "plots": "bayes_gmm.results.plots:",
    "predict": "bayes_gmm.results.predictive",
    "report": "bayes_gmm.results.report:write_report",
    "save": "bayes_gmm.results.archive",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place, colon, attribute = _LATER[name].partition(":")
    module = import_module(place)
    value = module if colon and not attribute else getattr(module, attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
