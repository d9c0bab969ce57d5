"""The forward kernel of FlashAttention-2 (arXiv 2307.08691, algorithm 1).

One program a tile of queries. The tiles of keys that need a mask, on the diagonal or at the ragged
end, are few and their number is known to the compiler: they come first, unrolled. Then a loop goes
over the tiles that every query sees whole, without any mask. (After the loop they would make ptxas
serialise all tensor core instructions: its remark C7515.) Scores are kept in powers of two:
``scale`` has log2(e) in it, and exp2 is one instruction.
"""

import triton
import triton.language as tl

from model.flash.triton_tiles import head_of, load_tile, product, store_tile, visible

LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _take_keys(
    sums, total, peak, q, K, V, k_row, v_row, first_query, key, keys, scale,
    TILE_Q: tl.constexpr, TILE_K: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    CAUSAL: tl.constexpr, MASKED: tl.constexpr, SHORT: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Carry the softmax over the tile of keys that begins at ``key``."""
    k = load_tile(K, key, k_row, keys, TILE_K, WIDTH, BLOCK, SHORT)
    scores = product(q, tl.trans(k), PRECISION, UPCAST)
    if MASKED:
        seen = visible(first_query, key, keys, TILE_Q, TILE_K, CAUSAL)
        scores = tl.where(seen, scores, float("-inf"))
    # Every query sees a key of the first tile taken, so the peak is finite from then on.
    higher = tl.maximum(peak, tl.max(scores, 1) * scale)
    weights = tl.exp2(scores * scale - higher[:, None])
    shrink = tl.exp2(peak - higher)
    total = total * shrink + tl.sum(weights, 1)
    v = load_tile(V, key, v_row, keys, TILE_K, WIDTH, BLOCK, SHORT)
    sums *= shrink[:, None]
    sums = product(weights.to(v.dtype), v, PRECISION, UPCAST, sums)
    return sums, total, higher


@triton.jit
def flash_forward_kernel(
    Q, K, V, OUT, LSE,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row,
    o_batch, o_head, o_row, HEADS, queries, keys, scale,
    TILE_Q: tl.constexpr, TILE_K: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    CAUSAL: tl.constexpr, SHORT_Q: tl.constexpr, SHORT_K: tl.constexpr,
    PRECISION: tl.constexpr, UPCAST: tl.constexpr, MASKED_TILES: tl.constexpr,
):  # fmt: skip
    """Write the output and the log-sum-exp of one tile of queries of one head."""
    tiles = tl.cdiv(queries, TILE_Q)
    head, tile = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    if CAUSAL:
        tile = tiles - 1 - tile  # the longest first, so that the last to start are short
    first = tile * TILE_Q
    Q = head_of(Q, head, HEADS, q_batch, q_head)
    K = head_of(K, head, HEADS, k_batch, k_head)
    V = head_of(V, head, HEADS, v_batch, v_head)
    OUT = head_of(OUT, head, HEADS, o_batch, o_head)

    q = load_tile(Q, first, q_row, queries, TILE_Q, WIDTH, BLOCK, SHORT_Q)
    sums = tl.zeros([TILE_Q, BLOCK], tl.float32)
    total = tl.zeros([TILE_Q], tl.float32)
    peak = tl.full([TILE_Q], float("-inf"), tl.float32)
    whole = (first + 1 if CAUSAL else keys) // TILE_K * TILE_K
    if CAUSAL or SHORT_K:
        for part in tl.static_range(MASKED_TILES):
            sums, total, peak = _take_keys(
                sums, total, peak, q, K, V, k_row, v_row, first, whole + part * TILE_K, keys,
                scale, TILE_Q, TILE_K, WIDTH, BLOCK, CAUSAL, True, SHORT_Q or SHORT_K,
                PRECISION, UPCAST,
            )  # fmt: skip
    for key in tl.range(0, whole, TILE_K):
        sums, total, peak = _take_keys(
            sums, total, peak, q, K, V, k_row, v_row, first, key, keys, scale, TILE_Q, TILE_K,
            WIDTH, BLOCK, CAUSAL, False, False, PRECISION, UPCAST,
        )  # fmt: skip
    store_tile(OUT, sums / total[:, None], first, o_row, queries, TILE_Q, WIDTH, BLOCK, SHORT_Q)
    rows = first + tl.arange(0, TILE_Q)
    lse = (peak + tl.log2(total)) * LN2
    tl.store(LSE + tl.cast(head, tl.int64) * queries + rows, lse, mask=rows < queries)
