"""The replay of a run: what follows on what, and the times that come of it."""
