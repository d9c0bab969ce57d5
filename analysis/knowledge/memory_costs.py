"""FLOPs and least bytes of what the memory's bandwidth bounds: all operators that multiply nothing.

Elementwise operators count one FLOP for each number of their result, reductions one for each number
they read, copies and fills none; softmax, normalization and optimizers count what stands at their
constants. ``FlopCounterMode`` counts all of these as nothing. Bytes: operands read once, results
written once, an operand that is broadcast at its own size; of a look-up the rows it takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from math import prod
from typing import Final

from analysis.knowledge.operands import SIZE_OF_CODE, Operands, Shape, Tensor
from analysis.knowledge.product_costs import Cost, Formula, broadcast, moved

SOFTMAX_BACKWARD_FLOPS: Final = 4
"""An element of dS = P * (dP - rowsum(dP * P)): two products, a sum, a difference."""

LAYER_NORM_FLOPS: Final = 7
"""An element: mean, difference, square, sum, scale, weight, bias (arXiv 1607.06450)."""

LAYER_NORM_BACKWARD_FLOPS: Final = 14
"""An element: the gradients of x (nine, with the normalized x), weight (three), bias (two)."""

RMS_NORM_FLOPS: Final = 4
"""An element: square, sum, scale, weight (arXiv 1910.07467)."""

RMS_NORM_BACKWARD_FLOPS: Final = 9
"""An element: the gradients of x (six) and of the weight (three)."""

ADAMW_FLOPS: Final = 14
"""A parameter: decay 1, moments 3 + 4, step 6 (arXiv 1711.05101, algorithm 2)."""

SGD_FLOPS: Final = 6
"""A parameter: decay 2, momentum 2, step 2."""


def total(tensors: Iterable[Tensor]) -> int | None:
    """Return the bytes of some tensors; None if the size of one's numbers is not known."""
    return moved(*((each.elements, each.itemsize) for each in tensors))


def widest(tensors: Iterable[Tensor]) -> int | None:
    """Return the bytes of an element of the result of tensors together: those of the widest.

    What has no dimensions does not widen what has.
    """
    known = list(tensors)
    shaped = [each.itemsize for each in known if each.shape] or [each.itemsize for each in known]
    return None if None in shaped else max((size or 0 for size in shaped), default=0)


def elementwise(
    operands: int, *, in_place: bool = False, flops: int = 1, itemsize: int | None = None
) -> Formula:
    """Return the formula of an operator on one element of each operand, broadcast.

    Args:
        operands: how many arguments are operands; they come first.
        in_place: whether the result is the first of them.
        flops: for each number of the result.
        itemsize: bytes of a number of the result; None for those of the widest operand.
    """

    def cost(of: Operands) -> Cost | None:
        tensors = [of.tensor(place) for place in range(operands) if of.is_tensor(place)]
        if not tensors:
            return Cost(flops, moved((1, of.itemsize))) if _is_scalar(of) else None
        shape = broadcast(*(each.shape for each in tensors))
        if shape is None:
            return None
        result = tensors[0] if in_place else Tensor(shape, itemsize or widest(tensors))
        return Cost(flops * result.elements, total([*tensors, result]))

    return cost


def _is_scalar(of: Operands) -> bool:
    """Return whether the first argument may be a tensor without dimensions: types are not known."""
    return bool(of.shapes) and not of.types and of.shapes[0] == ()


def reduction(of: Operands) -> Cost | None:
    """Cost of a sum or the like: its result, which is smaller, counts where its shape is known."""
    if not of.is_tensor(0):
        return None
    x = of.tensor(0)
    if of.is_tensor(1) and of.shape(1):  # `max` and the like of two tensors
        return elementwise(2)(of)
    return Cost(x.elements, moved((x.elements + _kept(of, x.shape), x.itemsize)))


