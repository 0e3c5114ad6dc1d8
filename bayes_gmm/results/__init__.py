"""Labelled results for people: trees, relabelling, diagnostics, comparison, plots, the report."""
