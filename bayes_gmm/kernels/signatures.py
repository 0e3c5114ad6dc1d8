"""numba's types of what the kernels take: a compiled function is known by its address and these."""

from numba import types

REAL, WHOLE, FLAG = types.float64, types.int64, types.boolean
VECTOR, MATRIX, STACK, STACKS = (types.Array(REAL, n, "C") for n in (1, 2, 3, 4))
NUMBERS = types.Array(WHOLE, 1, "C")
SUMS = (VECTOR, MATRIX, STACK)  # count, first, second; offset, center, whitener too
