"""numba's types of what the kernels take: float64 arrays in C order.

An array that a kernel only reads may be writable or not, and its type is read-only; the types
`OUT_...` are of arrays that it writes into or returns.
"""

from numba import types

REAL, WHOLE, FLAG, BITS = types.float64, types.int64, types.boolean, types.uint64
VECTOR, MATRIX, STACK, STACKS = (types.Array(REAL, n, "C", readonly=True) for n in (1, 2, 3, 4))
OUT_VECTOR, OUT_MATRIX, OUT_STACK, OUT_STACKS = (types.Array(REAL, n, "C") for n in (1, 2, 3, 4))
NUMBERS = types.Array(WHOLE, 1, "C")  # written
TABLE_OF_NUMBERS = types.Array(WHOLE, 2, "C")
FUNCTIONS = (VECTOR, MATRIX, STACK)  # offset, center, whitener
SUMS = (OUT_VECTOR, OUT_MATRIX, OUT_STACK)  # count, first, second
PRIOR = (VECTOR, MATRIX, VECTOR, VECTOR, STACK)
# A pass with expected labels: rows, row weights, origin and inverse scale, functions, sums.
PASS = REAL(MATRIX, VECTOR, VECTOR, VECTOR, *FUNCTIONS, *SUMS)
# Weights, means, covariances, floor and prior to offsets, whiteners, log prior, lost component.
FACTOR = types.Tuple([OUT_VECTOR, OUT_STACK, REAL, WHOLE])(VECTOR, MATRIX, STACK, VECTOR, *PRIOR)
