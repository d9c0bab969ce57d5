"""FLOPs and least bytes of what multiplies matrices: products, convolutions, fused attention.

A multiplication and an addition count as two FLOPs; the bias of a product, and all that is
elementwise, counts none. So the counts are those of ``torch.utils.flop_counter`` (PyTorch 2.13,
``FlopCounterMode``), with three differences: attention that skips its masked half counts the pairs
of query and key that it computes, as ``model/flops.py`` does (FlashAttention-2, arXiv 2307.08691);
attention over sequences packed one after another, whose lengths no shape tells, counts sequences of
the greatest length that was given; and products that torch does not count have their formula too:
those with a vector, in place, of integers, of recurrent layers. Bytes: operands read once, results
written once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from math import prod
from typing import Final

from analysis.knowledge.operands import SIZE_OF_CODE, TIMES, Operands, Shape


@dataclass(frozen=True)
class Cost:
    """What a call costs at the least.

    Attributes:
        flops: None where they are not known.
        bytes: that must move; None where the type of the numbers is not known.
        shapes: what it was called with, as text; "" for the shapes of its operands.
    """

    flops: int | None
    bytes: int | None
    shapes: str = ""


Formula = Callable[[Operands], Cost | None]


def moved(*parts: tuple[int, int | None]) -> int | None:
    """Return the bytes of some numbers, each part so many of so many bytes; None if one lacks."""
    if any(size is None for _, size in parts):
        return None
    return sum(count * (size or 0) for count, size in parts)


def text(*sizes: int) -> str:
    """Return sizes as text.

    >>> text(3072, 16384, 768)
    '3072×16384×768'
    """
    return TIMES.join(map(str, sizes))


def product(left: int, right: int, added: int | None = None, *, summed: bool = False) -> Formula:
    """Return the formula of a product of matrices, or of batches of them: 2*b*m*k*n.

    Args:
        left: the position of the left factor among the operands.
        right: that of the right one.
        added: that of a matrix or bias that is added, if any.
        summed: whether the result is one matrix, the sum of the batch's.
    """

    def cost(of: Operands) -> Cost | None:
        a, b = of.shape(left), of.shape(right)
        if len(a) not in (2, 3) or len(a) != len(b) or a[-1] != b[-2] or a[:-2] != b[:-2]:
            return None
        *batch, m, k = a
        count, n = prod(batch), b[-1]
        size = of.size_at(left)
        more = [] if added is None else [(prod(of.shape(added)), of.size_at(added))]
        result = m * n if summed else count * m * n
        size_moved = moved(
            (count * m * k, size), (count * k * n, of.size_at(right)), (result, size), *more
        )
        return Cost(2 * count * m * k * n, size_moved, text(*batch, m, k, n))

    return cost


def products_of_lists(of: Operands) -> Cost | None:
    """Cost of the products of two lists of matrices, one by one.

    Under emit_nvtx the matrices of both lists stand one after another.
    """
    lists = of.lists
    if len(lists) < 2:
        half = len(of.tensors) // 2
        lists = [of.tensors[:half], of.tensors[half:]]
    if len(lists[0]) != len(lists[1]):
        return None
    pairs = [
        Operands((a.shape, b.shape), itemsize=a.itemsize) for a, b in zip(*lists, strict=False)
    ]
    costs = [each for each in map(product(0, 1), pairs) if each is not None]
    if not costs or len(costs) < len(pairs):
        return None
    size_moved = moved(*((1, each.bytes) for each in costs))
    return Cost(sum(each.flops or 0 for each in costs), size_moved)


def scaled_product(of: Operands) -> Cost | None:
    """Cost of ``_scaled_mm``: the result's type is its own (argument 6)."""
    made = product(0, 1)(of)
    if made is None or len(of.shape(0)) != 2:
        return None
    (m, k), n = of.shape(0), of.shape(1)[1]
    size = SIZE_OF_CODE.get(of.whole(6) or -1, of.size_at(8) if of.is_tensor(8) else 2)
    size_moved = moved((m * k, of.size_at(0)), (k * n, of.size_at(1)), (m * n, size))
    return Cost(made.flops, size_moved, made.shapes)