def _kept(of: Operands, shape: Shape) -> int:
    """Return how many numbers a reduction leaves; 0 where it is not told."""
    dims = of.numbers(1)
    one = of.whole(1)
    reduced = dims if dims is not None else ([one] if one is not None else None)
    if reduced is None:
        return 0
    if not reduced:
        return 1
    gone = {place % len(shape) for place in reduced if shape}
    return prod(size for place, size in enumerate(shape) if place not in gone)


def each(flops: int, read: int = 1, written: int = 1, of_argument: int = 0) -> Formula:
    """Return the formula of so many FLOPs, reads and writes for each number of an argument."""

    def cost(of: Operands) -> Cost | None:
        x = of.tensor(of_argument)
        if not of.is_tensor(of_argument):
            return None
        return Cost(flops * x.elements, moved(((read + written) * x.elements, x.itemsize)))

    return cost


def softmax(of: Operands, flops: int) -> Cost | None:
    """Cost of a softmax: so many FLOPs for each element."""
    return each(flops)(of)


def normalization(flops: int, passes: int, of_argument: int = 0) -> Formula:
    """Return the formula of a norm: so many FLOPs and passes over the numbers, and parameters.

    Args:
        flops: for each number.
        passes: how often as many numbers are read or written.
        of_argument: the position of what is normalized.
    """

    def cost(of: Operands) -> Cost | None:
        x = of.tensor(of_argument)
        if not of.is_tensor(of_argument):
            return None
        rest = [each for each in of.tensors if each.shape != x.shape]
        return Cost(
            flops * x.elements,
            moved((passes * x.elements, x.itemsize), *((t.elements, t.itemsize) for t in rest)),
        )

    return cost


def look_up(table: int, places: int) -> Formula:
    """Return the formula of rows taken from a table: they are read and written."""

    def cost(of: Operands) -> Cost | None:
        rows = of.tensor(table)
        index = indices(of, places)
        if not of.is_tensor(table) or index is None:
            return None
        count, along = index
        left = [size for place, size in enumerate(rows.shape) if place not in along]
        return Cost(0, moved((2 * count * prod(left), rows.itemsize), (count, 8)))

    return cost


def indices(of: Operands, place: int) -> tuple[int, list[int]] | None:
    """Return how many indices an argument holds, and along which dimensions; None if none.

    A list has an index for each of the first dimensions, empty where all of a dimension is taken;
    if all are empty they are single numbers.
    """
    listed = of.of_list(place)
    if listed:
        shape = broadcast(*(each.shape for each in listed if each.shape))
        along = [at for at, each in enumerate(listed) if each.shape] or [*range(len(listed))]
        return (prod(shape), along) if shape is not None else None
    return (prod(of.shape(place)), [0]) if of.is_tensor(place) or of.shape(place) else None


def gather(of: Operands) -> Cost | None:
    """Cost of numbers taken by an index of the result's shape."""
    count = prod(of.shape(2))
    return Cost(0, moved((2 * count, of.size_at(0)), (count, 8))) if of.shape(2) else None


def selected(of: Operands) -> Cost | None:
    """Cost of ``index_select``: along a dimension some rows are read and written."""
    x, index = of.shape(0), of.shape(2)
    if not x or not of.is_tensor(2):
        return None
    along = (of.whole(1) or 0) % len(x)
    taken = prod(x) // max(x[along], 1) * prod(index)
    return Cost(0, moved((2 * taken, of.size_at(0)), (prod(index), 8)))


def embedding_backward(of: Operands) -> Cost | None:
    """Cost of an embedding's gradient: an addition a number, the whole table written."""
    grad = of.tensor(0)
    if not grad.shape:
        return None
    table = (of.whole(2) or 0) * grad.shape[-1]
    count = prod(of.shape(1))
    return Cost(grad.elements, moved((grad.elements + table, grad.itemsize), (count, 8)))


