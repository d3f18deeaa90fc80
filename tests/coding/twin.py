"""Plain decoders written from docs/coders.md alone, with unbounded integers and no shared code: slow, obvious twins."""

import numpy as np


class PlainRangeDecoder:
    """The payload as one long binary fraction; the interval as exact big integers."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.low, self.range, self.words = 0, 2**64 - 1, 0

    def _value(self, bits: int) -> int:
        data = self.payload.ljust(bits // 8, b"\0")[: bits // 8]
        return int.from_bytes(data, "big")

    def bit(self, probability: int) -> int:
        bound = (self.range >> 16) * probability
        one = self._value(64 + 32 * self.words) < self.low + bound
        if one:
            self.range = bound
        else:
            self.low += bound
            self.range -= bound
        if self.range < 2**32:
            self.low <<= 32
            self.range <<= 32
            self.words += 1
        return int(one)

    def is_canonical_end(self) -> bool:
        for count in range(1, 9):
            step = 2 ** (64 - 8 * count)
            value = -(-self.low // step) * step
            if value + step <= self.low + self.range:
                return self.payload == (value // step).to_bytes(4 * self.words + count, "big")
        return False


def decode_context(arrays: dict[str, np.ndarray], payload: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    _, _, symbols, block, flag_prior, symbol_prior, memory = (int(v) for v in arrays["header"])
    groups, height, width = shape
    depth = (symbols - 1).bit_length()
    sizes = arrays["tree_nodes"].astype(int)
    first_node = np.concatenate([[0], np.cumsum(sizes.ravel())])[:-1].reshape(3, groups)
    leaf_sizes = sizes + 1
    first_leaf = np.zeros((3, groups), int)
    first_leaf[:2] = (np.cumsum(leaf_sizes[:2].ravel()) - leaf_sizes[:2].ravel()).reshape(2, groups)
    first_leaf[2] = np.cumsum(leaf_sizes[2]) - leaf_sizes[2]
    contexts: dict[tuple, list[int]] = {}
    coder = PlainRangeDecoder(payload)
    codes = np.zeros(shape, int)
    down, across = -(-height // block), -(-width // block)
    flags = np.zeros((groups, down, across), int)

    def decide(key, chance, weight, prior):
        wide, count = contexts.setdefault(key, [int(chance) << 16, min(4 * int(weight), prior) if memory else 0])
        bit = coder.bit(min(max(wide >> 16, 24), 65512))
        rate = 131072 // (2 * count + 3) if memory else 0
        wide = wide + (((2**32 - 1 - wide) * rate) >> 16) if bit else wide - ((wide * rate) >> 16)
        contexts[key] = [wide, min(count + 1, memory)]
        return bit

    def leaf(kind, g, look):
        node = 0 if sizes[kind, g] else -1
        while node >= 0:
            at = first_node[kind, g] + node
            value = look(int(arrays["node_source"][at]), *(int(v) for v in arrays["node_step"][at]))
            inside = arrays["node_set"][at][value // 8] >> (value % 8) & 1
            node = int(arrays["node_child"][at][inside])
        return first_leaf[kind, g] + (-1 - node)

    def inside(plane, y, x):
        return plane[y, x] if 0 <= y < plane.shape[0] and 0 <= x < plane.shape[1] else 0

    for g in range(groups):
        for by in range(down):
            for bx in range(across):

                def look(source, dy, dx, by=by, bx=bx, g=g):
                    if source == 240:
                        return int(inside(flags[:g].sum(0), by + dy, bx + dx))
                    return int(inside(flags[g - source], by + dy, bx + dx))

                at = leaf(0, g, look)
                flags[g, by, bx] = decide(("b", at), arrays["bit_chance"][at], arrays["bit_weight"][at], flag_prior)
        near = np.zeros((height, width), int)
        for y in range(height):
            for x in range(width):
                by, bx = y // block, x // block
                if not flags[g, by, bx]:
                    continue
                near[y, x] = sum(
                    inside(codes[g], y + dy, x + dx) != 0
                    for dy, dx in [(0, -1), (0, -2), *((-1, k) for k in range(-2, 3)), *((-2, k) for k in range(-1, 2))]
                )
                here = codes[g, by * block : (by + 1) * block, bx * block : (bx + 1) * block]
                pending = (y % block) * block + x % block if not here.any() else block * block

                def look(source, dy, dx, y=y, x=x, by=by, bx=bx, pending=pending, near=near, g=g):
                    if source == 240:
                        return int(inside((codes[:g] != 0).sum(0), y + dy, x + dx))
                    if source == 241:
                        return pending
                    if source == 242:
                        return int(inside(flags[g], by + dy, bx + dx))
                    if source == 243:
                        return int(near[y, x])
                    return int(inside(codes[g - source], y + dy, x + dx))

                last = y == min((by + 1) * block, height) - 1 and x == min((bx + 1) * block, width) - 1
                if not (last and pending != block * block):
                    at = leaf(1, g, look)
                    if not decide(("b", at), arrays["bit_chance"][at], arrays["bit_weight"][at], flag_prior):
                        continue
                at, node, reached = leaf(2, g, look), 1, 0
                for level in range(depth - 1, -1, -1):
                    bit = 0
                    if ((2 * reached + 1) << level) < symbols:
                        chance, weight = arrays["symbol_chance"][at][node - 1], arrays["symbol_weight"][at][node - 1]
                        bit = decide(("s", at, node), chance, weight, symbol_prior)
                    reached, node = 2 * reached + bit, 2 * node + bit
                codes[g, y, x] = reached + 1
    assert coder.is_canonical_end()
    return codes.astype(np.uint8)


def canonical_words(lengths: np.ndarray) -> dict[str, int]:
    """Codewords as bit strings, by their definition: sorted by (length, symbol), each the previous plus one."""
    words: dict[str, int] = {}
    value, before = -1, 0
    for length, symbol in sorted((int(n), s) for s, n in enumerate(lengths)):
        value = (value + 1) << (length - before)
        before = length
        words[format(value, f"0{length}b")] = symbol
    return words


def decode_huffman_rle(arrays: dict[str, np.ndarray], payload: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    bits = "".join(format(byte, "08b") for byte in payload)
    symbols = canonical_words(arrays["symbol_lengths"])
    classes = [canonical_words(row) for row in arrays["class_lengths"]]
    at, flat = 0, []

    def word(table):
        nonlocal at
        end = at + 1
        while bits[at:end] not in table:
            end += 1
        found, at = table[bits[at:end]], end
        return found

    while len(flat) < int(np.prod(shape)):
        symbol = word(symbols)
        order = word(classes[int(symbol != 0)])
        length = int("1" + bits[at : at + order], 2)
        at += order
        flat += [symbol] * length
    assert set(bits[at:]) <= {"0"}
    assert len(bits) - at < 8
    return np.array(flat, np.uint8).reshape(shape)
