"""Measures what `reports/auxiliary-classifiers.md` shows: GoogLeNet's gradients with and without its auxiliary heads.

Run as ``python benchmarks/gradients.py``; it takes some ten minutes on two cores, and writes one file a network
into ``archlab/studies/measured/``. Then ``archlab report`` renders the page anew.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import archlab
from archlab.gradients import Setting
from archlab.studies.auxiliary_measured import HOME, NETWORKS, SETTING

DIGITS = 7
"""As many as a float32 holds."""


def rounded(value: Any) -> Any:
    """Return plain data with every number to so many digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


def written(data: dict[str, Any]) -> str:
    """Return what is read back as JSON: a line a run, without the medians, which follow from the runs."""
    runs = ",\n".join(json.dumps(rounded(run), ensure_ascii=False) for run in data["runs"])
    head = {key: value for key, value in data.items() if key not in ("blocks", "runs")}
    return json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}") + f',\n "runs": [\n{runs}\n]\n}}\n'


def told(subject: str, init: str, seed: int, done: int, of: int) -> None:
    print(f"\r\x1b[K{subject}: {init}, seed {seed} ({done} of {of} passes done)", end="", file=sys.stderr)


def main() -> None:
    HOME.mkdir(exist_ok=True)
    for network in sys.argv[1:] or NETWORKS:
        flow = archlab.gradient_flow(f"{network}+no_aux", network, setting=Setting(**SETTING), told=told)
        if flow.interrupted:
            raise SystemExit(130)
        path = HOME / f"{network}.json"
        path.write_text(written(flow.to_dict()), encoding="utf-8")
        print(f"\r\x1b[Kwrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
