"""Times of a model's layers, from records."""
