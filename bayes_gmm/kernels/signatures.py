"""numba's types of what the kernels take: a compiled function is known by its address and these."""

from numba import types

REAL, WHOLE, FLAG = types.float64, types.int64, types.boolean
VECTOR, MATRIX, STACK, STACKS = (types.Array(REAL, n, "C") for n in (1, 2, 3, 4))
NUMBERS = types.Array(WHOLE, 1, "C")
SUMS = (VECTOR, MATRIX, STACK)  # count, first, second; offset, center, whitener too

PRIOR = (VECTOR, MATRIX, VECTOR, VECTOR, STACK)
# A pass with expected labels: rows, row weights, origin and inverse scale, functions, sums.
PASS = REAL(MATRIX, VECTOR, VECTOR, VECTOR, VECTOR, MATRIX, STACK, *SUMS)
# Weights, means, covariances, floor and prior to offsets, whiteners, log prior, lost component.
FACTOR = types.Tuple([VECTOR, STACK, REAL, WHOLE])(VECTOR, MATRIX, STACK, VECTOR, *PRIOR)
