"""Cases that run on every rank of one spawn, and the toy models they share.

A case is a function without arguments that fails by an exception. All ranks run all of them, in
one order, since starting ranks takes seconds and a case milliseconds.
"""

import traceback
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model import ModelConfig
from model.parallel import process_group
from model.parallel.collectives import observing
from profiling.processes.notes import SendMessage

TINY = ModelConfig(d_model=16, d_ff=24, num_layers=2, num_heads=2, vocab_size=33)
MODULES = (
    "tests.made.parallel.data",
    "tests.made.parallel.optimizer",
    "tests.made.parallel.sharded",
    "tests.made.parallel.weights",
    "tests.made.parallel.ranges",
    "tests.made.parallel.counts",
)

Case = Callable[[], None]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Add a function to the cases."""
    CASES[function.__name__] = function
    return function


def names() -> list[str]:
    for module in MODULES:
        import_module(module)
    return list(CASES)


def run_all(arguments: dict[str, Any], _: SendMessage) -> dict[str, Any]:
    """Run every case on this rank, and say how each ended: "" is well."""
    wanted = names()
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    ended: dict[str, Any] = {}
    with process_group("gloo", timeout_s=arguments["timeout_s"]):
        for name in wanted:
            ended[name] = ""
            torch.manual_seed(0)
            try:
                CASES[name]()
            except Exception as error:  # it becomes the failure of one test
                frame = traceback.extract_tb(error.__traceback__)[-1]
                ended[name] = f"{type(error).__name__}: {error} ({frame.lineno}: {frame.line})"
            dist.barrier()
    return ended


class Toy(nn.Module):
    """Embedding, tied to the last layer; a frozen layer, a frozen number, a bias, odd shapes."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(21, 6)
        self.up = nn.Linear(6, 11)
        self.frozen = nn.Linear(11, 11, bias=False)
        self.frozen.weight.requires_grad_(False)
        self.norm = nn.LayerNorm(11)
        self.down = nn.Linear(11, 6, bias=False)
        self.head = nn.Linear(6, 21, bias=False)
        self.head.weight = self.embedding.weight
        self.fixed = nn.Parameter(torch.tensor([2.0, 2.0]), requires_grad=False)
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.up(self.embedding(tokens))
        x = self.norm(torch.relu(self.frozen(x)).to(self.norm.weight.dtype))
        logits: Tensor = self.head(self.down(x))
        return logits


class Branches(nn.Module):
    """Takes the way it is told: parameters of the other are not used."""

    def __init__(self) -> None:
        super().__init__()
        self.ways = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor, way: int) -> Tensor:
        result: Tensor = self.last(torch.relu(self.ways[way](x)))
        return result


def rank() -> int:
    return dist.get_rank()


def ranks() -> int:
    return dist.get_world_size()


def batch(step: int, size: int = 12, vocabulary: int = 21) -> tuple[Tensor, Tensor]:
    """Return token ids and targets, ``(size, 5)``: the same on every rank; 1 to 4 can share."""
    generator = torch.Generator().manual_seed(step)
    tokens = torch.randint(0, vocabulary, (2, size, 5), generator=generator)
    return tokens[0], tokens[1]


def own(tensor: Tensor) -> Tensor:
    """Return this rank's part of a batch."""
    return tensor.chunk(ranks())[rank()]


def loss_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    logits = model(inputs).float()
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


class Watcher:
    """Notes what was launched, and how often it was waited for."""

    def __init__(self) -> None:
        self.launches: list[tuple[str, int]] = []
        self.waits = 0

    def launched(self, name: str, moved_bytes: int, work: Any) -> None:
        assert work is not None
        self.launches.append((name, moved_bytes))

    def waiting(self) -> None:
        pass

    def waited(self) -> None:
        self.waits += 1

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.launches]


@contextmanager
def watched() -> Any:
    watcher = Watcher()
    with observing(watcher):
        yield watcher


def same_everywhere(tensor: Tensor | None) -> bool:
    """Return whether all ranks have the same values, to the bit."""
    assert tensor is not None
    gathered = [torch.empty_like(tensor) for _ in range(ranks())]
    dist.all_gather(gathered, tensor.detach().contiguous())
    return all(torch.equal(tensor, other) for other in gathered)


def assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Compare to the bit."""
    assert ours.keys() == theirs.keys(), (list(ours), list(theirs))
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), (name, (tensor - theirs[name]).abs().max())


def assert_close(
    ours: dict[str, Tensor], theirs: dict[str, Tensor], *, rtol: float, atol: float
) -> None:
    assert ours.keys() == theirs.keys(), (list(ours), list(theirs))
    for name, tensor in ours.items():
        close = torch.allclose(tensor, theirs[name], rtol=rtol, atol=atol)
        assert close, (name, (tensor - theirs[name]).abs().max())


def parameters(module: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in module.named_parameters()}


def gradients(module: nn.Module) -> dict[str, Tensor | None]:
    return {name: each.grad for name, each in module.named_parameters()}
