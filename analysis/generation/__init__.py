"""Times of generation with two models, from records."""
