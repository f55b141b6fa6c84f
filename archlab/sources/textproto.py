"""Protobuf's text format, read without a schema: messages of fields, each with the line it stands on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from archlab.errors import ReadError
from archlab.ir import LARGEST

MAX_DEPTH = 64
"""More levels than any network has."""
_TOKEN = re.compile(
    r"""(?P<space>[\s]+|\#[^\n]*)|(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<word>[-+.\w]+)|(?P<mark>[{}<>:\[\],;])"""
)
_INTEGER = re.compile(r"[-+]?[0-9]{1,20}")
_NUMBER = re.compile(r"[-+]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][-+]?[0-9]{1,4})?[fF]?")
_FLAGS = {"true": True, "True": True, "t": True, "1": True, "false": False, "False": False, "f": False, "0": False}


@dataclass(frozen=True)
class Scalar:
    """A value as it is written."""

    text: str
    line: int
    quoted: bool = False


@dataclass
class Message:
    """The fields of a message by name, in order; `at` names its place in errors."""

    where: str
    line: int
    fields: dict[str, list[Scalar | Message]] = field(default_factory=dict)

    @property
    def at(self) -> str:
        """The file and the line."""
        return f"{self.where}: line {self.line}"

    def messages(self, name: str) -> list[Message]:
        """Return every value of a field, all of which must be messages."""
        found = []
        for value in self.fields.get(name, []):
            if isinstance(value, Scalar):
                raise ReadError(f"{self.where}: line {value.line}: {name} must be a message {{ … }}")
            found.append(value)
        return found

    def message(self, name: str) -> Message:
        """Return a message of that name, all of them merged; an empty one if there is none."""
        merged = Message(self.where, self.line)
        for each in self.messages(name):
            merged.line = each.line
            for key, values in each.fields.items():
                merged.fields.setdefault(key, []).extend(values)
        return merged

    def scalars(self, name: str) -> list[Scalar]:
        """Return every value of a field, none of which may be a message."""
        found = []
        for value in self.fields.get(name, []):
            if isinstance(value, Message):
                raise ReadError(f"{value.at}: {name} must be one value, not a message")
            found.append(value)
        return found

    def texts(self, name: str) -> list[str]:
        """Return every value of a field as it is written."""
        return [value.text for value in self.scalars(name)]

    def text(self, name: str, default: str = "") -> str:
        """Return the last value of a field as it is written."""
        return next(reversed(self.texts(name)), default)

    def integers(self, name: str) -> list[int]:
        """Return every value of a field, all of which must be integers of 64 bits."""
        found = []
        for value in self.scalars(name):
            if not _INTEGER.fullmatch(value.text) or abs(int(value.text)) > LARGEST:
                raise self._wrong(name, "an integer of 64 bits", value)
            found.append(int(value.text))
        return found

    def integer(self, name: str, default: int) -> int:
        """Return the last value of a field as an integer."""
        return next(reversed(self.integers(name)), default)

    def numbers(self, name: str) -> list[float]:
        """Return every value of a field as a number."""
        found = []
        for value in self.scalars(name):
            if not _NUMBER.fullmatch(value.text):
                raise self._wrong(name, "a number", value)
            found.append(float(value.text.rstrip("fF")))
        return found

    def number(self, name: str, default: float) -> float:
        """Return the last value of a field as a number."""
        return next(reversed(self.numbers(name)), default)

    def flag(self, name: str, default: bool) -> bool:
        """Return the last value of a field as true or false."""
        for value in reversed(self.scalars(name)):
            if value.text not in _FLAGS:
                raise self._wrong(name, "true or false", value)
            return _FLAGS[value.text]
        return default

    def _wrong(self, name: str, wanted: str, value: Scalar) -> ReadError:
        text = value.text if len(value.text) <= 40 else f"{value.text[:37]}..."
        return ReadError(f"{self.where}: line {value.line}: {name} must be {wanted}, got {text!r}")


def parse(text: str, where: str) -> Message:
    """Return the message that a text describes; raise `ReadError` with the line where it is none."""
    reader = _Tokens(text, where)
    root = Message(where, 1)
    open_: list[tuple[Message, str]] = [(root, "")]
    while (token := reader.next()) is not None:
        kind, word, line = token
        inner, close = open_[-1]
        if kind == "mark" and word in ",;":
            continue
        if kind == "mark" and word == close and close:
            open_.pop()
            continue
        if kind != "word" or not re.fullmatch(r"[A-Za-z_]\w*", word):
            raise ReadError(f"{where}: line {line}: expected the name of a field, got {word[:40]!r}")
        colon = reader.take(":")
        values = inner.fields.setdefault(word, [])
        opened = reader.take("{") or reader.take("<")
        if opened:
            if len(open_) > MAX_DEPTH:
                raise ReadError(f"{where}: line {line}: messages are nested more than {MAX_DEPTH} deep")
            made = Message(where, line)
            values.append(made)
            open_.append((made, "}" if opened == "{" else ">"))
        elif not colon:
            raise ReadError(f"{where}: line {line}: expected ':' or '{{' after {word[:40]!r}")
        elif reader.take("["):
            values.extend(reader.listed(word))
        else:
            values.append(reader.scalar(word))
    if len(open_) > 1:
        raise ReadError(f"{where}: ends inside of the message that line {open_[-1][0].line} opens")
    return root


class _Tokens:
    def __init__(self, text: str, where: str) -> None:
        self.where, self._line, self._made = where, 1, self._split(text)
        self._ahead: tuple[str, str, int] | None = None

    def _split(self, text: str) -> Iterator[tuple[str, str, int]]:
        place = 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise ReadError(f"{self.where}: line {self._line}: cannot read {text[place : place + 10]!r}")
            place = match.end()
            if match.lastgroup != "space":
                yield str(match.lastgroup), match.group(), self._line
            self._line += match.group().count("\n")

    def next(self) -> tuple[str, str, int] | None:
        """Return the next token, None at the end."""
        token, self._ahead = self._ahead, None
        return token or next(self._made, None)

    def take(self, mark: str) -> str:
        """Return the mark if it comes next, and step over it."""
        self._ahead = self._ahead or next(self._made, None)
        if self._ahead is None or self._ahead[:2] != ("mark", mark):
            return ""
        self._ahead = None
        return mark

    def scalar(self, name: str) -> Scalar:
        """Return the value that comes next; strings that follow each other are one."""
        token = self.next()
        if token is None or token[0] == "mark":
            what, line = ("the end", self._line) if token is None else (repr(token[1]), token[2])
            raise ReadError(f"{self.where}: line {line}: expected a value of {name[:40]}, got {what}")
        kind, word, line = token
        if kind == "word":
            return Scalar(word, line)
        parts = [_unquoted(word)]
        while (follows := self.next()) is not None and follows[0] == "string":
            parts.append(_unquoted(follows[1]))
        self._ahead = follows
        return Scalar("".join(parts), line, True)

    def listed(self, name: str) -> Sequence[Scalar]:
        """Return the values up to ``]``."""
        values: list[Scalar] = []
        while not self.take("]"):
            values.append(self.scalar(name))
            self.take(",")
        return values


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1])
