"""The backward kernels of FlashAttention-2 (arXiv 2307.08691, algorithm 2).

The weights are computed again from the log-sum-exp. In two passes, one kernel goes along the keys
and gives dQ, another goes along the queries and gives dK and dV: every number is written by one
program, in seven products. In one pass, the second kernel gives dQ as well, added up in memory in
float32: five products, but the order of the sums, so their last bits, differ from run to run.

No weight exceeds 1, but a product of other tiles may round a huge score up beyond the log-sum-exp
that the forward pass saved: hence the minimum with 0 in each exponent.
"""

import triton
import triton.language as tl

from model.flash.triton_tiles import (
    COLUMNS,
    PADDED_TO,
    add_tile,
    head_of,
    load_statistics,
    load_tile,
    product,
    statistics_of,
    store_tile,
    sums_of,
    visible,
)

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def flash_backward_statistics_kernel(
    OUT, DO, LSE, STATISTICS, o_batch, o_head, o_row, do_batch, do_head, do_row, HEADS, queries,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, SHORT_Q: tl.constexpr,
):  # fmt: skip
    """Write the log-sum-exp in powers of two, and rowsum(O * dO), for each query side by side.

    The second stands for the softmax's own backward pass. A query that only pads the last tile
    weighs nothing: exp2(0 - inf).
    """
    tiles = tl.cdiv(queries, PADDED_TO)
    head, first = tl.program_id(0) // tiles, tl.program_id(0) % tiles * PADDED_TO
    OUT = head_of(OUT, head, HEADS, o_batch, o_head)
    DO = head_of(DO, head, HEADS, do_batch, do_head)
    o = load_tile(OUT, first, o_row, queries, PADDED_TO, WIDTH, BLOCK, SHORT_Q)
    do = load_tile(DO, first, do_row, queries, PADDED_TO, WIDTH, BLOCK, SHORT_Q)
    delta = tl.sum(o.to(tl.float32) * do.to(tl.float32), 1)
    rows = first + tl.arange(0, PADDED_TO)
    LSE += tl.cast(head, tl.int64) * queries
    lse = tl.load(LSE + rows, mask=rows < queries, other=float("inf")) * LOG2_E
    where = statistics_of(STATISTICS, head, queries) + rows * COLUMNS
    tl.store(where, lse)
    tl.store(where + 1, delta)


@triton.jit
def flash_backward_dq_cast_kernel(
    SUMS, DQ, dq_batch, dq_head, dq_row, HEADS, queries, scale_natural,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, SHORT_Q: tl.constexpr,
):  # fmt: skip
    """Write dQ from what one pass added up."""
    tiles = tl.cdiv(queries, PADDED_TO)
    head, first = tl.program_id(0) // tiles, tl.program_id(0) % tiles * PADDED_TO
    SUMS = sums_of(SUMS, head, queries, BLOCK)
    DQ = head_of(DQ, head, HEADS, dq_batch, dq_head)
    sums = load_tile(SUMS, first, BLOCK, queries, PADDED_TO, BLOCK, BLOCK, False)
    store_tile(DQ, sums * scale_natural, first, dq_row, queries, PADDED_TO, WIDTH, BLOCK, SHORT_Q)


