"""Cache-to-cache communication (C2C, arXiv 2510.03215): one model reads what another has read."""

from model.c2c.fuser import MAPPINGS, Fuser, cache_shape, clone_cache, layer_mapping, put_layer

__all__ = ["MAPPINGS", "Fuser", "cache_shape", "clone_cache", "layer_mapping", "put_layer"]
