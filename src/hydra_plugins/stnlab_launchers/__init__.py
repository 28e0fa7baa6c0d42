"""Launchers of ours for Hydra, which looks for plugins in packages of this place."""
