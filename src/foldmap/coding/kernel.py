"""The walk of the context coder over one tile: one function for encoding, decoding, costing and gathering samples.

Encoder and decoder are the same code with another mode, so they cannot fall out of step. Order of decisions, per group:
first one flag per ``block x block`` cells (does it hold any active code?), row by row; then, row by row over the cells
of the flagged blocks, whether the code is active, and if so its symbol as a path in a binary heap. The context of a
decision is a leaf of that group's decision tree, found by looking up neighbours that the decoder already knows.
"""

import numpy as np

from foldmap.coding.jit import inner_loop, loop
from foldmap.coding.rangecoder import (
    COLLECT,
    DECODE,
    ENCODE,
    POSITION,
    PROBABILITY_FLOOR,
    decode_bit,
    encode_bit,
    finish_decoding,
    finish_encoding,
    start,
)

FLAG, ACTIVE, SYMBOL = 0, 1, 2

# Extra planes behind the G code planes of the cell buffer.
COUNT, PENDING, FLAGGED, NEAR = 0, 1, 2, 3
CELL_EXTRA_PLANES = 4
BLOCK_PAD = 2

_CEILING = 65536 - PROBABILITY_FLOOR


def heap_depth(symbols: int) -> int:
    """Decisions that name one of ``symbols``."""
    return (symbols - 1).bit_length()


@inner_loop
def _leaf(node, buffer, base, offsets, children):  # type: ignore[no-untyped-def]
    while node >= 0:
        node = children[node, buffer[base + offsets[node]]]
    return -1 - node


@inner_loop
def _decide(mode, bit, slot, chance, seen, rates, limit, state, payload, histogram):  # type: ignore[no-untyped-def]
    """Code one binary decision in context ``slot`` and move that context's probability towards its outcome."""
    wide = chance[slot]
    probability = wide >> 16
    if probability < PROBABILITY_FLOOR:
        probability = PROBABILITY_FLOOR
    elif probability > _CEILING:
        probability = _CEILING
    if mode == ENCODE:
        encode_bit(state, payload, probability, bit)
    elif mode == DECODE:
        bit = decode_bit(state, payload, probability)
    else:
        histogram[bit, probability] += 1
    count = seen[slot]
    rate = rates[count]
    if bit:
        chance[slot] = wide + (((4294967295 - wide) * rate) >> 16)
    else:
        chance[slot] = wide - ((wide * rate) >> 16)
    if count < limit:
        seen[slot] = count + 1
    return bit


@loop
def _symbol(mode, symbol, first, symbols, depth, chance, seen, rates, limit, state, payload, histogram):  # type: ignore[no-untyped-def]
    """Code ``symbol`` 1..symbols as ``depth`` decisions down a heap, most significant bit first."""
    node = 1
    reached = 0
    for level in range(depth - 1, -1, -1):
        reached <<= 1
        # The upper half may hold no symbol at all; then there is nothing to say.
        if ((reached | 1) << level) < symbols:
            bit = ((symbol - 1) >> level) & 1
            bit = _decide(mode, bit, first + node, chance, seen, rates, limit, state, payload, histogram)
        else:
            bit = 0
        reached |= bit
        node = 2 * node + bit
    return reached + 1


@inner_loop
def _gather(sample, buffer, base, target):  # type: ignore[no-untyped-def]
    """Note the candidate features and the outcome of a decision, one in ``stride``."""
    features, outcomes, tally, offsets, stride = sample
    index = tally[0]
    tally[0] = index + 1
    if index % stride == 0 and index // stride < outcomes.size:
        row = index // stride
        outcomes[row] = target
        for k in range(offsets.size):
            features[row, k] = buffer[base + offsets[k]]


@loop
def _near(cells, at, width):  # type: ignore[no-untyped-def]
    """How many of the ten nearest earlier cells of this group are active."""
    up = at - width
    top = up - width
    total = (cells[at - 1] != 0) + (cells[at - 2] != 0)
    for k in range(-2, 3):
        total += cells[up + k] != 0
    for k in range(-1, 2):
        total += cells[top + k] != 0
    return np.uint8(total)


