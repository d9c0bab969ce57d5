"""Language models from disk, from the hub, or with random weights."""
