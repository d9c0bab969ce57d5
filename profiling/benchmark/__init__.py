"""How long a training step takes, part by part."""