def written_at(values: int) -> Formula:
    """Return the formula of values that are added into a tensor, or put there, by an index."""

    def cost(of: Operands) -> Cost | None:
        place = values if of.is_tensor(values) else values - 1
        count = prod(of.shape(place))
        if not of.shape(place):
            return None
        return Cost(count, moved((3 * count, of.size_at(0)), (count, 8)))

    return cost


def nll_loss(of: Operands) -> Cost | None:
    """Cost of the pick of one number a row."""
    count = prod(of.shape(1))
    return Cost(count, moved((2 * count, of.size_at(0)), (count, 8)))


def nll_loss_backward(of: Operands) -> Cost | None:
    """Cost of one number a row written; the zeros around are a fill of their own."""
    count = prod(of.shape(2))
    return Cost(count, moved((count, of.size_at(1)), (count, 8)))


def cross_entropy(of: Operands, flops: int) -> Cost | None:
    """Cost of log-softmax and the pick of one number a row, where nothing inside was recorded."""
    x = of.tensor(0)
    return Cost(flops * x.elements, x.bytes) if x.shape else None


def copy(of: Operands) -> Cost | None:
    """Cost of ``copy_``: the source read, its own size if it is broadcast, the target written."""
    target, source = of.tensor(0), of.tensor(1)
    if not of.is_tensor(0):
        return Cost(0, moved((2, of.itemsize))) if _is_scalar(of) else None
    return Cost(0, total([target, source if of.is_tensor(1) else Tensor((), target.itemsize)]))


def cast(of: Operands) -> Cost | None:
    """Cost of a tensor written again in the type that argument 1 tells, else in its own."""
    x = of.tensor(0)
    if not of.is_tensor(0):
        return None
    size = SIZE_OF_CODE.get(-1 if (code := of.whole(1)) is None else code, x.itemsize)
    return Cost(0, moved((x.elements, x.itemsize), (x.elements, size)))


def joined(of: Operands) -> Cost | None:
    """Cost of tensors written one after another."""
    parts = of.lists[0] if of.lists else of.tensors
    size = total(parts)
    return Cost(0, None if size is None else 2 * size) if parts else None


def filled(flops: int, of_argument: int = 0) -> Formula:
    """Return the formula of a tensor that is written, so many FLOPs for each number."""

    def cost(of: Operands) -> Cost | None:
        x = of.tensor(of_argument)
        if of.is_tensor(of_argument) or _is_scalar(of):
            return Cost(flops * x.elements, x.bytes)
        return None

    return cost


def made(of: Operands) -> Cost | None:
    """Cost of a new tensor that is filled: its sizes, and its type, are arguments."""
    place = 1 if of.is_tensor(0) else 0
    sizes = of.numbers(place)
    if sizes is None or any(size < 0 for size in sizes):
        return None
    code = next((of.whole(at) for at in range(place + 1, place + 3) if of.whole(at)), None)
    size = SIZE_OF_CODE.get(code or -1, of.size_at(0) or 4)
    return Cost(0, prod(sizes) * size, "×".join(map(str, sizes)))


def slice_backward(of: Operands) -> Cost | None:
    """Cost of a gradient copied into zeros of the input's sizes."""
    grad, sizes = of.tensor(0), of.numbers(1)
    if not of.is_tensor(0) or sizes is None:
        return None
    return Cost(0, moved((2 * grad.elements + prod(sizes), grad.itemsize)))


