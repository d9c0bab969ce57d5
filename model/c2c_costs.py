"""Analytic cost of the projector's parts, as `model.flops` has that of the transformer's.

Matrix products agree with torch's ``FlopCounterMode`` exactly; elementwise work is counted by the
formula written at each constant.
"""

from dataclasses import dataclass
from typing import Final

from model import flops
from model.flops import Cost

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


def together(*costs: Cost) -> Cost:
    """Cost of several pieces in one range; its elements are those of the last, the result."""
    return Cost(
        sum(cost.flops for cost in costs),
        sum(cost.backward_flops for cost in costs),
        sum(cost.bytes for cost in costs),
        costs[-1].elements,
    )


def copy(elements: int, itemsize: int) -> Cost:
    """Cost of copying, or joining, ``elements`` numbers: no arithmetic, each read and written."""
    return Cost(0, 0, 2 * itemsize * elements, elements)


def biased(tokens: int, inputs: int, outputs: int, itemsize: int) -> Cost:
    """Cost of a linear layer with a bias: one sum an output more than `model.flops.linear`."""
    product = flops.linear(tokens, inputs, outputs, itemsize)
    added = tokens * outputs
    return Cost(
        product.flops + added,
        product.backward_flops + added,
        product.bytes + itemsize * outputs,
        product.elements,
    )


def residual_mlp(tokens: int, width: int, inner: int, itemsize: int) -> Cost:
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


def fuse(tokens: int, heads: int, width: int, itemsize: int) -> Cost:
    """Cost of a sigmoid for each token and head, and `FUSE_FLOPS` for each number of the cache."""
    weights, elements = tokens * heads, tokens * heads * width
    return Cost(
        SIGMOID_FLOPS * weights + FUSE_FLOPS * elements,
        SIGMOID_BACKWARD_FLOPS * weights + FUSE_FLOPS * elements,
        itemsize * (3 * elements + weights),
        elements,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchCosts:
    """What each part of one branch (keys or values) of one projector launches.

    Attributes:
        tokens: in the cache.
        inputs: channels of sharer and receiver together.
        heads: of the receiver.
        outputs: channels of the receiver.
        hidden: width between the layers, ``intermediate`` inside the residual MLPs.
        depth: layers of the branch.
        itemsize: bytes of a number.
    """

    tokens: int
    inputs: int
    heads: int
    outputs: int
    hidden: int
    intermediate: int
    depth: int
    itemsize: int

    def concat(self) -> Cost:
        """Both caches, flattened and joined."""
        return copy(self.tokens * self.inputs, self.itemsize)

    def input(self) -> Cost:
        """The linear layer from both caches to the hidden width."""
        return biased(self.tokens, self.inputs, self.hidden, self.itemsize)

    def mlp(self) -> Cost:
        """The residual MLP that weights and features share."""
        return residual_mlp(self.tokens, self.hidden, self.intermediate, self.itemsize)

    def scalar(self) -> Cost:
        """A residual MLP, and one weight for each token and head."""
        inner = residual_mlp(self.tokens, self.hidden, self.hidden, self.itemsize)
        return together(inner, biased(self.tokens, self.hidden, self.heads, self.itemsize))

    def feature(self) -> Cost:
        """``depth`` - 2 residual MLPs, and the layer to the receiver's channels."""
        out = biased(self.tokens, self.hidden, self.outputs, self.itemsize)
        return together(*[self.mlp()] * (self.depth - 2), out)

    def fuse(self) -> Cost:
        """The weighted features, let through by the gate, added to the receiver's cache."""
        return fuse(self.tokens, self.heads, self.outputs // self.heads, self.itemsize)
