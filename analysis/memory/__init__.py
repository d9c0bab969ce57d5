"""Memory of a run, by part of the model."""