def many(of: Operands, in_place: bool, lists: int, flops: int = 1) -> Cost | None:
    """Cost of an operator on lists of tensors: all read, the first written, or one like it.

    Args:
        of: the lists; under emit_nvtx all their tensors one after another.
        in_place: whether the first is written, not a new one.
        lists: how many there are, where that does not show; 0 if the tensors themselves must tell.
        flops: for each number of the first list.
    """
    parts = [part for part in of.lists if part[0].shape or len(part) > 1]
    if parts:
        first, every = parts[0], [one for part in parts for one in part]
    else:
        every = of.tensors
        if not every:
            return None
        half = len(every) // 2
        if not lists:
            lists = 2 if len(every) % 2 == 0 and every[:half] == every[half:] else 1
        first = every[: max(len(every) // lists, 1)]
    if not every:
        return None
    size, result = total(every), total(first)
    del in_place  # a new list is as large as the first
    count = sum(one.elements for one in first)
    both = None if size is None or result is None else size + result
    return Cost(flops * count, both, f"{len(first):,} tensors, {count:,} numbers")


def optimizer(flops: int, states: int) -> Formula:
    """Return the formula of a fused optimizer: parameters, gradients and states read, all written.

    Args:
        flops: for each parameter.
        states: how many numbers are kept for each.
    """

    def cost(of: Operands) -> Cost | None:
        lists = of.lists[: 2 + states]
        if not lists:
            every = [one for one in of.tensors if one.shape]
            part = len(every) // (2 + states)
            lists = [every[place * part : (place + 1) * part] for place in range(2 + states)]
        if not lists or not lists[0]:
            return None
        count = sum(one.elements for one in lists[0])
        written = [*lists[0], *(one for state in lists[2:] for one in state)]
        read = [one for part in lists for one in part]
        return Cost(
            flops * count, total([*read, *written]), f"{len(lists[0]):,} tensors, {count:,} numbers"
        )

    return cost


def all_operands(of: Operands) -> Cost | None:
    """Bytes of all operands of a kernel written for them; what it computes is not known."""
    tensors = [one for one in of.tensors if one.shape]
    return Cost(None, total(tensors)) if tensors else None


def aten(words: str) -> list[str]:
    """Return the names of ATen operators."""
    return [f"aten::{word}" for word in words.split()]


UNARY: Final = aten(
    "sqrt rsqrt square exp exp2 expm1 log log2 log10 log1p neg abs sign sgn reciprocal sin cos tan "
    "tanh sigmoid log_sigmoid log_sigmoid_forward silu gelu relu leaky_relu elu softplus hardtanh "
    "hardswish hardsigmoid threshold mish erf erfc erfinv floor ceil round trunc frac clamp_min "
    "clamp_max clamp nan_to_num pow triu tril glu relu6 sinh cosh atan asin acos deg2rad "
    "bitwise_not logical_not isnan isinf isfinite constant_pad_nd roll flip"
)
BINARY: Final = aten(
    "add sub rsub mul div true_divide floor_divide remainder fmod atan2 maximum minimum "
    "logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor copysign hypot xlogy "
    "threshold_backward sigmoid_backward tanh_backward silu_backward gelu_backward "
    "leaky_relu_backward elu_backward softplus_backward hardtanh_backward hardswish_backward "
    "hardsigmoid_backward mish_backward log_sigmoid_backward native_dropout_backward masked_fill "
    "pow fmax fmin glu_backward mse_loss l1_loss smooth_l1_loss huber_loss "
    "binary_cross_entropy_with_logits"
)
COMPARED: Final = aten("eq ne lt le gt ge isin")
TERNARY: Final = aten("addcmul addcdiv lerp where clamp_tensor mse_loss_backward")
REDUCED: Final = aten(
    "sum mean amax amin max min argmax argmin norm linalg_vector_norm linalg_norm std var var_mean "
    "std_mean prod logsumexp all any count_nonzero nansum nanmean aminmax topk sort "
    "value_selecting_reduction_backward"
)
RUNNING: Final = aten("cumsum cumprod cummax logcumsumexp")
FILLED: Final = aten("fill zero")
DRAWN: Final = aten("normal uniform bernoulli random exponential arange randperm")
NEW: Final = aten(
    "zeros ones full new_zeros new_ones new_full empty_like_filled randn rand randint eye"
)
LIKE: Final = aten("zeros_like ones_like full_like rand_like randn_like")
JOINED: Final = aten("cat stack concat concatenate _cat")
CAST: Final = aten("clone _to_copy contiguous to reshape repeat type_as _conj_physical")

FUSED_ON_GPU: Final = re.compile(r"triton_(?:poi|red|per|for)_")
"""The kernels that Inductor writes in Triton, which are operators of a trace too; ``triton_tem_``
are templates of products and attention, whose arithmetic no operand tells."""

FOREACH: Final = re.compile(r"aten::_foreach_(\w+?)(_?)$")
THREE_LISTS: Final = ("addcmul", "addcdiv")
READ_LISTS: Final = ("norm", "max")
ONE_LIST: Final = ("sqrt", "rsqrt", "exp", "log", "neg", "abs", "reciprocal", "sigmoid", "tanh")


def table(softmax_flops: int) -> dict[str, Formula]:
    """Return the formulas by name, without the underscore of operators that work in place.

    Args:
        softmax_flops: for each element of a softmax, forward.
    """
    gradient = each(SOFTMAX_BACKWARD_FLOPS, read=2)
    exponential = partial(softmax, flops=softmax_flops)
    layer = normalization(LAYER_NORM_FLOPS, 2)
    layer_backward = normalization(LAYER_NORM_BACKWARD_FLOPS, 3, 1)
    return {
        **dict.fromkeys(UNARY, elementwise(1)),
        **dict.fromkeys(BINARY, elementwise(2)),
        **dict.fromkeys(COMPARED, elementwise(2, itemsize=1)),
        **dict.fromkeys(TERNARY, elementwise(3)),
        **dict.fromkeys(REDUCED, reduction),
        **dict.fromkeys(RUNNING, each(1)),
        **dict.fromkeys(FILLED, filled(0)),
        **dict.fromkeys(DRAWN, filled(1)),
        **dict.fromkeys(NEW, made),
        **dict.fromkeys(LIKE, filled(0)),
        **dict.fromkeys(JOINED, joined),
        **dict.fromkeys(CAST, cast),
        "aten::copy": copy,
        "aten::where": where,
        "aten::_softmax": exponential,
        "aten::_log_softmax": exponential,
        "aten::_safe_softmax": exponential,
        "aten::_masked_softmax": exponential,
        "aten::softmax": exponential,
        "aten::log_softmax": exponential,
        "aten::_softmax_backward_data": gradient,
        "aten::_log_softmax_backward_data": gradient,
        "aten::native_layer_norm": layer,
        "aten::layer_norm": layer,
        "aten::native_group_norm": layer,
        "aten::group_norm": layer,
        "aten::native_batch_norm": layer,
        "aten::batch_norm": layer,
        "aten::cudnn_batch_norm": layer,
        "aten::_native_batch_norm_legit": layer,
        "aten::_batch_norm_with_update": layer,
        "aten::instance_norm": layer,
        "aten::native_layer_norm_backward": layer_backward,
        "aten::native_group_norm_backward": layer_backward,
        "aten::native_batch_norm_backward": layer_backward,
        "aten::batch_norm_backward": layer_backward,
        "aten::cudnn_batch_norm_backward": normalization(LAYER_NORM_BACKWARD_FLOPS, 3, 0),
        "aten::rms_norm": normalization(RMS_NORM_FLOPS, 2),
        "aten::_fused_rms_norm": normalization(RMS_NORM_FLOPS, 2),
        "aten::_fused_rms_norm_backward": normalization(RMS_NORM_BACKWARD_FLOPS, 3, 1),
        "aten::embedding": look_up(0, 1),
        "aten::_embedding_bag": look_up(0, 1),
        "aten::index": look_up(0, 1),
        "aten::gather": gather,
        "aten::index_select": selected,
        "aten::embedding_dense_backward": embedding_backward,
        "aten::embedding_backward": embedding_backward,
        "aten::index_put": written_at(2),
        "aten::_index_put_impl": written_at(2),
        "aten::scatter": written_at(3),
        "aten::scatter_add": written_at(3),
        "aten::index_add": written_at(3),
        "aten::index_copy": written_at(3),
        "aten::slice_backward": slice_backward,
        "aten::select_backward": slice_backward,
        "aten::nll_loss_forward": nll_loss,
        "aten::nll_loss": nll_loss,
        "aten::nll_loss2d_forward": nll_loss,
        "aten::nll_loss_backward": nll_loss_backward,
        "aten::nll_loss2d_backward": nll_loss_backward,
        "aten::cross_entropy_loss": partial(cross_entropy, flops=softmax_flops),
        "aten::native_dropout": dropout,
        "aten::dropout": dropout,
        "aten::_fused_adamw": optimizer(ADAMW_FLOPS, 2),
        "aten::_fused_adam": optimizer(ADAMW_FLOPS, 2),
        "aten::_fused_sgd": optimizer(SGD_FLOPS, 1),
        "aten::_fused_adagrad": optimizer(SGD_FLOPS, 1),
        "aten::_amp_foreach_non_finite_check_and_unscale": partial(many, in_place=True, lists=1),
    }


def where(of: Operands) -> Cost | None:
    """Cost of a choice between two by a condition, which is a byte a number."""
    tensors = [of.tensor(place) for place in range(3) if of.is_tensor(place)]
    if not tensors:
        return None
    shape = broadcast(*(one.shape for one in tensors))
    if shape is None:
        return None
    condition = Tensor(tensors[0].shape, 1)
    size = widest(tensors[1:]) or of.itemsize
    result = Tensor(shape, size)
    return Cost(result.elements, total([condition, *tensors[1:], result]))


def dropout(of: Operands) -> Cost | None:
    """Cost of dropout: a number read and written, and a byte of the mask."""
    x = of.tensor(0)
    if not of.is_tensor(0):
        return None
    return Cost(x.elements, moved((2 * x.elements, x.itemsize), (x.elements, 1)))


def formula(name: str, known: dict[str, Formula]) -> Formula | None:
    """Return the formula of an operator that multiplies nothing, None where there is none.

    Args:
        name: the operator's.
        known: what `table` returns.
    """
    if FUSED_ON_GPU.match(name):
        return all_operands
    if lists := FOREACH.match(name):
        return _of_lists(lists[1], bool(lists[2]))
    in_place = name.endswith("_") and not name.endswith("__")
    plain = name.removesuffix("_") if in_place else name
    if in_place and plain in _ELEMENTWISE:
        return elementwise(_ELEMENTWISE[plain], in_place=True)
    return known.get(plain)


def _of_lists(what: str, in_place: bool) -> Callable[[Operands], Cost | None]:
    if what == "copy":
        return joined_copies
    if what == "zero":
        return zeroed
    if what in READ_LISTS:
        return read_alone
    lists = 3 if what in THREE_LISTS else 1 if what in ONE_LIST else 2 if what == "lerp" else 0
    return partial(many, in_place=in_place, lists=lists, flops=2 if lists > 1 else 1)


def joined_copies(of: Operands) -> Cost | None:
    """Cost of a list of tensors copied into another."""
    every = [one for part in of.lists for one in part] or of.tensors
    return Cost(0, total(every)) if every else None


def read_alone(of: Operands) -> Cost | None:
    """Cost of lists of tensors that a number each is made of."""
    every = of.lists[0] if of.lists else of.tensors
    count = sum(each.elements for each in every)
    return (
        Cost(count, total(every), f"{len(every):,} tensors, {count:,} numbers") if every else None
    )


def zeroed(of: Operands) -> Cost | None:
    """Cost of a list of tensors filled with zeros."""
    every = of.lists[0] if of.lists else of.tensors
    return Cost(0, total(every)) if every else None


_ELEMENTWISE: Final = {
    **dict.fromkeys(UNARY, 1),
    **dict.fromkeys(BINARY, 2),
    **dict.fromkeys(TERNARY, 3),
}
