"""Cache-to-cache communication (C2C, arXiv 2510.03215): one model reads what another has read."""

from typing import TYPE_CHECKING

from model.c2c.choices import MAPPINGS

if TYPE_CHECKING:
    from model.c2c.fuser import Fuser as Fuser
    from model.c2c.fuser import cache_shape as cache_shape
    from model.c2c.fuser import clone_cache as clone_cache
    from model.c2c.fuser import layer_mapping as layer_mapping
    from model.c2c.fuser import put_layer as put_layer
else:

    def __getattr__(name: str) -> object:
        """Import what needs torch only when it is asked for."""
        if name in __all__:
            from model.c2c import fuser

            return getattr(fuser, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["MAPPINGS", "Fuser", "cache_shape", "clone_cache", "layer_mapping", "put_layer"]
