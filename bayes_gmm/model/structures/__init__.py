"""Covariance structures: a class for each family of them, and the list of those that are known.

`structure` is what is asked of every one; `prior` is what a conjugate prior says of them. A new
family is one file with a class, registered here.
"""

from bayes_gmm.model.structures.axes import CommonAxes, OwnAxes
from bayes_gmm.model.structures.fixed_axes import Diagonals, DrawnDiagonals, Spheres
from bayes_gmm.model.structures.matrices import (
    UNCONSTRAINED,
    Common,
    EqualVolumes,
    Proportional,
)
from bayes_gmm.model.structures.structure import ALIASES, Structure, names, register

register(
    Spheres("E"),
    Spheres("V"),
    DrawnDiagonals("E", "E"),
    Diagonals("V", "E"),
    Diagonals("E", "V"),
    DrawnDiagonals("V", "V"),
    Common(),
    Proportional(),
    CommonAxes("E"),
    CommonAxes("V"),
    OwnAxes("E"),
    OwnAxes("V"),
    EqualVolumes(),
    UNCONSTRAINED,
)
CODES = names()  # of Celeux & Govaert
DRAWN = names(drawn=True)

__all__ = ["ALIASES", "CODES", "DRAWN", "UNCONSTRAINED", "Structure", "names", "register"]
