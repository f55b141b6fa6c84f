"""`Repository` and `Revision`: what people type for a commit or a range of them, and the commits that it names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from archlab.errors import UsageError, nearest
from archlab.guard.git import GitError, git

_FORMAT = "--format=%H%x00%T%x00%s"


@dataclass(frozen=True)
class Revision:
    """One commit: how it was typed, its hash, the hash of all its files, and its first line."""

    text: str = field(compare=False)
    commit: str
    tree: str
    subject: str

    @property
    def short(self) -> str:
        """The first digits of its hash."""
        return self.commit[:9]

    @property
    def name(self) -> str:
        """How it is called: as it was typed, with the first digits of its hash where that is another word."""
        return self.short if self.commit.startswith(self.text) else f"{self.text} ({self.short})"


@dataclass(frozen=True)
class Range:
    """The parts of ``A..B`` or ``A...B``; an empty side is HEAD."""

    old: str
    new: str
    from_merge_base: bool = False


def is_range(text: str) -> bool:
    """Return whether a text stands for a range of revisions: it has ``..`` and no path separator.

    >>> is_range("main..HEAD"), is_range("../net.py:Net"), is_range("..")
    (True, False, False)
    """
    return ".." in text and not any(sign in text for sign in "/\\") and bool(text.strip("."))


def no_range(text: str) -> str | None:
    """Return how to write what was meant as a range but has a path separator; None for any other text."""
    if is_range(text) or ".." not in text or os.path.exists(text):
        return None
    old, _, new = text.partition("..")
    if not old.strip("./\\") or "..." in text:
        return None
    return f"{text}: a range has no path separator; write its ends as two: archlab diff {old} {new or 'HEAD'}"


def range_of(text: str) -> Range:
    """Return the parts of a range; raise `UsageError` for a text that is none."""
    dots = "..." if "..." in text else ".."
    old, found, new = text.partition(dots)
    if not found or ".." in new or new.startswith(".") or not (old or new):
        raise UsageError(f"{text!r} is no range of revisions; write OLD..NEW, such as main..HEAD")
    return Range(old or "HEAD", new or "HEAD", dots == "...")


@dataclass(frozen=True)
class Repository:
    """A git repository with files: its top folder, where git keeps its things, and the project's folder in it."""

    root: Path
    common: Path
    prefix: str = ""

    @classmethod
    def of(cls, folder: Path) -> Repository:
        """Return the repository that a folder lies in; raise `UsageError` where there is none."""
        if os.name == "nt":  # runs hold locks of files and end groups of processes
            raise UsageError("revisions are counted on Linux and macOS; on Windows use its Linux subsystem")
        try:
            root = git(folder, "rev-parse", "--show-toplevel")
            common = git(folder, "rev-parse", "--git-common-dir")
            prefix = git(folder, "rev-parse", "--show-prefix")
        except GitError as error:
            raise UsageError(f"{folder}: {error}; revisions are those of a git repository with files") from None
        place = Path(os.path.realpath(folder / common))
        return cls(Path(os.path.realpath(root)), place, prefix.strip("/"))

    @property
    def folder(self) -> Path:
        """The project's folder."""
        return self.root / self.prefix

    def git(self, *words: str) -> str:
        """Return what git prints; raise `GitError` where it refuses."""
        return git(self.root, *words)

    def resolve(self, text: str) -> Revision:
        """Return the commit that a text names; raise `UsageError` with the nearest name where there is none."""
        if text and not text.startswith("-") and ".." not in text:
            try:
                found = self.git("rev-parse", "--verify", "--quiet", text)
                return self._read(text, self.git("rev-parse", "--verify", "--quiet", f"{found}^{{commit}}"))
            except GitError:
                pass
        raise UsageError(f"{text!r} is no revision of {self.root.name}{self._hint(text)}")

    def find(self, text: str) -> Revision | None:
        """Return the commit that a text names, None where there is none."""
        try:
            return self.resolve(text)
        except UsageError:
            return None

    def ends(self, text: str) -> tuple[Revision, Revision]:
        """Return the two commits that ``A..B`` compares, or ``A...B``: B with where it left A; raise `UsageError`."""
        parts = range_of(text)
        old, new = self.resolve(parts.old), self.resolve(parts.new)
        return (self._merge_base(old, new) if parts.from_merge_base else old), new

    def between(self, good: Revision, bad: Revision) -> list[Revision]:
        """Return the commits after `good` up to `bad`, oldest first, along first parents.

        Raises `UsageError` where `good` is no ancestor of `bad`.
        """
        try:
            self.git("merge-base", "--is-ancestor", good.commit, bad.commit)
        except GitError:
            base = f"; try {good.text}...{bad.text}, from where they parted" if not self._shallow else ""
            raise UsageError(f"{good.name} is no ancestor of {bad.name}{base}{self._shallow}") from None
        found = self.git("log", "--first-parent", "--reverse", _FORMAT, f"{good.commit}..{bad.commit}", "--")
        return [self._parsed(line) for line in found.split("\n") if line]

    def is_merge(self, revision: Revision) -> bool:
        """Return whether a commit has several parents."""
        return " " in self.git("log", "-1", "--format=%P", revision.commit, "--")

    def show(self, revision: Revision, name: str) -> str | None:
        """Return the text of a file of the project's folder in a revision, None where it is not there."""
        path = f"{self.prefix}/{name}" if self.prefix else name
        try:
            return self.git("cat-file", "blob", f"{revision.commit}:{path}") + "\n"
        except GitError:
            return None

    def _read(self, text: str, commit: str) -> Revision:
        found = self._parsed(self.git("log", "-1", "--no-show-signature", _FORMAT, commit, "--"))
        return Revision(text, found.commit, found.tree, found.subject)

    @staticmethod
    def _parsed(line: str) -> Revision:
        commit, tree, subject = line.split("\0", 2)
        return Revision(commit[:9], commit, tree, subject.encode("utf-8", "replace").decode())

    def _merge_base(self, old: Revision, new: Revision) -> Revision:
        try:
            base = self.git("merge-base", old.commit, new.commit)
        except GitError:
            raise UsageError(f"{old.name} and {new.name} have no commit in common{self._shallow}") from None
        return self._read(base[:9], base)

    def _hint(self, text: str) -> str:
        """Return what to type instead: a remote's branch of that name, or the nearest name."""
        names = self._names
        if text == "HEAD" or self.find("HEAD") is None:
            return "; it has no commit yet"
        remote = next((name for name in names if name.endswith(f"/{text}")), None) if text else None
        return (f"; did you mean {remote!r}?" if remote else nearest(text, names)) + self._shallow

    @cached_property
    def _names(self) -> Sequence[str]:
        found = self.git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")
        return found.split("\n") if found else []

    @property
    def _shallow(self) -> str:
        shallow = self.git("rev-parse", "--is-shallow-repository") == "true"
        return "; this clone is shallow: git fetch --unshallow" if shallow else ""
