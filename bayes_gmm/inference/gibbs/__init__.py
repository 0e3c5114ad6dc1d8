"""Gibbs: labels and parameters drawn in turn."""
