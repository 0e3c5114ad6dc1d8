"""The cost of a Gibbs sweep in operations, so that decisions do not depend on the machine.

A sweep evaluates every component at every row, and draws every component. The coefficients are
times that were measured for N = 2 to 2000, D = 1 to 50 and K = 1 to 5, at half a nanosecond for an
operation; most of them lie within a factor of two of the formula.
"""

CALL = 4000  # a sweep of next to no rows
OF_A_ROW = 20  # for each component; and for the product with its whitener:
OF_A_PRODUCT = 0.6  # times D^2
OF_A_DRAW = 1000  # of a component; its D (D + 1) / 2 random numbers, and four triangular products:
OF_NUMBERS = 90  # times D^2
OF_PRODUCTS = 4  # times D^3


def of_a_sweep(n_rows: int, n_components: int, n_features: int) -> float:
    """Operations of one sweep."""
    square = n_features**2
    row = OF_A_ROW + OF_A_PRODUCT * square
    draw = OF_A_DRAW + square * (OF_NUMBERS + OF_PRODUCTS * n_features)
    return CALL + n_components * (n_rows * row + draw)
