"""The times of the C2C pipeline: of what each is, that they add up, and its ranges."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
import torch

from model.c2c import clone_cache
from profiling import names
from profiling.common import timing as timing_of_parts
from profiling.generation.pair import ReadyModels
from profiling.generation.pipeline import generate
from profiling.generation.record import timing
from profiling.generation.run import encode
from profiling.generation.selection import ModelSelection
from profiling.spans import recording
from tests.made.models.c2c_pair import BASE_LAYERS, PROMPT, TEACHER_LAYERS, loaded, saved_pair
from tests.made.runs.recorded import Recorded


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelSelection:
    return saved_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def pair(models: ModelSelection) -> ReadyModels:
    return loaded(models)


@pytest.fixture(scope="module")
def acting(models: ModelSelection) -> ReadyModels:
    return loaded(models, open_gates=True)


class FakeTime:
    """A clock that goes on only when a module runs, each by its own number of milliseconds."""

    def __init__(self, ready: ReadyModels) -> None:
        self.now_ms = 0
        pair = ready.pair
        assert pair.fuser
        assert pair.teacher is not None
        costs = {
            pair.base.model.embed_tokens: 1,
            pair.base.model.layers: 2,
            pair.base.lm_head: 500,
            pair.teacher.model.embed_tokens: 3,
            pair.teacher.model.layers: 7,
            pair.teacher.lm_head: 100_000,
            pair.fuser.projectors: 11,
        }
        self.hooks = []
        for module, cost in costs.items():
            each = module if isinstance(module, torch.nn.ModuleList) else [module]
            self.hooks += [one.register_forward_hook(self._take(cost)) for one in each]

    def _take(self, cost: int) -> Any:
        def take(*_: object) -> None:
            self.now_ms += cost

        return take

    def __call__(self) -> float:
        return self.now_ms / 1000


@pytest.fixture
def clock(pair: ReadyModels) -> Iterator[FakeTime]:
    fake = FakeTime(pair)
    yield fake
    for hook in fake.hooks:
        hook.remove()


def test_by_a_fake_clock_every_part_has_its_own_time_and_all_add_up(
    pair: ReadyModels, clock: FakeTime
) -> None:
    made = generate(pair.pair, encode(pair.tokenizer, PROMPT), 5, clock=clock)
    times = timing(made, has_teacher=True)
    step = 1 + 2 * BASE_LAYERS + 500
    assert asdict(times) == {
        "base_embedding_ms": 1,
        "base_prefill_ms": 2 * BASE_LAYERS,
        "teacher_embedding_ms": 3,
        "teacher_prefill_ms": 7 * TEACHER_LAYERS,
        "projector_total_ms": 11 * BASE_LAYERS,
        "projector_avg_ms": 11,
        "projector_calls": BASE_LAYERS,
        "decode_total_ms": 5 * step,
        "decode_avg_ms": step,
        "num_generated_tokens": 5,
        "tokens_per_second": pytest.approx(1000 / step),
    }
    assert made.wall_ns == clock.now_ms * 1_000_000
    assert sum(time for _, time in made.parts_ns) == made.wall_ns


def test_cloning_counts_with_the_prefill_and_choosing_with_the_step(
    pair: ReadyModels, clock: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clone(cache: Any) -> Any:
        clock.now_ms += 1000
        return clone_cache(cache)

    monkeypatch.setattr("profiling.generation.pipeline.clone_cache", clone)

    def choose(logits: torch.Tensor) -> torch.Tensor:
        clock.now_ms += 10_000
        return logits.argmax(-1, keepdim=True)

    made = generate(pair.pair, encode(pair.tokenizer, PROMPT), 1, clock=clock, choose=choose)
    assert made.total_ns(names.BASE_PREFILL) == (1000 + 2 * BASE_LAYERS) * 1_000_000
    assert made.total_ns(names.TEACHER_PREFILL) == (1000 + 7 * TEACHER_LAYERS) * 1_000_000
    assert made.total_ns(names.DECODE_STEP) == (10_000 + 501 + 2 * BASE_LAYERS) * 1_000_000


def test_without_a_teacher_its_times_are_null(models: ModelSelection) -> None:
    ready = loaded(models, teacher="none")
    made = generate(ready.pair, encode(ready.tokenizer, PROMPT), 2)
    times = timing(made, has_teacher=False)
    assert [key for key, time in asdict(times).items() if time is None] == [
        "teacher_embedding_ms",
        "teacher_prefill_ms",
        "projector_total_ms",
        "projector_avg_ms",
    ]
    assert times.projector_calls == 0
    assert times.base_prefill_ms


def test_ranges_are_one_generation_with_a_projector_a_layer_and_a_step_a_token(
    acting: ReadyModels,
) -> None:
    seen = Recorded()
    with recording(seen):
        made = generate(acting.pair, encode(acting.tokenizer, PROMPT), 3)
    ((top, (prefill, decode)),) = [tree for tree in seen.trees() if isinstance(tree, tuple)]
    assert top == names.GENERATION
    assert isinstance(prefill, tuple)
    assert [child if isinstance(child, str) else child[0] for child in prefill[1]] == [
        names.BASE_EMBEDDING,
        names.BASE_PREFILL,
        names.TEACHER_EMBEDDING,
        names.TEACHER_PREFILL,
        *[names.PROJECTOR] * BASE_LAYERS,
    ]
    assert prefill[1][1] == (names.BASE_PREFILL, [names.CACHE_CLONE])
    assert decode == (names.DECODE, [names.DECODE_STEP] * len(made.tokens))
    assert seen.balanced


class FakeEvents:
    """CUDA events of a device that works as fast as this process, for `EventMarks`."""

    def __init__(self) -> None:
        self.recorded = 0
        self.waits = 0

    def event(self, **_: object) -> Any:
        outer = self

        class Event:
            at = 0

            def record(self, _: object) -> None:
                outer.recorded += 1
                self.at = outer.recorded**2

            def elapsed_time(self, other: "Event") -> float:
                assert outer.waits == 2, "read before the device was idle"
                return float(other.at - self.at)

        return Event()


def test_on_a_gpu_parts_are_between_events_that_are_read_when_all_is_done(
    pair: ReadyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeEvents()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: None)
    monkeypatch.setattr(torch.cuda, "Event", fake.event)

    def wait(_: str) -> None:
        fake.waits += 1

    monkeypatch.setattr(timing_of_parts, "synchronize", wait)
    real = timing_of_parts.PartTimer
    monkeypatch.setattr(
        "profiling.generation.pipeline.PartTimer", lambda _, clock: real("cuda:0", clock)
    )
    ticks = iter([1.0, 3.5])
    made = generate(
        pair.pair, encode(pair.tokenizer, PROMPT), 2, clock=lambda: next(ticks)
    )  # the host's clock is read at both ends only
    assert made.wall_ns == 2_500_000_000
    times = [time for _, time in made.parts_ns]
    assert times == [(2 * place + 3) * 1_000_000 for place in range(4 + BASE_LAYERS + 2)]
