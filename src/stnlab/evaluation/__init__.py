"""Measures of predictions: pure functions of numpy arrays."""
