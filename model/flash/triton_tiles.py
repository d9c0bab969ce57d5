"""What the Triton kernels have in common: loading, storing and multiplying tiles.

Every tile is ``(ROWS, BLOCK)``: rows of a matrix with contiguous channels, padded from WIDTH to
BLOCK channels. Row numbers are turned into addresses with 64 bits. A mask is computed only where
its constant flag says that the tile may stick out.
"""

import triton
import triton.language as tl

from model.flash.tiles import PADDED_QUERIES, STATISTICS

COLUMNS = tl.constexpr(STATISTICS)
PADDED_TO = tl.constexpr(PADDED_QUERIES)


@triton.jit
def head_of(pointer, head, HEADS, batch_stride, head_stride):
    """Return where one head of one batch entry begins; ``head`` counts over both."""
    batch = (head // HEADS).to(tl.int64)
    within = (head % HEADS).to(tl.int64)
    return pointer + batch * batch_stride + within * head_stride


@triton.jit
def inside(
    row, length, ROWS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, SHORT: tl.constexpr
):
    """Return the mask of a tile; ``SHORT`` says that its rows may end before the tile does."""
    rows = row + tl.arange(0, ROWS)[:, None]
    channels = tl.arange(0, BLOCK)[None, :]
    if SHORT and BLOCK != WIDTH:
        mask = (rows < length) & (channels < WIDTH)
    elif SHORT:
        mask = rows < length
    else:
        mask = channels < WIDTH
    return mask


@triton.jit
def addresses(pointer, row, stride, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the addresses of a tile whose first row is number ``row``."""
    corner = pointer + tl.cast(row, tl.int64) * stride
    return corner + tl.arange(0, ROWS)[:, None] * stride + tl.arange(0, BLOCK)[None, :]


@triton.jit
def load_tile(
    pointer, row, stride, length,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, SHORT: tl.constexpr,
):  # fmt: skip
    """Return a tile; what sticks out is 0."""
    where = addresses(pointer, row, stride, ROWS, BLOCK)
    if SHORT or BLOCK != WIDTH:
        tile = tl.load(where, mask=inside(row, length, ROWS, WIDTH, BLOCK, SHORT), other=0.0)
    else:
        tile = tl.load(where)
    return tile


@triton.jit
def store_tile(
    pointer, tile, row, stride, length,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, SHORT: tl.constexpr,
):  # fmt: skip
    """Write a tile in the number format of the pointer; what sticks out is not written."""
    where = addresses(pointer, row, stride, ROWS, BLOCK)
    value = tile.to(pointer.dtype.element_ty)
    if SHORT or BLOCK != WIDTH:
        tl.store(where, value, mask=inside(row, length, ROWS, WIDTH, BLOCK, SHORT))
    else:
        tl.store(where, value)


@triton.jit
def add_tile(pointer, tile, row, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Add a tile to rows of BLOCK numbers, in memory; several programs may at once."""
    tl.atomic_add(addresses(pointer, row, BLOCK, ROWS, BLOCK), tile, sem="relaxed")


@triton.jit
def statistics_of(pointer, head, queries):
    """Return where the statistics of one head begin."""
    return pointer + tl.cast(head, tl.int64) * tl.cdiv(queries, PADDED_TO) * PADDED_TO * COLUMNS


@triton.jit
def sums_of(pointer, head, queries, BLOCK: tl.constexpr):
    """Return where the sums of one head begin."""
    return pointer + tl.cast(head, tl.int64) * tl.cdiv(queries, PADDED_TO) * PADDED_TO * BLOCK


@triton.jit
def load_statistics(pointer, row, ROWS: tl.constexpr):
    """Return the log-sum-exp and delta of a tile of queries.

    They are the first two of a row's COLUMNS numbers, which are loaded together: so there is a
    number for each thread at least. Where there are fewer, Triton 3.6 lets every thread load all it
    needs, sixteen loads where one will do, and they serialise the tensor cores' instructions.
    """
    rows = row + tl.arange(0, ROWS)[:, None]
    loaded = tl.load(pointer + rows * COLUMNS + tl.arange(0, COLUMNS)[None, :])
    even, odd = tl.split(loaded.reshape(ROWS, COLUMNS // 2, 2))
    lse, _ = tl.split(even)
    delta, _ = tl.split(odd)
    return lse, delta


@triton.jit
def product(a, b, PRECISION: tl.constexpr, UPCAST: tl.constexpr, total=None):
    """Return ``a @ b``, or ``total + a @ b``, in float32.

    ``UPCAST``: the interpreter multiplies no bfloat16.
    """
    if UPCAST:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, total, input_precision=PRECISION)


@triton.jit
def visible(
    first_query, first_key, keys, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CAUSAL: tl.constexpr
):
    """Return which keys of a tile each query may look at: ``(queries, keys)``, or ``(1, keys)``."""
    columns = (first_key + tl.arange(0, COLUMNS))[None, :]
    # Causal attention has as many keys as queries: a key past the end is above the diagonal.
    bound = (first_query + tl.arange(0, ROWS))[:, None] + 1 if CAUSAL else keys
    return columns < bound
