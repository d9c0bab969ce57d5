"""Our own model with its optimizer and a random batch: the parts of a step, one by one."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch
from torch import Tensor, nn

from model import TransformerLM
from model.flash.availability import FlashUnavailable, check_available
from model.flops import adamw
from model.transformer import next_token_loss
from profiling import names
from profiling.common.errors import LaunchError
from profiling.common.settings import (
    BLOCK,
    COMPILE_MODES,
    CUDA_GRAPHS,
    LEARNING_RATE,
    OPTIMIZERS,
    Settings,
)
from profiling.spans import span

Loss = Callable[[Tensor, Tensor], Tensor]
"""A loss of logits and targets."""

ZERO_GRAD: Final = "zero_grad"
"""The part of a step that drops the gradients where no optimizer's step does; no range."""

_OPTIMIZERS: Final[dict[str, dict[str, bool]]] = dict(
    zip(
        OPTIMIZERS,
        ({}, {"fused": True}, {"foreach": True}, {"foreach": False, "fused": False}),
        strict=True,
    )
)
"""How AdamW goes over the parameters; torch's default is foreach on a GPU, a loop on a CPU."""


class Training:
    """The model, its optimizer and a random batch, ready to step.

    Attributes:
        model: compiled, where the settings say so.
        optimizer: AdamW; None until it is made, which the mode ``train`` does at once.
        updated_numbers: how many numbers it updates: all parameters, unless ranks share the work.

    Args:
        settings: of the run.
        learning_rate: of AdamW, in the mode ``train``.
        optimizer: False leaves making AdamW to `make_optimizer`.

    Raises:
        LaunchError: the device cannot do what the settings say.
    """

    def __init__(
        self, settings: Settings, learning_rate: float = LEARNING_RATE, *, optimizer: bool = True
    ) -> None:
        check(settings)
        torch.manual_seed(settings.seed)
        if settings.tf32:
            torch.set_float32_matmul_precision("high")
        self.settings = settings
        self.device = torch.device(settings.device)
        with self.device:
            made = TransformerLM(settings.config, settings.attention, settings.checkpoint)
            made.to(getattr(torch, settings.dtype))
            shape = (settings.batch, settings.context + 1)
            tokens = torch.randint(0, settings.config.vocab_size, shape)
        self.inputs, self.targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
        self.model: nn.Module = made
        self._loss_of: Loss = next_token_loss
        if settings.compile:
            # The mask is cached for eager attention; what is compiled makes its own.
            warnings.filterwarnings("ignore", message="(?s).*lru_cache")
            # On a GPU the compiler finds fault with products in float32: the settings say which.
            warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
            self.model = compiled(made, settings)
            self._loss_of = compiled_loss(settings)
        self.optimizer: torch.optim.Optimizer | None = None
        self.updated_numbers = settings.config.parameter_count
        if optimizer and settings.mode == "train":
            self.make_optimizer(learning_rate)
        # Gradients of half precision underflow unless the loss is scaled (arXiv 1710.03740).
        scaled = settings.autocast == "float16" and settings.mode == "train"
        self._scaler = torch.amp.GradScaler(self.device.type) if scaled else None
        self._loss: Tensor | None = None

    def make_optimizer(self, learning_rate: float = LEARNING_RATE) -> torch.optim.Optimizer:
        """Make AdamW over all parameters; its state comes with the first step."""
        chosen: dict[str, Any] = _OPTIMIZERS[self.settings.optimizer]
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=learning_rate, **chosen)
        return self.optimizer

    @property
    def loss(self) -> Tensor | None:
        """The loss that `forward` left, until `backward` takes it."""
        return self._loss

    def parts(self) -> dict[str, Callable[[], None]]:
        """Return all that a step of this mode does, in order, by the names of `profiling.names`.

        The last leaves no gradients behind: ``optimizer``, or `ZERO_GRAD` where there is none.
        """
        if self.settings.mode == "forward":
            return {names.FORWARD: self.infer}
        parts = {names.FORWARD: self.forward, names.BACKWARD: self.backward}
        if self.settings.mode == "train":
            parts[names.OPTIMIZER] = self.update
        else:
            parts[ZERO_GRAD] = self.clear
        return parts

    def step(self) -> None:
        """Run all parts of a step once, and leave no gradients behind."""
        for part in self.parts().values():
            part()

    def infer(self) -> None:
        """Run the forward pass alone, for no gradient."""
        mark_step(self.settings)
        with span(names.FORWARD), torch.no_grad(), self._autocast():
            self.model(self.inputs)

    def forward(self) -> None:
        """Run the forward pass to the loss."""
        mark_step(self.settings)
        with span(names.FORWARD), self._autocast():
            self._loss = self._loss_of(self.model(self.inputs), self.targets)

    def backward(self) -> None:
        """Run the backward pass of the loss that `forward` left."""
        assert self._loss is not None, "backward comes after forward"
        loss, self._loss = self._loss, None
        with span(names.BACKWARD):
            scaled = self._scaler.scale(loss) if self._scaler else loss
            scaled.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def update(self) -> None:
        """Let the optimizer take its step, and drop the gradients."""
        assert self.optimizer is not None, "the mode has no optimizer"
        weight: Tensor = next(self.model.parameters())
        with span(names.OPTIMIZER, cost=lambda: adamw(self.updated_numbers, weight.itemsize)):
            if self._scaler:
                self._scaler.step(self.optimizer)
                self._scaler.update()
            else:
                self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def clear(self) -> None:
        """Drop the gradients, and a loss that nobody went back from."""
        self._loss = None
        owner = self.optimizer or self.model
        owner.zero_grad(set_to_none=True)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.settings.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self.settings.autocast))


