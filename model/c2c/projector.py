"""The projector of cache-to-cache communication (C2C, arXiv 2510.03215): one receiver layer's.

From the sharer's keys and values and the receiver's own it makes new ones of the receiver's shape.
Keys and values have branches of their own, built alike. What the gate lets through is added to the
receiver's cache, so a projector whose gates are closed, as a fresh one's are, changes nothing.

Each part states its cost, as `model.flops` does for the transformer's: matrix products agree with
torch's ``FlopCounterMode`` exactly, elementwise work is counted by the formula written at each
constant.

b batch, h head, n position, d head width, c channel (h * d), e hidden
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from model import flops
from model.flops import Cost
from profiling import names
from profiling.spans import span

GELU_FLOPS: Final = 5
"""FLOPs an element of x/2 * (1 + erf(x/sqrt 2)): quotient, erf, sum, two products."""

GELU_BACKWARD_FLOPS: Final = 11
"""FLOPs an element of g * (Phi(x) + x phi(x)): four for Phi, four for phi, two products, a sum."""

SIGMOID_FLOPS: Final = 3
"""FLOPs an element of 1 / (1 + exp(-x)): exponential, sum, quotient."""

SIGMOID_BACKWARD_FLOPS: Final = 3
"""FLOPs an element of g * s * (1 - s), s being kept."""

FUSE_FLOPS: Final = 3
"""FLOPs an element of target + gate * weight * feature."""


def copy_cost(elements: int, itemsize: int) -> Cost:
    """Cost of copying, or joining, ``elements`` numbers: no arithmetic, each read and written."""
    return Cost(0, 0, 2 * itemsize * elements, elements)


def biased_linear_cost(tokens: int, inputs: int, outputs: int, itemsize: int) -> Cost:
    """Cost of a linear layer with a bias: one sum an output more than `model.flops.linear`."""
    added = tokens * outputs
    bias = Cost(added, added, itemsize * outputs, added)
    return flops.together(flops.linear(tokens, inputs, outputs, itemsize), bias)


def residual_mlp_cost(tokens: int, width: int, inner: int, itemsize: int) -> Cost:
    """Cost of x + W2 gelu(W1 norm(x)): a norm, two products, `GELU_FLOPS`, a sum."""
    norm = flops.rmsnorm(tokens, width, itemsize)
    products = 2 * tokens * width * inner * 2
    hidden, out = tokens * inner, tokens * width
    moved = 2 * out + 2 * width * inner + width
    return Cost(
        norm.flops + products + GELU_FLOPS * hidden + out,
        norm.backward_flops + 2 * products + GELU_BACKWARD_FLOPS * hidden + out,
        itemsize * moved,
        out,
    )


def fuse_cost(tokens: int, heads: int, width: int, itemsize: int) -> Cost:
    """Cost of a sigmoid for each token and head, and `FUSE_FLOPS` for each number of the cache."""
    weights, elements = tokens * heads, tokens * heads * width
    return Cost(
        SIGMOID_FLOPS * weights + FUSE_FLOPS * elements,
        SIGMOID_BACKWARD_FLOPS * weights + FUSE_FLOPS * elements,
        itemsize * (3 * elements + weights),
        elements,
    )


KeyValue = tuple[Tensor, Tensor]
"""One layer's cached keys and values, each ``(b, h, n, d)``; keys are rotated already."""

NORM_EPS: Final = 1e-6


@dataclass(frozen=True, slots=True)
class CacheShape:
    """The shape of a model's cache: its layers, the key-value heads of each, and their width."""

    layers: int
    heads: int
    width: int

    @property
    def channels(self) -> int:
        """Numbers a token has in the keys of one layer."""
        return self.heads * self.width


@dataclass(frozen=True, slots=True)
class ProjectorShape:
    """The hyperparameters of a projector; the defaults are those of the published ones.

    Attributes:
        hidden: width between the layers.
        intermediate: width inside the residual MLPs.
        depth: layers of a branch: the shared MLP, ``depth`` - 2 of the features, the output.
        dropout: in training.

    Raises:
        ValueError: fewer than three layers, or a width below one.
    """

    hidden: int = 1024
    intermediate: int = 1024
    depth: int = 3
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.depth < 3 or self.hidden < 1 or self.intermediate < 1:
            raise ValueError(f"a projector needs three layers and widths above 0, not {self}")


class ResidualMLP(nn.Module):
    """x + W2 gelu(W1 norm(x)), without biases."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.up = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(b, n, e)`` to the same shape."""
        inner = nn.functional.gelu(self.up(self.norm(x)))
        result: Tensor = x + self.dropout(self.down(inner))
        return result


