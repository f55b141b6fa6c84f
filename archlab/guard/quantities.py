"""Counts as people write them: ``1.6G``, ``30MB``, ``2 MiB``, and back to a text that is no smaller."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

from archlab.errors import UsageError

IN_BYTES = ("bytes_moved", "weight_bytes", "peak_memory")
"""The metrics whose unit is the byte."""

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "b": 3, "t": 4, "p": 5}
_QUANTITY = re.compile(r"([0-9][0-9,_]*(?:\.[0-9]+)?)\s*(?:(k|m|g|t|p)(i)?)?(b)?", re.IGNORECASE)
_DIGITS = 4


def quantity(text: str, metric: str) -> int:
    """Return the count in a text such as ``1.6G``, ``7M``, ``30MB``, ``2MiB`` or ``1,582,671,872``.

    SI letters are powers of 1000, KiB to PiB powers of 1024; B stands for bytes, and behind a count
    of anything else for billions. A part of a unit that is left over is cut off. Raises `UsageError`.
    """
    found = _QUANTITY.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{metric} {text!r} is no count; write 1.6G, 7M, 30MB or 1582671872")
    digits, letter, binary, byte = found.groups()
    if metric not in IN_BYTES and (binary or (byte and letter)):
        raise UsageError(f"{metric} {text!r}: {metric} are no bytes; write {digits}{letter}")
    if metric not in IN_BYTES and byte:
        letter = byte
    base = 1024 if binary else 1000
    return int(Decimal(digits.replace(",", "").replace("_", "")) * base ** _POWERS[(letter or "").lower()])


def at_least(value: int, metric: str) -> str:
    """Return the shortest text of four digits or more whose count is no smaller than a value: ``1.583G``.

    Below 10,000 it is every digit; it is at most 0.1 % above the value.
    """
    unit = "B" if metric in IN_BYTES else ""
    if value < 10**_DIGITS:
        return f"{value}{unit}"
    for power, letter in enumerate("kMGTP", 1):
        scaled = Decimal(value) / 1000**power
        if scaled < 1000 or letter == "P":
            break
    places = max(0, _DIGITS - len(str(int(scaled))))
    rounded = scaled.quantize(Decimal(1).scaleb(-places), ROUND_CEILING)
    if rounded >= 1000 and letter != "P":
        return at_least(int(rounded * 1000**power), metric)
    text = f"{rounded:f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}{letter}{unit}"
