"""Fixtures that several subjects share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from archlab.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command wrote and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command line in this process."""

    def run_command(*words: str) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, out, err)

    return run_command
