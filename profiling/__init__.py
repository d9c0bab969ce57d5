"""How a model is run and recorded."""