def grouped_product(of: Operands, offsets: int) -> Cost | None:
    """Cost of ``_grouped_mm``: groups of rows by a matrix each, or groups of inner dimensions.

    Args:
        of: what it was called with.
        offsets: the position of where each group ends.
    """
    a, b = of.shape(0), of.shape(1)
    if len(a) == 3 and len(b) == 3:
        return product(0, 1)(of)
    if not 2 <= len(a) <= 3 or not 2 <= len(b) <= 3 or a[-1] != b[-2]:
        return None
    groups = max(prod(a[:-2]), prod(b[:-2]))
    m, k, n = a[-2], a[-1], b[-1]
    result = m * n if len(a) != len(b) else m * n * max(*of.shape(offsets)[:1], 1, 1)
    size = of.size_at(0)
    size_moved = moved((prod(a), size), (prod(b), of.size_at(1)), (result, size))
    return Cost(2 * m * k * n, size_moved, text(groups, m, k, n) if groups > 1 else text(m, k, n))


def linear(of: Operands) -> Cost | None:
    """Cost of ``x`` times a weight of ``(outputs, inputs)``: 2 * numbers of x * outputs."""
    x, w = of.shape(0), of.shape(1)
    if not x or len(w) != 2 or x[-1] != w[1]:
        return None
    rows = prod(x[:-1])
    size = of.size_at(0)
    bias = prod(of.shape(2)) if of.is_tensor(2) else 0
    size_moved = moved((prod(x), size), (prod(w), of.size_at(1)), (bias, size), (rows * w[0], size))
    return Cost(2 * rows * w[0] * w[1], size_moved, text(rows, w[1], w[0]))


def matmul(of: Operands) -> Cost | None:
    """Cost of a product of tensors of any dimensions, batches broadcast."""
    a, b = of.shape(0), of.shape(1)
    if not a or not b:
        return None
    left = a if len(a) > 1 else (1, *a)
    right = b if len(b) > 1 else (*b, 1)
    batch = broadcast(left[:-2], right[:-2])
    if batch is None or left[-1] != right[-2]:
        return None
    m, k, n = left[-2], left[-1], right[-1]
    size = of.size_at(0)
    size_moved = moved((prod(a), size), (prod(b), of.size_at(1)), (prod(batch) * m * n, size))
    return Cost(2 * prod(batch) * m * k * n, size_moved, text(*batch, m, k, n))


def vector_product(matrix: int, vector: int) -> Formula:
    """Return the formula of a matrix, or a vector, times a vector: 2 * numbers of the first."""

    def cost(of: Operands) -> Cost | None:
        a, b = of.shape(matrix), of.shape(vector)
        if len(a) not in (1, 2) or len(b) != 1 or a[-1] != b[0]:
            return None
        rows = prod(a[:-1])
        size = of.size_at(matrix)
        size_moved = moved((prod(a), size), (b[0], of.size_at(vector)), (rows, size))
        return Cost(2 * prod(a), size_moved, text(*a, 1))

    return cost


def broadcast(*shapes: Shape) -> Shape | None:
    """Return the shape that several broadcast to, None where they do not.

    >>> broadcast((4, 1, 8), (3, 1)), broadcast((2,), (3,))
    ((4, 3, 8), None)
    """
    width = max(map(len, shapes), default=0)
    result = []
    for sizes in zip(*((1,) * (width - len(shape)) + shape for shape in shapes), strict=True):
        others = {size for size in sizes if size != 1}
        if len(others) > 1:
            return None
        result.append(others.pop() if others else 1)
    return tuple(result)


