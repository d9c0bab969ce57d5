"""Predictions of `spanlight whatif`, held against runs that were really changed so."""
