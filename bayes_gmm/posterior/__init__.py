"""Computations from posterior draws: arrays in, arrays out."""
