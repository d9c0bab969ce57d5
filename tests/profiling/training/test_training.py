"""The parts of a step of our own model: what each mode does, and how the variants differ."""

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.transformer import RMSNorm
from profiling import names
from profiling.common.errors import LaunchError
from profiling.common.settings import MODES, OPTIMIZERS, Settings, shape
from profiling.spans import recording
from profiling.training.training import ZERO_GRAD, Training
from tests.made.runs.recorded import Recorded


def settings(**changes: object) -> Settings:
    plain = {"size": "tiny", "config": shape("tiny", num_layers=1), "batch": 2, "context": 8}
    return Settings(**{**plain, "device": "cpu", **changes})  # type: ignore[arg-type]


def weights(training: Training) -> list[Tensor]:
    return [each.detach().clone() for each in training.model.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def without_gradients(training: Training) -> bool:
    return all(each.grad is None for each in training.model.parameters())


@pytest.mark.parametrize(
    ("mode", "parts"),
    [
        ("forward", [names.FORWARD]),
        ("forward_backward", [names.FORWARD, names.BACKWARD, ZERO_GRAD]),
        ("train", [names.FORWARD, names.BACKWARD, names.OPTIMIZER]),
    ],
)
def test_every_mode_has_its_parts_and_leaves_no_gradients(mode: str, parts: list[str]) -> None:
    training = Training(settings(mode=mode))
    before = weights(training)
    assert list(training.parts()) == parts
    training.step()
    assert without_gradients(training)
    assert same(before, weights(training)) == (mode != "train")


def test_the_ranges_of_a_step_are_those_of_its_phases() -> None:
    for mode, phases in zip(MODES, (3, 2, 1), strict=True):
        training, recorder = Training(settings(mode=mode)), Recorded()
        with recording(recorder):
            training.step()
        expected = list(names.PHASES[:phases])
        assert [name for name in recorder.names() if name in names.PHASES] == expected
        assert recorder.balanced
        assert (names.LOSS in recorder.names()) == (mode != "forward")


def test_a_training_step_is_what_torch_does_by_hand() -> None:
    training = Training(settings(mode="train"), learning_rate=1e-2)
    twin = copy.deepcopy(training.model)
    adamw = torch.optim.AdamW(twin.parameters(), lr=1e-2)
    for _ in range(3):
        training.step()
        logits = twin(training.inputs)
        loss = functional.cross_entropy(logits.flatten(0, 1), training.targets.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        adamw.step()
        adamw.zero_grad()
    assert same([each.detach() for each in twin.parameters()], weights(training))


def test_targets_are_the_tokens_that_follow() -> None:
    training = Training(settings())
    assert training.inputs.shape == training.targets.shape == (2, 8)
    assert torch.equal(training.inputs[:, 1:], training.targets[:, :-1])
    assert 0 <= int(training.inputs.min()) <= int(training.inputs.max()) < 256


def test_the_seed_decides_weights_and_tokens() -> None:
    first, again, other = (Training(settings(seed=seed)) for seed in (1, 1, 2))
    assert same(weights(first), weights(again))
    assert torch.equal(first.inputs, again.inputs)
    assert not same(weights(first), weights(other))


@pytest.mark.parametrize("variant", OPTIMIZERS[1:])
def test_every_way_to_run_adamw_ends_at_the_same_weights(variant: str) -> None:
    plain = Training(settings(mode="train"))
    other = Training(settings(mode="train", optimizer=variant))
    for _ in range(3):
        plain.step()
        other.step()
    for a, b in zip(weights(plain), weights(other), strict=True):
        # The order of a few float32 operations differs; a step is 3e-4 long.
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_the_variant_is_the_one_torch_is_told() -> None:
    told = {}
    for variant in OPTIMIZERS:
        optimizer = Training(settings(mode="train", optimizer=variant)).optimizer
        assert optimizer is not None
        told[variant] = optimizer.defaults["foreach"], optimizer.defaults["fused"]
    assert told == {
        "default": (None, None),
        "fused": (None, True),
        "foreach": (True, None),
        "loop": (False, False),
    }


def test_the_optimizer_waits_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(settings(mode="train"), optimizer=False)
    assert training.optimizer is None
    assert training.make_optimizer(0.5).param_groups[0]["lr"] == 0.5
    assert training.optimizer is not None


def test_made_by_hand_it_clears_gradients_in_forward_backward_and_takes_no_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = Training(settings(mode="forward_backward"))
    optimizer, done = training.make_optimizer(), []
    zero_grad = optimizer.zero_grad

    def counted(*, set_to_none: bool) -> None:
        done.append(set_to_none)
        zero_grad(set_to_none=set_to_none)

    monkeypatch.setattr(optimizer, "zero_grad", counted)
    monkeypatch.setattr(optimizer, "step", lambda: pytest.fail("it takes no step"))
    before = weights(training)
    training.step()
    assert done == [True]
    assert without_gradients(training)
    assert same(before, weights(training))


def outputs(training: Training) -> dict[str, torch.dtype]:
    """Return the dtypes that modules hand on in one forward pass, seen by hooks."""
    found: dict[str, torch.dtype] = {}

    def watch(kind: str) -> object:
        def hook(_: nn.Module, __: object, result: Tensor) -> None:
            found.setdefault(kind, result.dtype)

        return hook

    kinds = {nn.Embedding: "embedding", RMSNorm: "norm", nn.Linear: "linear"}
    for module in training.model.modules():
        if type(module) in kinds:
            module.register_forward_hook(watch(kinds[type(module)]))  # type: ignore[arg-type]
    training.model.register_forward_hook(watch("logits"))  # type: ignore[arg-type]
    training.forward()
    return found


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_autocast_casts_products_and_nothing_that_is_kept(half: str) -> None:
    training, dtype = Training(settings(mode="train", autocast=half)), getattr(torch, half)
    full = torch.float32
    found = outputs(training)
    assert found == {"embedding": full, "norm": full, "linear": dtype, "logits": dtype}
    training.backward()
    assert {each.grad.dtype for each in training.model.parameters() if each.grad is not None} == {
        full
    }
    assert {each.dtype for each in training.model.parameters()} == {full}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_dtype_is_of_everything(dtype: str) -> None:
    training = Training(settings(mode="train", dtype=dtype))
    assert set(outputs(training).values()) == {getattr(torch, dtype)}
    training.backward()
    training.update()
    assert training.optimizer is not None
    state = [value for kept in training.optimizer.state.values() for value in kept.values()]
    assert {value.dtype for value in state if value.dim()} == {getattr(torch, dtype)}


@pytest.fixture
def scalers(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    made: list[object] = []
    original = torch.amp.GradScaler

    def make(device: str) -> object:
        made.append(original(device))
        return made[-1]

    monkeypatch.setattr(torch.amp, "GradScaler", make)
    return made


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", [{}, {"autocast": "bfloat16"}, {"dtype": "float16"}])
def test_a_loss_is_scaled_in_no_other_case(
    mode: str, how: dict[str, str], scalers: list[object]
) -> None:
    Training(settings(mode=mode, **how)).step()
    assert scalers == []


def test_float16_autocast_scales_the_loss_in_training_and_only_there(
    scalers: list[torch.amp.GradScaler],
) -> None:
    for mode in ("forward", "forward_backward"):
        Training(settings(mode=mode, autocast="float16")).step()
    assert scalers == []
    training = Training(settings(mode="train", autocast="float16"))
    (scaler,) = scalers
    before = weights(training)
    for _ in range(20):  # it may begin too high, and skip steps until it has come down
        training.step()
    assert scaler.get_scale() > 1
    assert not same(before, weights(training))
    assert without_gradients(training)


def test_the_optimizer_sees_gradients_that_are_not_scaled() -> None:
    seen: dict[str | None, list[Tensor]] = {}
    for autocast in (None, "float16"):
        training = Training(settings(mode="train", autocast=autocast))
        assert training.optimizer is not None

        def keep(optimizer: torch.optim.Optimizer, *_: object, autocast: str | None) -> None:
            (group,) = optimizer.param_groups
            seen.setdefault(autocast, [each.grad.clone() for each in group["params"]])

        training.optimizer.register_step_pre_hook(partial(keep, autocast=autocast))
        while autocast not in seen:  # a scale that is too high skips the step
            training.step()
    for plain, unscaled in zip(seen[None], seen["float16"], strict=True):
        # float16 has eleven bits; a scale that was left in would be a factor of thousands.
        torch.testing.assert_close(unscaled, plain, rtol=0.05, atol=0.05 * float(plain.abs().max()))


def test_a_forward_pass_alone_keeps_nothing_for_a_backward() -> None:
    training = Training(settings(mode="forward"))
    seen: list[bool] = []
    training.model.register_forward_hook(lambda *given: seen.append(given[2].requires_grad))
    training.infer()
    assert seen == [False]
    with pytest.raises(AssertionError, match="backward comes after forward"):
        training.backward()


def test_clearing_drops_a_loss_that_nobody_went_back_from() -> None:
    training = Training(settings(mode="forward_backward"))
    training.forward()
    training.clear()
    with pytest.raises(AssertionError, match="backward comes after forward"):
        training.backward()


def test_tf32_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LaunchError, match="TF32 is a mode of NVIDIA GPUs; leave it out on a CPU"):
        Training(settings(tf32=True))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(LaunchError, match="of 2020 or later"):
        Training(settings(tf32=True, device="cuda"))
    assert torch.get_float32_matmul_precision() == "highest"
