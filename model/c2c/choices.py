"""The choices there are of how two models work together, by name; known without torch."""

from typing import Final

MAPPINGS: Final = ("last_aligned", "nearest")
"""How a sharer's layer is found for each of the receiver's."""

PICKS: Final = ("first", "longest")
"""What stands for a receiver's token that is several of the sharer's."""