class Branch(nn.Module):
    """Half a projector: that of the keys, or that of the values."""

    def __init__(self, source: CacheShape, target: CacheShape, shape: ProjectorShape) -> None:
        super().__init__()
        self.shape = shape

        def mlp(inner: int) -> ResidualMLP:
            return ResidualMLP(shape.hidden, inner, shape.dropout)

        self.input = nn.Linear(source.channels + target.channels, shape.hidden)
        self.mlp = mlp(shape.intermediate)
        self.scalar_mlp = mlp(shape.hidden)
        self.scalar_head = nn.Linear(shape.hidden, target.heads)
        self.feature_mlps = nn.Sequential(
            *(mlp(shape.intermediate) for _ in range(shape.depth - 2))
        )
        self.feature_out = nn.Linear(shape.hidden, target.channels)
        self.gate_logit = nn.Parameter(torch.zeros(()))
        self.temperature = 1.0
        """Of the gate in training; lowering it makes the gate harder."""

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the receiver's new keys, or values, ``(b, h, n, d)``, with the sharer's cache."""
        b, h, n, d = target.shape
        tokens, size, shape = b * n, target.element_size(), self.shape
        inputs, hidden = self.input.in_features, shape.hidden

        def linear(inputs: int, outputs: int) -> Cost:
            return biased_linear_cost(tokens, inputs, outputs, size)

        def mlp(inner: int) -> Cost:
            return residual_mlp_cost(tokens, hidden, inner, size)

        def scalar() -> Cost:
            return flops.together(mlp(hidden), linear(hidden, h))

        def feature() -> Cost:
            mlps = [mlp(shape.intermediate)] * (shape.depth - 2)
            return flops.together(*mlps, linear(hidden, h * d))

        with span(names.PROJECTOR_CONCAT, cost=lambda: copy_cost(tokens * inputs, size)) as mark:
            x = mark.output(torch.cat((channels(source), channels(target)), dim=-1))  # (b, n, c)
        with span(names.PROJECTOR_INPUT, cost=lambda: linear(inputs, hidden)) as mark:
            x = mark.output(self.input(x))  # (b, n, e)
        with span(names.PROJECTOR_MLP, cost=lambda: mlp(shape.intermediate)) as mark:
            x = mark.output(self.mlp(x))
        with span(names.PROJECTOR_SCALAR, cost=scalar) as mark:
            weight = mark.output(self.scalar_head(self.scalar_mlp(x)))  # (b, n, h)
        with span(names.PROJECTOR_FEATURE, cost=feature) as mark:
            features = mark.output(self.feature_out(self.feature_mlps(x)))  # (b, n, c)
        with span(names.PROJECTOR_FUSE, cost=lambda: fuse_cost(tokens, h, d, size)) as mark:
            weight = torch.sigmoid(weight).transpose(1, 2).unsqueeze(-1)  # (b, h, n, 1)
            addition = features.view(b, n, h, d).transpose(1, 2)  # (b, h, n, d)
            return mark.output(self._add(target, weight * addition))

    def _add(self, target: Tensor, addition: Tensor) -> Tensor:
        """Add what the gate lets through: all or nothing, but in training a share.

        The gate stays on the device: asking for its value would make the host wait in each layer.
        """
        if not self.training:
            # Not a product with 0: an addition that overflowed would leave its mark.
            return torch.where(self.gate_logit > 0, target + addition, target)
        noise = -torch.empty_like(self.gate_logit).exponential_().log()  # Gumbel's distribution
        return target + torch.sigmoid((self.gate_logit + noise) / self.temperature) * addition


class Projector(nn.Module):
    """What one receiver layer, that caches ``target``, makes of the sharer's cache, ``source``."""

    def __init__(
        self, source: CacheShape, target: CacheShape, shape: ProjectorShape | None = None
    ) -> None:
        super().__init__()
        self.key = Branch(source, target, shape or ProjectorShape())
        self.value = Branch(source, target, shape or ProjectorShape())

    def forward(self, source: KeyValue, target: KeyValue) -> KeyValue:
        """Return the receiver's new keys and values, each ``(b, h_t, n, d_t)``."""
        return self.key(source[0], target[0]), self.value(source[1], target[1])

    def open_gates(self) -> None:
        """Let the projector act, whatever its weights: for random ones, whose gates are closed."""
        with torch.no_grad():
            for branch in (self.key, self.value):
                branch.gate_logit.fill_(1.0)

    @property
    def is_open(self) -> bool:
        """Whether either gate lets anything through in eval mode; it asks the device."""
        return any(bool(branch.gate_logit > 0) for branch in (self.key, self.value))


def channels(cache: Tensor) -> Tensor:
    """Return ``(b, h, n, d)`` as ``(b, n, c)``."""
    return cache.transpose(1, 2).flatten(2)


def projector_flops(
    source: CacheShape, target: CacheShape, shape: ProjectorShape, tokens: int
) -> int:
    """FLOPs of the matrix products of one projector, keys and values.

    4 * N * (in * e + 2 * (depth - 1) * e * i + 2 * e * e + e * (H + c)), with ``in`` the channels
    of both models, e hidden, i intermediate, H and c the receiver's heads and channels.

    >>> qwen = CacheShape(28, 8, 128)
    >>> 28 * projector_flops(CacheShape(24, 2, 64), qwen, ProjectorShape(), 1)
    955121664
    """
    e, i = shape.hidden, shape.intermediate
    inputs = source.channels + target.channels
    one = flops.linear(tokens, inputs, e, 1).flops
    mlps = (shape.depth - 1) * 2 * flops.linear(tokens, e, i, 1).flops
    mlps += 2 * flops.linear(tokens, e, e, 1).flops
    heads = flops.linear(tokens, e, target.heads + target.channels, 1).flops
    return 2 * (one + mlps + heads)
