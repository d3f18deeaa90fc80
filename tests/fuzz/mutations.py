"""Changes of inputs by their structure: fields, rows, elements, members, header entries; and bytes."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import Any

from driver import Rng

NUMBERS = (
    "nan", "inf", "-inf", "1e308", "-1e308", "1e-320", "0", "-0", "-1", "1", "2", "0.5", "255", "65536", "2147483648",
    "-2147483649", "9223372036854775808", "1e6", "5e9", "", "x", "1,5", "0x10", "1_0", "٣", "--1", "1e", "1e999",
    "true",    "None", "9" * 400, "é", "\x00", "\ud7ff", "NaN", "+1", " ",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 1e308, -1e308, 5e-324, 0.5, 180.0, 360.0, "", "x", "1",
    "nan",    [], {}, [[]], [None], ["a"], [0], [0, 0], [[0, 0]], {"a": 1}, float("nan"), float("inf"), "x" * 70000,
    "\ud800", "\x00",
)  # fmt: skip
BOMB = (
    '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{k} "{f"&a{k - 1 or str()};" * 10}">' for k in range(1, 9))
    + "]>"
)
NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")


def pick(rng: Rng, values: Any) -> Any:
    """One of some."""
    return values[int(rng.integers(len(values)))]


def edge_number(rng: Rng, old: str) -> str:
    """An edge case, or the number scaled, moved or turned round."""
    if rng.random() < 0.6:
        return str(pick(rng, NUMBERS))
    try:
        value = float(old)
    except ValueError:
        return str(pick(rng, NUMBERS))
    return repr(pick(rng, (-value, value * 1e3, value * 1e-3, value + 1, value * 1e9, value + 1e-9, value * 1.0000001)))


def one_number(rng: Rng, text: str) -> str:
    """A number somewhere in a text becomes another."""
    found = list(NUMBER.finditer(text))
    if not found:
        return text + str(pick(rng, NUMBERS))
    hit = pick(rng, found)
    return text[: hit.start()] + edge_number(rng, hit.group()) + text[hit.end() :]


def table(rng: Rng, text: str) -> str:
    """One change of rows or fields of a table of lines."""
    lines = text.split("\n")
    at, other = (int(rng.integers(len(lines))) for _ in range(2))
    fields = re.split(r"([\s,;]+)", lines[at])
    kind = int(rng.integers(15))
    if kind <= 4:
        return one_number(rng, text)
    if kind == 5:
        del lines[at]
    elif kind == 6:
        lines.insert(at, lines[other])
    elif kind == 7:
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 8:
        lines = lines[:at]
    elif kind == 9:
        del fields[int(rng.integers(len(fields)))]
        lines[at] = "".join(fields)
    elif kind == 10:
        fields.insert(int(rng.integers(len(fields))), str(pick(rng, (" 1", ",", "#", ' "', "|", " x ", "\t", "\r"))))
        lines[at] = "".join(fields)
    elif kind == 11:
        fields[int(rng.integers(len(fields)))] = str(pick(rng, NUMBERS))
        lines[at] = "".join(fields)
    elif kind == 12:
        lines[at] = lines[at][:2000] * int(pick(rng, (2, 50, 5000)))
    elif kind == 13:
        lines[at] = lines[at][: int(rng.integers(len(lines[at]) + 1))]
    else:
        lines.insert(
            at, str(pick(rng, ("#", "# x 1", "", "\ufeff", "\x00", "NaN", "a b c d e f g h i j", "1 " * 5000)))
        )
    return "\n".join(lines)


def plain_table(rng: Rng, text: str) -> str:
    """Whitespace, line ends and comments alone."""
    lines = text.split("\n")
    kind = int(rng.integers(3))
    if kind == 0:
        return "\r\n".join(lines)
    if kind == 1:
        return "\n".join(line + "  " if line else line for line in lines)
    return text + "\n" * int(rng.integers(1, 3))


def raw(rng: Rng, data: bytes) -> bytes:
    """One change of bytes."""
    kind = int(rng.integers(7))
    if not data:
        return rng.bytes(5)
    at = int(rng.integers(len(data)))
    if kind <= 1:
        changed = bytearray(data)
        for place in rng.integers(0, len(data), int(rng.integers(1, 6))):
            changed[place] ^= 1 << int(rng.integers(8))
        return bytes(changed)
    if kind == 2:
        return data[:at]
    if kind == 3:
        return data[:at] + rng.bytes(int(rng.integers(1, 9))) + data[at:]
    if kind == 4:
        return data + rng.bytes(int(rng.integers(1, 200)))
    if kind == 5:
        return b"\xef\xbb\xbf" + data if rng.random() < 0.5 else data.decode("latin-1").encode("utf-16")
    width = int(pick(rng, (1, 2, 4, 8)))
    value = pick(rng, (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1))
    return data[:at] + (int(value) & ((1 << 8 * width) - 1)).to_bytes(width, "little") + data[at + width :]


def _spot(rng: Rng, value: Any) -> tuple[Any, Any] | None:
    """A container within a JSON value and a key of it."""
    spots = []

    def walk(part: Any) -> None:
        keys = list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
        for key in keys:
            spots.append((part, key))
            walk(part[key])

    walk(value)
    return pick(rng, spots) if spots else None


def members(rng: Rng, text: str) -> str:
    """One change of a JSON document's members."""
    kind = int(rng.integers(10))
    if kind == 0:
        return one_number(rng, text)
    if kind == 1:
        return "[" * 20000 + text if rng.random() < 0.5 else text.replace(":", ":" + '{"a":' * 500, 1)
    content = json.loads(text)
    spot = _spot(rng, content)
    if spot is None:
        return json.dumps(pick(rng, VALUES))
    holder, key = spot
    if kind == 2:
        del holder[key]
    elif kind == 3 and isinstance(holder, list):
        holder.insert(0, holder[key])
    elif kind == 3:
        holder[str(pick(rng, ("x", "id", "crs", "type", "")))] = holder[key]
    elif kind == 4:
        other = _spot(rng, content)
        assert other is not None
        holder[key] = json.loads(json.dumps(other[0][other[1]]))
    elif kind == 5 and isinstance(holder[key], str):
        holder[key] = str(
            pick(rng, (holder[key].upper(), holder[key] + "x", "", "0", "Point", "é", "EPSG:4326", "nan"))
        )
    elif kind == 6 and isinstance(holder[key], list):
        holder[key] = holder[key][: len(holder[key]) // 2] if rng.random() < 0.5 else holder[key][::-1]
    elif kind == 7 and isinstance(holder[key], int | float):
        holder[key] = pick(rng, (holder[key] * 1e6, -holder[key], holder[key] + 1e-9, 1e300, 91.0, 181.0))
    else:
        holder[key] = pick(rng, VALUES)
    return json.dumps(content)


def plain_members(rng: Rng, text: str) -> str:
    """Indentation, escapes and unknown members alone."""
    content = json.loads(text)
    if rng.random() < 0.5 and isinstance(content, dict):
        content["foldmap_unknown_member"] = pick(rng, (1, "x", [1], {"a": None}))
    return json.dumps(content, indent=int(rng.integers(0, 4)), ensure_ascii=bool(rng.random() < 0.5))


def elements(rng: Rng, text: str) -> str:
    """One change of an XML document's elements or attributes."""
    kind = int(rng.integers(16))
    if kind == 0:
        return one_number(rng, text)
    if kind == 1:
        return str(pick(rng, (BOMB + "<b>&a8;</b>", BOMB + text, '<!DOCTYPE b SYSTEM "file:///etc/hostname">' + text)))
    if kind == 2:
        return '<?xml version="1.0" encoding="' + str(pick(rng, ("latin-1", "utf-16", "x-none", ""))) + '"?>' + text
    root = ET.fromstring(text)
    holders = [(parent, child) for parent in root.iter() for child in parent]
    every = list(root.iter())
    one = pick(rng, every)
    if kind == 3 and holders:
        parent, child = pick(rng, holders)
        parent.remove(child)
    elif kind == 4 and holders:
        parent, child = pick(rng, holders)
        parent.insert(int(rng.integers(len(parent) + 1)), child)
    elif kind == 5 and holders:
        pick(rng, every).append(pick(rng, holders)[1]) if (rng.random() < 0.0) else one.append(
            ET.Element(pick(rng, every).tag)
        )
    elif kind == 6 and holders:
        parent, child = pick(rng, holders)
        children = list(parent)
        parent[:] = [children[k] for k in rng.permutation(len(children))]
    elif kind == 7:
        for _ in range(int(pick(rng, (3, 300, 20000)))):
            inner = ET.SubElement(one, one.tag, dict(one.attrib))
            if rng.random() < 0.5:
                break
            one = inner
    elif kind == 8 and holders:
        parent, child = pick(rng, holders)
        for _ in range(int(pick(rng, (2, 100)))):
            parent.append(child)
    elif kind == 9:
        one.tag = pick(rng, every).tag
    else:
        having = [element for element in every if element.attrib] or every
        one = pick(rng, having)
        name = str(pick(rng, list(one.attrib) or ["id"]))
        if kind == 10:
            one.attrib.pop(name, None)
        elif kind == 11:
            other = pick(rng, having)
            one.set(name, str(pick(rng, list(other.attrib.values()) or ["0"])))
        elif kind <= 13:
            one.set(name, one_number(rng, one.get(name, "0")).replace("\x00", "0"))
        else:
            one.set(name, str(pick(rng, NUMBERS)).replace("\x00", "0"))
    return ET.tostring(root, encoding="unicode")


def plain_elements(rng: Rng, text: str) -> str:
    """Order of attributes, comments and unknown attributes alone."""
    root = ET.fromstring(text)
    kind = int(rng.integers(3))
    for element in root.iter():
        if kind == 0:
            turned = list(element.attrib.items())[::-1]
            element.attrib.clear()
            element.attrib.update(turned)
        elif kind == 1 and element is not root and rng.random() < 0.2:
            element.set("foldmap_unknown", "1")
    if kind == 2:
        root.insert(int(rng.integers(len(root) + 1)), ET.Comment(" <net> a comment "))
    return ET.tostring(root, encoding="unicode")
