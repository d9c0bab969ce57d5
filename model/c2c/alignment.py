"""The sharer's tokens for the receiver's, where the two models have different tokenizers.

A projector joins caches position by position, so the sharer must read as many tokens as the
receiver, each saying what the receiver's says, as nearly as one token can.
"""

from collections.abc import Sequence
from typing import Any, Final

from model.c2c.choices import PICKS

_SPECIAL: Final = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")


class TokenAligner:
    """A receiver's token ids, translated one by one; both have tokenizers of transformers.

    A token that the sharer has too is that token; a special one (begin, end, padding) the sharer's
    of the same role; any other is read by the sharer's tokenizer, and of several tokens the
    ``first`` or the ``longest`` is taken (`PICKS`).

    Attributes:
        same: whether both have one vocabulary, so that nothing needs translating.
        inexact: the receiver's ids translated so far whose text the sharer's token does not have.

    Raises:
        ValueError: no way of picking is called so.
    """

    def __init__(self, receiver: Any, sharer: Any, pick: str = PICKS[0]) -> None:
        if pick not in PICKS:
            raise ValueError(f"no way of picking is called {pick!r}; there are: {', '.join(PICKS)}")
        self.same: bool = receiver.get_vocab() == sharer.get_vocab()
        self.inexact: set[int] = set()
        self._receiver, self._sharer, self._pick = receiver, sharer, pick
        self._theirs: dict[str, int] = {} if self.same else sharer.get_vocab()
        self._known: dict[int, int] = {}

    def align(self, ids: Sequence[int]) -> list[int]:
        """Return the sharer's token ids, one for each of the receiver's.

        Raises:
            ValueError: the sharer has no token at all for one of them.
        """
        if self.same:
            return list(ids)
        for number in ids:
            if number not in self._known:
                self._known[number] = self._partner(number)
        return [self._known[number] for number in ids]

    def _partner(self, number: int) -> int:
        for role in _SPECIAL:
            theirs = getattr(self._sharer, role, None)
            if theirs is not None and getattr(self._receiver, role, None) == number:
                return int(theirs)
        text = self._receiver.decode([number])
        same = self._theirs.get(self._receiver.convert_ids_to_tokens(number))
        # The same spelling may mean another text: compare what it says.
        if same is not None and self._sharer.decode([same]) == text:
            return same
        candidates = self._sharer.encode(text, add_special_tokens=False)
        if not candidates:
            candidates = self._stand_in(number, text)
        chosen = candidates[0]
        if self._pick == "longest":
            chosen = max(candidates, key=lambda each: len(self._sharer.decode([each])))
        if self._sharer.decode([chosen]) != text:
            self.inexact.add(number)
        return int(chosen)

    def _stand_in(self, number: int, text: str) -> list[int]:
        for role in ("unk_token_id", "pad_token_id", "eos_token_id"):
            if (theirs := getattr(self._sharer, role, None)) is not None:
                return [int(theirs)]
        raise ValueError(f"the teacher's tokenizer has no token for {text!r} (id {number})")
