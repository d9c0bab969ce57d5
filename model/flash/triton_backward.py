"""The backward kernels of FlashAttention-2 (arXiv 2307.08691, algorithm 2).

The weights are computed again from the log-sum-exp. One kernel goes along the keys and gives dQ,
another goes along the queries and gives dK and dV, so that every number is written by one program
and nothing is added up in memory: seven products where one kernel with atomics would need five.
"""

import triton
import triton.language as tl

from model.flash.triton_tiles import (
    add_product,
    head_of,
    load_rows,
    load_tile,
    product,
    store_tile,
    visible,
)

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def flash_backward_delta_kernel(
    OUT, DO, DELTA, o_batch, o_head, o_row, do_batch, do_head, do_row, HEADS, queries,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, SHORT_Q: tl.constexpr,
):  # fmt: skip
    """Write rowsum(O * dO), which stands for the softmax's own backward pass."""
    tiles = tl.cdiv(queries, ROWS)
    head, first = tl.program_id(0) // tiles, tl.program_id(0) % tiles * ROWS
    OUT = head_of(OUT, head, HEADS, o_batch, o_head)
    DO = head_of(DO, head, HEADS, do_batch, do_head)
    o = load_tile(OUT, first, o_row, queries, ROWS, WIDTH, BLOCK, SHORT_Q)
    do = load_tile(DO, first, do_row, queries, ROWS, WIDTH, BLOCK, SHORT_Q)
    delta = tl.sum(o.to(tl.float32) * do.to(tl.float32), 1)
    rows = first + tl.arange(0, ROWS)
    tl.store(DELTA + tl.cast(head, tl.int64) * queries + rows, delta, mask=rows < queries)


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
    weights = tl.exp2(scores * scale - lse[:, None])
    by_weights = product(do, tl.trans(v), PRECISION, UPCAST)
    by_scores = (weights * (by_weights - delta[:, None])).to(k.dtype)
    return add_product(dq, by_scores, k, PRECISION, UPCAST)


@triton.jit
def flash_backward_dq_kernel(
    Q, K, V, DO, DQ, LSE, DELTA,
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
    of_head = tl.cast(head, tl.int64) * queries

    q = load_tile(Q, first, q_row, queries, TILE_Q, WIDTH, BLOCK, SHORT_Q)
    do = load_tile(DO, first, do_row, queries, TILE_Q, WIDTH, BLOCK, SHORT_Q)
    # A query past the end weighs nothing: exp2(0 - inf).
    lse = load_rows(LSE + of_head, first, queries, float("inf"), TILE_Q, SHORT_Q) * LOG2_E
    delta = load_rows(DELTA + of_head, first, queries, 0.0, TILE_Q, SHORT_Q)
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
def _dkdv_over_queries(
    state, k, v, Q, DO, LSE, DELTA, q_row, do_row, first_key, start, end, queries, scale,
    TILE_Q: tl.constexpr, TILE_K: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    MASKED: tl.constexpr, SHORT: tl.constexpr, PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Add to dk and dv what comes through the queries from ``start`` to ``end``.

    Scores and weights stand here as (keys, queries): so they are the left operands of the products
    that use them, which may stay in registers.
    """
    dk, dv = state
    for query in tl.range(start, end, TILE_Q):
        q = load_tile(Q, query, q_row, queries, TILE_Q, WIDTH, BLOCK, SHORT)
        do = load_tile(DO, query, do_row, queries, TILE_Q, WIDTH, BLOCK, SHORT)
        lse = load_rows(LSE, query, queries, float("inf"), TILE_Q, SHORT) * LOG2_E
        delta = load_rows(DELTA, query, queries, 0.0, TILE_Q, SHORT)
        scores = product(k, tl.trans(q), PRECISION, UPCAST)
        if MASKED:
            rows = (query + tl.arange(0, TILE_Q))[None, :]
            columns = (first_key + tl.arange(0, TILE_K))[:, None]
            scores = tl.where(columns <= rows, scores, float("-inf"))
        weights = tl.exp2(scores * scale - lse[None, :])
        dv = add_product(dv, weights.to(do.dtype), do, PRECISION, UPCAST)
        by_weights = product(v, tl.trans(do), PRECISION, UPCAST)
        by_scores = (weights * (by_weights - delta[None, :])).to(q.dtype)
        dk = add_product(dk, by_scores, q, PRECISION, UPCAST)
    return dk, dv


@triton.jit
def flash_backward_dkdv_kernel(
    Q, K, V, DO, DK, DV, LSE, DELTA,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row,
    do_batch, do_head, do_row, dk_batch, dk_head, dk_row, dv_batch, dv_head, dv_row,
    HEADS, queries, keys, scale, scale_natural,
    TILE_Q: tl.constexpr, TILE_K: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    CAUSAL: tl.constexpr, SHORT_Q: tl.constexpr, SHORT_K: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Write dK and dV of one tile of keys of one head; the longest tiles come first by nature."""
    tiles = tl.cdiv(keys, TILE_K)
    head, first = tl.program_id(0) // tiles, tl.program_id(0) % tiles * TILE_K
    Q = head_of(Q, head, HEADS, q_batch, q_head)
    K = head_of(K, head, HEADS, k_batch, k_head)
    V = head_of(V, head, HEADS, v_batch, v_head)
    DO = head_of(DO, head, HEADS, do_batch, do_head)
    LSE += tl.cast(head, tl.int64) * queries
    DELTA += tl.cast(head, tl.int64) * queries

    k = load_tile(K, first, k_row, keys, TILE_K, WIDTH, BLOCK, SHORT_K)
    v = load_tile(V, first, v_row, keys, TILE_K, WIDTH, BLOCK, SHORT_K)
    state = (tl.zeros([TILE_K, BLOCK], tl.float32), tl.zeros([TILE_K, BLOCK], tl.float32))
    below = 0  # the first query from which on all see the whole tile
    if CAUSAL:
        below = tl.cdiv(first + TILE_K - 1, TILE_Q) * TILE_Q
        state = _dkdv_over_queries(
            state, k, v, Q, DO, LSE, DELTA, q_row, do_row, first, first // TILE_Q * TILE_Q,
            tl.minimum(below, queries), queries, scale, TILE_Q, TILE_K, WIDTH, BLOCK,
            True, SHORT_Q, PRECISION, UPCAST,
        )  # fmt: skip
    whole = queries // TILE_Q * TILE_Q
    state = _dkdv_over_queries(
        state, k, v, Q, DO, LSE, DELTA, q_row, do_row, first, below, whole, queries, scale,
        TILE_Q, TILE_K, WIDTH, BLOCK, False, False, PRECISION, UPCAST,
    )  # fmt: skip
    if SHORT_Q:
        state = _dkdv_over_queries(
            state, k, v, Q, DO, LSE, DELTA, q_row, do_row, first, tl.maximum(below, whole),
            queries, queries, scale, TILE_Q, TILE_K, WIDTH, BLOCK, False, True, PRECISION, UPCAST,
        )  # fmt: skip
    dk, dv = state
    DK = head_of(DK, head, HEADS, dk_batch, dk_head)
    DV = head_of(DV, head, HEADS, dv_batch, dv_head)
    store_tile(DK, dk * scale_natural, first, dk_row, keys, TILE_K, WIDTH, BLOCK, SHORT_K)
    store_tile(DV, dv, first, dv_row, keys, TILE_K, WIDTH, BLOCK, SHORT_K)
