"""Documents as a comment that finds itself again by a hidden marker, and markdown cut to what GitHub takes."""

from __future__ import annotations

import re
from collections.abc import Callable

from archlab.report import markdown
from archlab.report.table import Document

LONGEST = 65_000
"""Characters of a comment; GitHub takes 65,536."""
TRUNCATED = "**Truncated**: the rest is longer than GitHub takes here; the command prints all of it."


def marker(name: str) -> str:
    """Return the hidden first line of a comment of that name."""
    return f"<!-- archlab:{re.sub(r'[^0-9A-Za-z_.:/@+]+', '-', name)} -->"


def comment(document: Document, name: str, exact: bool = False) -> str:
    """Return a document as the markdown of a comment: the marker first, no longer than GitHub takes."""
    return capped(f"{marker(name)}\n{markdown.render(document, exact)}", LONGEST)


def capped(text: str, most: int, size: Callable[[str], int] = len) -> str:
    """Return markdown of this package's, cut behind the last line that fits; what is open there is closed.

    That it was cut is said. `size` measures a text in the unit of `most`.
    """
    if size(text) <= most:
        return text
    lines = text.splitlines(keepends=True)
    kept, used, end, opened = 0, 0, "", ""
    fence, depth = "", 0
    for number, line in enumerate(lines, 1):
        used += size(line)
        words = line.rstrip("\n")
        if fence:
            fence = "" if words == fence else fence
        elif words.startswith("```"):
            fence = words
        elif words == "<details>":
            depth += 1
        elif words == "</details>":
            depth -= 1
        opened = (f"{fence}\n" if fence else "") + "\n</details>\n" * depth + f"\n{TRUNCATED}\n"
        if used + size(opened) > most:
            break
        if fence or _may_end(lines, number):
            kept, end = number, opened
    return "".join(lines[:kept]) + (end or f"\n{TRUNCATED}\n")


def _may_end(lines: list[str], number: int) -> bool:
    """Return whether markdown may end behind so many lines: not in a table's head, before a summary, at a break."""
    line, following = lines[number - 1], lines[number] if number < len(lines) else ""
    return not line.endswith("\\\n") and not following.startswith(("| ---", "<summary>"))
