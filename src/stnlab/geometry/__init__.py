"""Tensors in, tensors out: point maps, grids, sampling. No state, no Lightning, no data."""
