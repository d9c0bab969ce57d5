"""Ask for whole weights before they are needed, in the order they were needed last time."""

from typing import Final

from torch import Tensor

from model.parallel.collectives import Pending
from model.parallel.shards import Shard

AHEAD: Final = 2
"""How many weights are asked for ahead of the one in use: so at most three are whole at a time."""


class Prefetch:
    """The weights one kind of pass needs, in order.

    The first pass asks for each when it is needed. From the second on the next ones are asked for
    as well; where a pass takes another way than the one before, it goes on as the first did. All
    ranks must take the same way: they gather together.
    """

    def __init__(self, ahead: int = AHEAD) -> None:
        self._ahead = ahead
        self._expected: list[Shard] = []
        self._seen: list[Shard] = []
        self._coming: dict[int, Pending] = {}

    def begin(self) -> None:
        """Start a new pass; weights may have changed since the last."""
        self._drop()
        if self._seen:
            self._expected, self._seen = self._seen, []

    def take(self, shard: Shard) -> Tensor:
        """Return a whole weight, with its padding, and ask for those that came after it."""
        place = len(self._seen)
        self._seen.append(shard)
        if self._expected and self._expected[place : place + 1] != [shard]:
            self._drop()
            self._expected = []
        pending = self._coming.pop(place, None) or shard.gather()
        following = self._expected[place + 1 : place + 1 + self._ahead]
        for later, each in enumerate(following, place + 1):
            if later not in self._coming:
                self._coming[later] = each.gather()
        return pending.wait()

    def _drop(self) -> None:
        for pending in self._coming.values():
            pending.wait()
        self._coming = {}
