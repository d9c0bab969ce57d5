"""Training steps of our own model, on one rank or many."""