@loop
def _flags(mode, g, codes, block, blocks, roots, tables, adapt, stream, collect, sample):  # type: ignore[no-untyped-def]
    """Code the block flags of group ``g`` into their plane."""
    groups, height, width = codes.shape
    down, across = (height + block - 1) // block, (width + block - 1) // block
    pitch = across + 2 * BLOCK_PAD
    size = (down + 2 * BLOCK_PAD) * pitch
    offsets, children, _ = tables
    chance, seen, rates, limit = adapt
    state, payload, histogram = stream
    if mode != DECODE:
        for y in range(height):
            at = g * size + (y // block + BLOCK_PAD) * pitch + BLOCK_PAD
            for x in range(width):
                if codes[g, y, x] != 0:
                    blocks[at + x // block] = 1
    for by in range(down):
        for bx in range(across):
            at = g * size + (by + BLOCK_PAD) * pitch + bx + BLOCK_PAD
            bit = np.int64(blocks[at])
            if mode == COLLECT:
                if collect:
                    _gather(sample, blocks, at, bit)
            else:
                slot = _leaf(roots[FLAG, g], blocks, at, offsets, children)
                bit = _decide(mode, bit, slot, chance, seen, rates, limit, state, payload, histogram)
                blocks[at] = bit
    for i in range(size):
        blocks[groups * size + i] += blocks[g * size + i]


@loop
def _prepare(mode, g, codes, block, blocks, cells, pad):  # type: ignore[no-untyped-def]
    """Lay out what the cells of group ``g`` look at: the pending marks, the spread flags, and when known the codes."""
    groups, height, width = codes.shape
    down, across = (height + block - 1) // block, (width + block - 1) // block
    pitch = width + 2 * pad
    size = (height + 2 * pad) * pitch
    block_pitch = across + 2 * BLOCK_PAD
    block_size = (down + 2 * BLOCK_PAD) * block_pitch
    pending, flagged, near = (groups + PENDING) * size, (groups + FLAGGED) * size, (groups + NEAR) * size
    for i in range(size):
        cells[flagged + i] = 0
        cells[near + i] = 0
    for by in range(down):
        for bx in range(across):
            if blocks[g * block_size + (by + BLOCK_PAD) * block_pitch + bx + BLOCK_PAD] == 0:
                continue
            for y in range(by * block, by * block + block):
                at = (y + pad) * pitch + bx * block + pad
                for x in range(block):
                    cells[flagged + at + x] = 1
                    cells[pending + at + x] = (y - by * block) * block + x
    if mode != DECODE:
        for y in range(height):
            at = g * size + (y + pad) * pitch + pad
            for x in range(width):
                cells[at + x] = codes[g, y, x]


@loop
def _cells(mode, g, codes, block, cells, pad, roots, tables, adapt, stream, collect, sample, alphabet):  # type: ignore[no-untyped-def]
    """Code the cells of the flagged blocks of group ``g``; False when the payload ran out."""
    groups, height, width = codes.shape
    pitch = width + 2 * pad
    size = (height + 2 * pad) * pitch
    offsets, children, symbol_at = tables
    chance, seen, rates, limit = adapt
    state, payload, histogram = stream
    symbols, depth = alphabet
    done = block * block
    pending, flagged, near = (groups + PENDING - g) * size, (groups + FLAGGED - g) * size, (groups + NEAR - g) * size
    for y in range(height):
        row = g * size + (y + pad) * pitch + pad
        last_row = y % block == block - 1 or y == height - 1
        for x0 in range(0, width, block):
            if cells[row + x0 + flagged] == 0:
                continue
            x1 = min(x0 + block, width)
            for x in range(x0, x1):
                at = row + x
                symbol = np.int64(cells[at])
                cells[at + near] = _near(cells, at, pitch)
                bit = np.int64(symbol != 0)
                # A flagged block whose other cells are all inactive must be active in its last cell.
                if last_row and x == x1 - 1 and cells[at + pending] != done:
                    bit = np.int64(1)
                elif mode == COLLECT:
                    if collect == ACTIVE:
                        _gather(sample, cells, at, bit)
                else:
                    slot = _leaf(roots[ACTIVE, g], cells, at, offsets, children)
                    bit = _decide(mode, bit, slot, chance, seen, rates, limit, state, payload, histogram)
                if bit == 0:
                    continue
                if mode == COLLECT:
                    if collect == SYMBOL:
                        _gather(sample, cells, at, symbol)
                else:
                    first = symbol_at + (_leaf(roots[SYMBOL, g], cells, at, offsets, children) << depth)
                    symbol = _symbol(
                        mode, symbol, first, symbols, depth, chance, seen, rates, limit, state, payload, histogram
                    )
                    cells[at] = symbol
                if cells[at + pending] != done:
                    top = at - (x - x0) - (y % block) * pitch + pending
                    for k in range(block):
                        for j in range(block):
                            cells[top + k * pitch + j] = done
        if mode == DECODE and np.int64(state[POSITION]) >= payload.size:
            return False
    count = groups * size
    for y in range(height):
        row = (y + pad) * pitch + pad
        for x in range(width):
            cells[count + row + x] += cells[g * size + row + x] != 0
    return True


@loop
def code_tile(  # type: ignore[no-untyped-def]
    mode, codes, block, pad, roots, tables, adapt, alphabet, payload, histogram, collect, sample, blocks, cells, state
):
    """Encode, decode, cost or sample one tile; see the module's docstring.

    Returns payload length when encoding; when decoding 0, or -1 for a payload that no encoder writes.

    Args:
        mode: ENCODE, DECODE, COST or COLLECT.
        codes: uint8 (G, H, W); read, or filled when decoding.
        block: cells per side of a flagged block.
        pad: margin of the cell buffer, at least ``max(2, block)``.
        roots: int32 (3, G), the root of each tree; below zero it is a leaf.
        tables: ``(offsets, children, symbol_at)``, int32 (N,), int16 (N, V), and the first slot of the symbol contexts.
        adapt: ``(chance, seen, rates, limit)``; chance int64 in 1 / 2^32 and seen int64 are changed.
        alphabet: ``(symbols, depth)``.
        payload: uint8, written when encoding (must have room), read when decoding.
        histogram: int64 (2, 65536), counts of outcome and probability when costing.
        collect: ``(kind, group)`` whose decisions are sampled.
        sample: ``(features, outcomes, tally, offsets, stride)``.
        blocks: uint8 zeros, of `buffer_sizes`.
        cells: uint8 zeros, of `buffer_sizes`.
        state: uint64 (4,), the range coder's.
    """
    groups, height, width = codes.shape
    stream = (state, payload, histogram)
    if not start(state, payload, mode == DECODE):
        return -1
    for g in range(groups):
        here = collect[1] == g
        kind = collect[0] if here else -1
        _flags(mode, g, codes, block, blocks, roots, tables, adapt, stream, kind == FLAG, sample)
        if mode == DECODE and np.int64(state[POSITION]) >= payload.size:
            return -1
        _prepare(mode, g, codes, block, blocks, cells, pad)
        if not _cells(mode, g, codes, block, cells, pad, roots, tables, adapt, stream, kind, sample, alphabet):
            return -1
    if mode == ENCODE:
        return finish_encoding(state, payload)
    if mode == DECODE:
        if not finish_decoding(state, payload):
            return -1
        pitch = width + 2 * pad
        for g in range(groups):
            for y in range(height):
                at = (g * (height + 2 * pad) + y + pad) * pitch + pad
                for x in range(width):
                    codes[g, y, x] = cells[at + x]
    return 0


def buffer_sizes(shape: tuple[int, int, int], block: int, pad: int) -> tuple[int, int]:
    """Bytes of the block and the cell buffer for a tile (G, H, W)."""
    groups, height, width = shape
    down, across = -(-height // block) + 2 * BLOCK_PAD, -(-width // block) + 2 * BLOCK_PAD
    return (groups + 1) * down * across, (groups + CELL_EXTRA_PLANES) * (height + 2 * pad) * (width + 2 * pad)