@dataclass(frozen=True)
class Convolution:
    """The cost of a convolution, or of a transposed one.

    For each point of the result (of the input, where transposed) and each point of the filter, the
    channels' products. The result's shape follows from stride, padding and dilation, without whose
    values nothing is known.

    Attributes:
        bias: the position of the bias, None where there is none; input and weight come first.
        stride: that of the stride.
        padding: likewise.
        dilation: likewise.
        groups: likewise.
        transposed: of an operator that is told, that of whether it is transposed; else whether.
        added: that of what is added to the result of a transposed one.
    """

    bias: int | None = 2
    stride: int = 3
    padding: int = 4
    dilation: int = 5
    groups: int = 8
    transposed: int | bool = 6
    added: int = 7

    def __call__(self, of: Operands) -> Cost | None:
        """Return the cost."""
        x, w = of.shape(0), of.shape(1)
        out = self.result(of)
        if out is None:
            return None
        size = of.size_at(0)
        has_bias = self.bias is not None and of.is_tensor(self.bias)
        bias = prod(of.shape(self.bias or 0)) if has_bias else 0
        size_moved = moved((prod(x) + bias + prod(out), size), (prod(w), of.size_at(1)))
        flops = convolved(x, w, out, self._is_transposed(of))
        return Cost(flops, size_moved, f"{text(*x)}, {text(*w)}")

    def _is_transposed(self, of: Operands) -> bool:
        given = self.transposed
        return given if isinstance(given, bool) else of.truth(given)

    def result(self, of: Operands) -> Shape | None:
        """Return the shape of a convolution's result, None where its arguments do not tell."""
        x, w = of.shape(0), of.shape(1)
        stride, padding, dilation = map(of.numbers, (self.stride, self.padding, self.dilation))
        groups, transposed = of.whole(self.groups), self._is_transposed(of)
        more = of.numbers(self.added) if transposed else None
        if not stride or padding is None or not dilation or groups is None or len(x) < 3:
            return None
        points = len(x) - 2
        lists = (stride, padding, dilation, more or [0])
        if len(w) != len(x) or not all(len(part) in (1, points) for part in lists):
            return None
        steps, edges, gaps, added = ((part * points)[:points] for part in lists)
        out = []
        for place in range(points):
            reach = gaps[place] * (w[place + 2] - 1)
            if transposed:
                out.append(
                    (x[place + 2] - 1) * steps[place] - 2 * edges[place] + reach + added[place] + 1
                )
            elif steps[place] > 0:
                out.append((x[place + 2] + 2 * edges[place] - reach - 1) // steps[place] + 1)
        channels = w[1] * groups if transposed else w[0]
        if len(out) != points or min(out) < 0:
            return None
        return (x[0], channels, *out)


def convolved(x: Shape, w: Shape, out: Shape, transposed: bool) -> int:
    """Return the FLOPs of a convolution by its shapes."""
    return 2 * prod((x if transposed else out)[2:]) * prod(w[2:]) * x[0] * w[0] * w[1]


def recurrent(weights: int, *, layers: bool, backward: bool = False) -> Formula:
    """Return the formula of a recurrent network: at every step each matrix times a vector.

    The backward pass has two such products, for the gradients of inputs and of weights.

    Args:
        weights: the position of the weights, the input being the first argument.
        layers: whether they are a list, of all layers; else they are two matrices, of one.
        backward: whether it is the backward pass.
    """

    def cost(of: Operands) -> Cost | None:
        x = of.shape(0)
        listed = of.of_list(weights)
        if not listed:  # one after another: matrices and their biases
            places = range(weights, len(of.shapes) if layers else weights + 2)
            rows = (of.tensor(place) for place in takewhile(of.is_tensor, places))
            listed = list(takewhile(lambda each: len(each.shape) <= 2, rows))
        matrices = [each for each in listed if len(each.shape) == 2]
        if len(x) < 2 or not matrices or x[-1] != matrices[0].shape[1]:
            return None
        numbers = sum(each.elements for each in matrices)
        directions = 2 if backward else 1
        size_moved = moved((directions * (numbers + prod(x)), of.size_at(0)))
        shapes = f"{text(*x)}, {text(*matrices[0].shape)}"
        return Cost(2 * directions * prod(x[:-1]) * numbers, size_moved, shapes)

    return cost


def convolution_gradients(transposed: int, wanted: int) -> Formula:
    """Return the formula of the gradients of a convolution's input and weight.

    As torch counts it, the weight's gradient takes all pairs of channels, of grouped ones too.

    Args:
        transposed: the position of whether the convolution is transposed.
        wanted: that of which gradients are asked for: the input's, the weight's, the bias's.
    """

    def cost(of: Operands) -> Cost | None:
        grad, x, w = (of.shape(place) for place in range(3))
        mask = of.truths(wanted)
        if mask is None or len(mask) < 2 or len(x) < 3 or not len(grad) == len(x) == len(w):
            return None
        is_transposed = of.truth(transposed)
        flops, numbers = 0, prod(grad)
        if mask[0]:
            flops += convolved(grad, w, x, not is_transposed)
            numbers += prod(w) + prod(x)
        if mask[1]:
            first, second = (grad, x) if is_transposed else (x, grad)
            flops += convolved(turned(first), turned(second), turned(w), False)
            numbers += prod(x) + prod(w)
        return Cost(flops, moved((numbers, of.size_at(1))), f"{text(*x)}, {text(*w)}")

    return cost


def turned(shape: Shape) -> Shape:
    """Return a shape with its first two dimensions exchanged."""
    return (shape[1], shape[0], *shape[2:])


@dataclass(frozen=True)
class Attention:
    """Where the arguments of a kind of fused attention stand.

    Attributes:
        q: the position of the queries; keys and values follow.
        causal: that of whether keys after the query are masked.
        mask: in place of it, that of the kind of mask: 1 and 2 are causal.
        heads_first: whether heads come before positions: ``(B, H, T, D)``, else ``(B, T, H, D)``.
        longest: the position of the greatest length of packed queries, that of keys following.
        window: that of how many keys to the left are seen, that of those to the right following.
        bottom: whether the last query is aligned with the last key, not the first with the first.
        backward: whether it is the backward pass.
        skips: whether what is masked is not computed at all.
    """

    q: int = 0
    causal: int | None = None
    mask: int | None = None
    heads_first: bool = True
    longest: int | None = None
    window: int | None = None
    bottom: bool = False
    backward: bool = False
    skips: bool = True

    def __call__(self, of: Operands) -> Cost | None:
        """Return the cost: two products of all pairs forward, five backward."""
        shapes = [of.shape(self.q + place) for place in range(3)]
        if not all(len(shape) in (3, 4) for shape in shapes) or len(set(map(len, shapes))) > 1:
            return None
        q, k, v = (self._with_batch(shape) for shape in shapes)
        batch, heads, queries, width = q
        keys, value_width = k[2], v[3]
        pairs = sum(self._pairs(of, *lengths) for lengths in self._lengths(of, queries, keys))
        products = (3 * width + 2 * value_width) if self.backward else (width + value_width)
        size = of.size_at(self.q)
        out = batch * heads * queries * value_width
        inputs = prod(q) + prod(k) + prod(v)
        numbers = 2 * inputs + 2 * out if self.backward else inputs + out
        size_moved = moved((numbers, size), (batch * heads * queries, 4))
        flops = 2 * batch * heads * pairs * products
        return Cost(flops, size_moved, f"{text(*q)}, {text(*k)}")

    def _with_batch(self, shape: Shape) -> Shape:
        """Return a shape as batch, heads, positions, width; packed sequences are one batch."""
        if len(shape) == 3:
            positions, heads, width = (
                shape if not self.heads_first else (shape[1], shape[0], shape[2])
            )
            return (1, heads, positions, width)
        return shape if self.heads_first else (shape[0], shape[2], shape[1], shape[3])

    def _lengths(self, of: Operands, queries: int, keys: int) -> Sequence[tuple[int, int]]:
        """Return queries and keys of each sequence; of packed ones, if as long as they can be."""
        shape = of.shape(self.q)
        packed = (len(shape) == 3 or shape[0] == 1) and self.longest is not None
        most = of.whole(self.longest) if packed and self.longest is not None else None
        if not most or not 0 < most < queries or queries != keys:
            return [(queries, keys)]
        whole, rest = divmod(queries, most)
        return [(most, most)] * min(whole, 1 << 16) + ([(rest, rest)] if rest else [])

    def _pairs(self, of: Operands, queries: int, keys: int) -> int:
        """Return how many pairs of query and key are computed."""
        left = of.whole(self.window) if self.window is not None else None
        right = of.whole(self.window + 1) if self.window is not None else None
        causal = self.causal is not None and of.truth(self.causal)
        causal = causal or (self.mask is not None and of.whole(self.mask) in (1, 2))
        if not self.skips:
            return queries * keys
        after = 0 if causal else (keys if right is None or right < 0 else right)
        before = keys if left is None or left < 0 else left
        shift = keys - queries if self.bottom else 0
        return seen(queries, keys, shift, before, after)


def seen(queries: int, keys: int, shift: int, before: int, after: int) -> int:
    """Return how many pairs there are of a query and a key that it sees.

    Query ``i`` stands at key ``i + shift`` and sees so many keys before and after that one.

    >>> seen(4, 4, 0, 4, 0), seen(4, 4, 0, 4, 4), seen(4, 4, 0, 1, 0), seen(1, 5, 4, 5, 0)
    (10, 16, 7, 5)
    """
    last = _capped(queries, shift + after + 1, keys)
    first = _capped(queries, shift - before, keys)
    return last - first


def _capped(count: int, start: int, most: int) -> int:
    """Return the sum of ``start + i`` for ``i`` below ``count``, each within 0 and ``most``."""
    low = min(max(0, -start), count)
    high = min(max(low, most - start), count)
    rising = (high - low) * (2 * start + low + high - 1) // 2
    return rising + (count - high) * most


SDPA: Final = "aten::_scaled_dot_product_"

ATTENTIONS: Final[dict[str, Attention]] = {
    f"{SDPA}flash_attention": Attention(causal=4),
    f"{SDPA}flash_attention_backward": Attention(1, causal=11, backward=True),
    f"{SDPA}flash_attention_for_cpu": Attention(causal=4),
    f"{SDPA}flash_attention_for_cpu_backward": Attention(1, causal=7, backward=True),
    f"{SDPA}efficient_attention": Attention(causal=6),
    f"{SDPA}efficient_attention_backward": Attention(1, causal=11, backward=True),
    f"{SDPA}cudnn_attention": Attention(causal=6),
    f"{SDPA}cudnn_attention_backward": Attention(1, causal=14, backward=True),
    f"{SDPA}fused_attention_overrideable": Attention(causal=5),
    f"{SDPA}fused_attention_overrideable_backward": Attention(1, causal=13, backward=True),
    f"{SDPA}attention_math": Attention(skips=False),
    "aten::scaled_dot_product_attention": Attention(causal=5),
    "aten::_flash_attention_forward": Attention(causal=8, heads_first=False, longest=5, window=11),
    "aten::_flash_attention_backward": Attention(
        1, causal=11, heads_first=False, longest=8, window=15, backward=True
    ),
    "aten::_efficient_attention_forward": Attention(mask=9, heads_first=False, longest=6),
    "aten::_efficient_attention_backward": Attention(
        1, mask=14, heads_first=False, longest=8, backward=True
    ),
    "aten::_cudnn_attention_forward": Attention(causal=10),
    "aten::_cudnn_attention_backward": Attention(1, causal=14, backward=True),
    # Tri Dao's packages: their operators for torch, and FlashAttention-3's own C++ operators.
    "flash_attn::_flash_attn_forward": Attention(
        causal=5, heads_first=False, window=6, bottom=True
    ),
    "flash_attn::_flash_attn_backward": Attention(
        1, causal=11, heads_first=False, window=12, bottom=True, backward=True
    ),
    "flash_attn::_flash_attn_varlen_forward": Attention(
        causal=9, heads_first=False, longest=5, window=10, bottom=True
    ),
    "flash_attn::_flash_attn_varlen_backward": Attention(
        1, causal=15, heads_first=False, longest=11, window=16, bottom=True, backward=True
    ),
    "flash_attn_3::fwd": Attention(
        causal=24, heads_first=False, longest=12, window=25, bottom=True
    ),
    "flash_attn_3::bwd": Attention(
        1, causal=16, heads_first=False, longest=13, window=17, bottom=True, backward=True
    ),
    "flash_attn_3::_flash_attn_forward": Attention(
        causal=24, heads_first=False, longest=12, window=25, bottom=True
    ),
    "flash_attn_3::_flash_attn_backward": Attention(
        1, causal=13, heads_first=False, longest=10, window=14, bottom=True, backward=True
    ),
}
"""Fused attention, by operator, with the positions of its arguments in PyTorch's and the
FlashAttention packages' declarations of it."""

PRODUCTS: Final[dict[str, Formula]] = {
    "aten::mm": product(0, 1),
    "aten::bmm": product(0, 1),
    "aten::addmm": product(1, 2, added=0),
    "aten::addmm_": product(1, 2, added=0),
    "aten::_addmm_activation": product(1, 2, added=0),
    "aten::baddbmm": product(1, 2, added=0),
    "aten::baddbmm_": product(1, 2, added=0),
    "aten::addbmm": product(1, 2, added=0, summed=True),
    "aten::addbmm_": product(1, 2, added=0, summed=True),
    "aten::_foreach_mm": products_of_lists,
    "aten::_int_mm": product(0, 1),
    "aten::_scaled_mm": scaled_product,
    "aten::_grouped_mm": partial(grouped_product, offsets=2),
    "aten::_scaled_grouped_mm": partial(grouped_product, offsets=4),
    "aten::mv": vector_product(0, 1),
    "aten::addmv": vector_product(1, 2),
    "aten::addmv_": vector_product(1, 2),
    "aten::dot": vector_product(0, 1),
    "aten::vdot": vector_product(0, 1),
    "aten::linear": linear,
    "aten::mkldnn_linear": linear,
    "aten::mkl_linear": linear,
    "aten::_mkl_linear": linear,
    "aten::matmul": matmul,
    "aten::convolution": Convolution(),
    "aten::_convolution": Convolution(),
    "aten::convolution_overrideable": Convolution(),
    "aten::mkldnn_convolution": Convolution(
        stride=4, padding=3, dilation=5, groups=6, transposed=False
    ),
    "aten::cudnn_convolution": Convolution(
        None, stride=3, padding=2, dilation=4, groups=5, transposed=False
    ),
    "aten::cudnn_convolution_transpose": Convolution(
        None, stride=4, padding=2, dilation=5, groups=6, transposed=True, added=3
    ),
    "aten::cudnn_convolution_relu": Convolution(groups=6, transposed=False),
    "aten::cudnn_convolution_add_relu": Convolution(
        4, stride=5, padding=6, dilation=7, groups=8, transposed=False
    ),
    "aten::convolution_backward": convolution_gradients(transposed=7, wanted=10),
    "aten::convolution_backward_overrideable": convolution_gradients(transposed=6, wanted=9),
    "aten::_cudnn_rnn": recurrent(1, layers=True),
    "aten::_cudnn_rnn_backward": recurrent(1, layers=True, backward=True),
    "aten::miopen_rnn": recurrent(1, layers=True),
    "aten::miopen_rnn_backward": recurrent(1, layers=True, backward=True),
    "aten::mkldnn_rnn_layer": recurrent(1, layers=False),
    "aten::mkldnn_rnn_layer_backward": recurrent(1, layers=False, backward=True),
    **ATTENTIONS,
}
"""The formula of each operator that multiplies matrices."""
