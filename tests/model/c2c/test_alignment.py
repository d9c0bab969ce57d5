"""One model's tokens for another's."""

from model.c2c.alignment import TokenAligner
from model.c2c.projector import CacheShape, ProjectorShape
from tests.made.models.tiny_qwen import train_tokenizer

SHARER, RECEIVER = CacheShape(3, 1, 16), CacheShape(4, 2, 16)
SMALL = ProjectorShape(hidden=24, intermediate=40)


def test_one_vocabulary_needs_no_translation() -> None:
    aligner = TokenAligner(train_tokenizer(), train_tokenizer())
    assert aligner.same
    assert aligner.align([5, 200, 7]) == [5, 200, 7]


def test_other_tokens_are_read_one_by_one() -> None:
    receiver = train_tokenizer(320)
    sharer = train_tokenizer(270, corpus=("clips " * 9, "the sea and the sky"))
    aligner = TokenAligner(receiver, sharer)
    ids = receiver("Natalia sold clips in April.")["input_ids"]
    assert isinstance(ids, list)
    theirs = aligner.align(ids)
    assert len(theirs) == len(ids)
    for ours, their in zip(ids, theirs, strict=True):
        text, read = receiver.decode([ours]), sharer.decode([their])
        assert isinstance(text, str)
        assert isinstance(read, str)
        assert text.startswith(read)
        assert (text != read) == (ours in aligner.inexact)
    assert aligner.inexact


def test_of_several_tokens_the_first_or_the_longest_is_taken() -> None:
    receiver = train_tokenizer(600, corpus=("xclips",) * 5)
    sharer = train_tokenizer(600, corpus=("clips",) * 5)
    (ours,) = receiver("xclips")["input_ids"]
    first = TokenAligner(receiver, sharer).align([ours])
    longest = TokenAligner(receiver, sharer, "longest").align([ours])
    assert sharer.decode(first) == "x"
    assert sharer.decode(longest) == "clips"


def test_a_special_token_is_the_other_ones_of_the_same_role() -> None:
    receiver, sharer = train_tokenizer(320), train_tokenizer(270)
    assert TokenAligner(receiver, sharer).align([0]) == [sharer.eos_token_id]


def test_a_token_without_text_gets_a_stand_in() -> None:
    receiver, sharer = train_tokenizer(320), train_tokenizer(270)
    beyond = len(receiver.get_vocab())  # models have more rows than their tokenizer has tokens
    assert TokenAligner(receiver, sharer).align([beyond]) == [sharer.pad_token_id]
