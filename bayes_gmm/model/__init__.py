"""The book: the mixture model, equation by equation, in NumPy and SciPy only."""