def check(settings: Settings) -> None:
    """Refuse settings that the device cannot run.

    Raises:
        LaunchError: TF32, CUDA graphs or Triton's attention were asked for where there are none.
    """
    on_gpu = settings.device.startswith("cuda")
    if settings.tf32 and not on_gpu:
        raise LaunchError("TF32 is a mode of NVIDIA GPUs; leave it out on a CPU")
    if settings.tf32 and torch.cuda.get_device_capability(settings.device) < (8, 0):
        raise LaunchError("TF32 needs an NVIDIA GPU of 2020 or later (Ampere); leave it out")
    if settings.compile_mode == CUDA_GRAPHS and not on_gpu:
        raise LaunchError(f"--compile-mode {CUDA_GRAPHS} is of NVIDIA GPUs; leave it out on a CPU")
    if settings.attention == "flash":
        try:
            check_available(torch.device(settings.device))
        except FlashUnavailable as error:
            raise LaunchError(str(error)) from None


def compiled(made: TransformerLM, settings: Settings) -> nn.Module:
    """Return a model that compiles itself with its first forward pass.

    As one graph, the compiler fuses across blocks, and its work grows with their number. Block by
    block, all blocks share the code of the first ("regional compilation" in PyTorch's tutorials),
    and work is fused only inside them. In both the loss is compiled by itself.

    Args:
        made: on its device; block by block it becomes the compiled model.
        settings: of the run.
    """
    # Made while the compiler traces, the tables would be made by every step of every block, and
    # with the second step, which finds them there, everything would be compiled again.
    dtype = getattr(torch, settings.autocast or settings.dtype)
    made.prepare(settings.context, torch.empty(0, dtype=dtype, device=settings.device))
    if settings.compile_scope != BLOCK:
        return torch.compile(made, **compile_options(settings))  # type: ignore[return-value]
    for part in (*made.blocks, made.final_norm):
        part.compile(**compile_options(settings))
    return made


def compiled_loss(settings: Settings) -> Loss:
    """Return the loss of the model's logits, which compiles itself with its first call."""
    loss: Loss = torch.compile(next_token_loss, **compile_options(settings))
    return loss


def compile_options(settings: Settings) -> dict[str, Any]:
    """Return the arguments of torch.compile."""
    default = settings.compile_mode == COMPILE_MODES[0]
    return {} if default else {"mode": settings.compile_mode}


def mark_step(settings: Settings) -> None:
    """Tell CUDA graphs that a step begins, and the results of the last are needed no more.

    By themselves they take every compiled part for a step that runs without gradients.
    """
    if settings.compile and settings.compile_mode == CUDA_GRAPHS:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]  # torch's