@triton.jit
def _dq_through_keys(
    dq, q, do, lse, delta, K, V, k_row, v_row, first_query, key, keys, scale,
    TILE_Q: tl.constexpr, TILE_K: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    CAUSAL: tl.constexpr, MASKED: tl.constexpr, SHORT: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Add to dq what comes through the tile of keys that begins at ``key``."""
    k = load_tile(K, key, k_row, keys, TILE_K, WIDTH, BLOCK, SHORT)
    v = load_tile(V, key, v_row, keys, TILE_K, WIDTH, BLOCK, SHORT)
    scores = product(q, tl.trans(k), PRECISION, UPCAST)
    if MASKED:
        seen = visible(first_query, key, keys, TILE_Q, TILE_K, CAUSAL)
        scores = tl.where(seen, scores, float("-inf"))
    weights = tl.exp2(tl.minimum(scores * scale - lse[:, None], 0.0))
    by_weights = product(do, tl.trans(v), PRECISION, UPCAST)
    by_scores = (weights * (by_weights - delta[:, None])).to(k.dtype)
    return product(by_scores, k, PRECISION, UPCAST, dq)


@triton.jit
def flash_backward_dq_kernel(
    Q, K, V, DO, DQ, STATISTICS,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row,
    do_batch, do_head, do_row, dq_batch, dq_head, dq_row,
    HEADS, queries, keys, scale, scale_natural,
    TILE_Q: tl.constexpr, TILE_K: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    CAUSAL: tl.constexpr, SHORT_Q: tl.constexpr, SHORT_K: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr, MASKED_TILES: tl.constexpr,
):  # fmt: skip
    """Write dQ of one tile of queries of one head."""
    tiles = tl.cdiv(queries, TILE_Q)
    head, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    if CAUSAL:
        tile = tiles - 1 - tile
    first = tile * TILE_Q
    Q = head_of(Q, head, HEADS, q_batch, q_head)
    K = head_of(K, head, HEADS, k_batch, k_head)
    V = head_of(V, head, HEADS, v_batch, v_head)
    DO = head_of(DO, head, HEADS, do_batch, do_head)
    DQ = head_of(DQ, head, HEADS, dq_batch, dq_head)
    STATISTICS = statistics_of(STATISTICS, head, queries)

    q = load_tile(Q, first, q_row, queries, TILE_Q, WIDTH, BLOCK, SHORT_Q)
    do = load_tile(DO, first, do_row, queries, TILE_Q, WIDTH, BLOCK, SHORT_Q)
    lse, delta = load_statistics(STATISTICS, first, TILE_Q)
    dq = tl.zeros([TILE_Q, BLOCK], tl.float32)
    whole = (first + 1 if CAUSAL else keys) // TILE_K * TILE_K
    if CAUSAL or SHORT_K:
        for part in tl.static_range(MASKED_TILES):
            dq = _dq_through_keys(
                dq, q, do, lse, delta, K, V, k_row, v_row, first, whole + part * TILE_K, keys,
                scale, TILE_Q, TILE_K, WIDTH, BLOCK, CAUSAL, True, SHORT_Q or SHORT_K,
                PRECISION, UPCAST,
            )  # fmt: skip
    for key in tl.range(0, whole, TILE_K):
        dq = _dq_through_keys(
            dq, q, do, lse, delta, K, V, k_row, v_row, first, key, keys, scale, TILE_Q, TILE_K,
            WIDTH, BLOCK, CAUSAL, False, False, PRECISION, UPCAST,
        )  # fmt: skip
    store_tile(DQ, dq * scale_natural, first, dq_row, queries, TILE_Q, WIDTH, BLOCK, SHORT_Q)


@triton.jit
def _through_queries(
    state, k, v, Q, DO, STATISTICS, SUMS, q_row, do_row, first_key, start, end, queries, keys,
    scale, TILE_Q: tl.constexpr, TILE_K: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    CAUSAL: tl.constexpr, MASKED: tl.constexpr, SHORT: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Add to dk and dv, and to SUMS if it is there, what comes through some queries.

    Scores and weights stand here as (keys, queries): so they are the left operands of the products
    that give dk and dv, which may stay in registers.
    """
    dk, dv = state
    for query in tl.range(start, end, TILE_Q):
        q = load_tile(Q, query, q_row, queries, TILE_Q, WIDTH, BLOCK, SHORT)
        do = load_tile(DO, query, do_row, queries, TILE_Q, WIDTH, BLOCK, SHORT)
        lse, delta = load_statistics(STATISTICS, query, TILE_Q)
        scores = product(k, tl.trans(q), PRECISION, UPCAST)
        if MASKED:
            seen = visible(query, first_key, keys, TILE_Q, TILE_K, CAUSAL)
            scores = tl.where(tl.trans(seen), scores, float("-inf"))
        weights = tl.exp2(tl.minimum(scores * scale - lse[None, :], 0.0))
        dv = product(weights.to(do.dtype), do, PRECISION, UPCAST, dv)
        by_weights = product(v, tl.trans(do), PRECISION, UPCAST)
        by_scores = (weights * (by_weights - delta[None, :])).to(q.dtype)
        if SUMS is not None:
            dq = product(tl.trans(by_scores), k, PRECISION, UPCAST)
            dk = product(by_scores, q, PRECISION, UPCAST, dk)
            add_tile(SUMS, dq, query, TILE_Q, BLOCK)
        else:
            dk = product(by_scores, q, PRECISION, UPCAST, dk)
    return dk, dv


@triton.jit
def flash_backward_dkdv_kernel(
    Q, K, V, DO, DK, DV, STATISTICS, SUMS,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row,
    do_batch, do_head, do_row, dk_batch, dk_head, dk_row, dv_batch, dv_head, dv_row,
    HEADS, queries, keys, scale, scale_natural,
    TILE_Q: tl.constexpr, TILE_K: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    CAUSAL: tl.constexpr, SHORT_Q: tl.constexpr, SHORT_K: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Write dK and dV of one tile of keys of one head; the longest tiles come first by nature.

    With SUMS, ``(heads, queries up to a whole number of tiles, BLOCK)`` in float32, add to it what
    the tile gives to dQ.
    """
    tiles = tl.cdiv(keys, TILE_K)
    head, first = tl.program_id(0) // tiles, tl.program_id(0) % tiles * TILE_K
    Q = head_of(Q, head, HEADS, q_batch, q_head)
    K = head_of(K, head, HEADS, k_batch, k_head)
    V = head_of(V, head, HEADS, v_batch, v_head)
    DO = head_of(DO, head, HEADS, do_batch, do_head)
    STATISTICS = statistics_of(STATISTICS, head, queries)
    if SUMS is not None:
        SUMS = sums_of(SUMS, head, queries, BLOCK)

    k = load_tile(K, first, k_row, keys, TILE_K, WIDTH, BLOCK, SHORT_K)
    v = load_tile(V, first, v_row, keys, TILE_K, WIDTH, BLOCK, SHORT_K)
    state = (tl.zeros([TILE_K, BLOCK], tl.float32), tl.zeros([TILE_K, BLOCK], tl.float32))
    below = 0  # the first query from which on all see the whole tile
    if CAUSAL:
        below = tl.cdiv(first + TILE_K - 1, TILE_Q) * TILE_Q
        state = _through_queries(
            state, k, v, Q, DO, STATISTICS, SUMS, q_row, do_row, first, first // TILE_Q * TILE_Q,
            tl.minimum(below, queries), queries, keys, scale, TILE_Q, TILE_K, WIDTH, BLOCK,
            True, True, SHORT_Q, PRECISION, UPCAST,
        )  # fmt: skip
    whole = queries // TILE_Q * TILE_Q
    # A key past the end gives nothing to dK and dV that is kept; to dQ it must give 0.
    ragged: tl.constexpr = SHORT_K and not CAUSAL and SUMS is not None
    state = _through_queries(
        state, k, v, Q, DO, STATISTICS, SUMS, q_row, do_row, first, below, whole, queries, keys,
        scale, TILE_Q, TILE_K, WIDTH, BLOCK, CAUSAL, ragged, False, PRECISION, UPCAST,
    )  # fmt: skip
    if SHORT_Q:
        state = _through_queries(
            state, k, v, Q, DO, STATISTICS, SUMS, q_row, do_row, first, tl.maximum(below, whole),
            queries, queries, keys, scale, TILE_Q, TILE_K, WIDTH, BLOCK, CAUSAL, ragged, True,
            PRECISION, UPCAST,
        )  # fmt: skip
    dk, dv = state
    DK = head_of(DK, head, HEADS, dk_batch, dk_head)
    DV = head_of(DV, head, HEADS, dv_batch, dv_head)
    store_tile(DK, dk * scale_natural, first, dk_row, keys, TILE_K, WIDTH, BLOCK, SHORT_K)
    store_tile(DV, dv, first, dv_row, keys, TILE_K, WIDTH, BLOCK, SHORT_K)
