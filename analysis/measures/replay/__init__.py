"""Replaying a run: what it would take with other durations."""
