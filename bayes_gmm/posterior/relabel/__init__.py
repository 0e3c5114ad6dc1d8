"""Which component of a draw is which: permutations of the components."""
