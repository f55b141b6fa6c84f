"""Make a report of what `sweep_trace.py` wrote: totals, versions, and every exception with its reason.

python benchmarks/render_sweep.py timm FILE...                    -> benchmarks/results/timm.md
python benchmarks/render_sweep.py transformers DEFAULT -- TINY    -> benchmarks/results/transformers.md
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import sys
from collections import Counter
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]
RESULTS = Path(__file__).parent / "results"
TRACED = ("complete", "assumed", "uncounted")


def read(paths: list[str]) -> Rows:
    rows = [json.loads(line) for path in paths for line in Path(path).read_text(encoding="utf-8").splitlines()]
    return sorted(rows, key=lambda row: str(row["name"]))


def head(title: str, *packages: str) -> list[str]:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", *packages))
    today = datetime.date.today().isoformat()
    return [f"# {title}", "", f"{today}, {versions}, Python {platform.python_version()}, {platform.machine()}", ""]


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines] + [""]


def timm(paths: list[str]) -> list[str]:
    rows = read(paths)
    done = [row for row in rows if row["status"] in TRACED]
    counts = Counter(row["status"] for row in rows)
    took = sorted(row["traced"] for row in done)
    lines = head("Every architecture of timm, traced without weights", "timm")
    lines += [
        f"{len(rows)} architectures at their own input size, built on meta: "
        + listed(counts, list(counts))
        + f". A trace took {took[len(took) // 2] * 1000:.0f} ms in the median, {took[-1]:.1f} s at most, "
        "on a busy 2-core machine.",
        "",
    ]
    lines += exceptions(rows)
    lines += ["## Counts", ""]
    return lines + table(
        ["architecture", "MACs", "FLOPs", "params"],
        [[row["name"], *(f"{row[key]:,}" for key in ("macs", "flops", "params"))] for row in done],
    )


def listed(counts: Counter[str], chosen: Any) -> str:
    return ", ".join(f"{n} {status}" for status, n in counts.most_common() if status in chosen)


def exceptions(rows: Rows) -> list[str]:
    """Return a table of what is not complete, or one sentence that says that all is."""
    left = [row for row in rows if row["status"] != "complete"]
    if not left:
        return ["Every one is complete: nothing is uncounted, nothing assumed.", ""]
    return [
        "## Exceptions",
        "",
        *table(["name", "status", "why"], [[r["name"], r["status"], reason(r)] for r in left]),
    ]


def reason(row: dict[str, Any]) -> str:
    if row["status"] in TRACED:
        found = row["uncounted"] or row["assumed"]
        return ", ".join(f"{name} ({times}×)" for name, times in found.items())
    alone = str(row.get("alone", ""))
    alone = "transformers' own constructor fails so" if alone.startswith("the constructor fails") else alone
    return f"{str(row.get('error', '')).rpartition('constructor failed: ')[2]}; {alone}"


def transformers(default: list[str], tiny: list[str]) -> list[str]:
    rows, small = read(default), read(tiny)
    counts, compared = Counter(row["status"] for row in rows), Counter(row["status"] for row in small)
    done = [row for row in rows if row["status"] in TRACED]
    lines = head("Every causal language model of transformers", "transformers")
    beyond = sum(row.get("cpu", {}).get("beyond", 0) > 0 for row in small)
    lines += [
        f"{len(rows)} model types. With their default configuration, on meta, 16 tokens, no cache: "
        f"{len(done)} traced ({listed(counts, TRACED)}); transformers itself cannot build {counts['not built']}, "
        f"and {counts['failed']} do not run.",
        "",
        "Configured small, with eager attention, each was traced on meta and as a real model on the CPU, and run for "
        f"real under torch's `FlopCounterMode`: {compared['same']} have the same MACs, FLOPs and params in both "
        "traces, and MACs of half of what torch's counter finds, but for `grouped_mm` and `solve_triangular`, for "
        f"which it has no formula ({beyond} models). Of the others: "
        f"{listed(compared, [status for status in compared if status != 'same'])}. "
        f"{compared['differs'] or 'None'} differ between the CPU and meta.",
        "",
        *exceptions(rows),
        "## Exceptions of the comparison",
        "",
    ]
    left = [row for row in small if row["status"] != "same"]
    lines += table(["name", "status", "why"], [[row["name"], row["status"], doubt(row)] for row in left])
    lines += ["## Counts with the default configuration, 16 tokens", ""]
    return lines + table(
        ["type", "MACs", "FLOPs", "params"],
        [[row["name"], *(f"{row[key]:,}" for key in ("macs", "flops", "params"))] for row in done],
    )


def doubt(row: dict[str, Any]) -> str:
    if row["status"] == "not small":
        return f"{row['elements']:,} params with few layers: not run for real"
    if row["status"] == "torch counts otherwise":
        cpu = row["cpu"]
        return f"ours {cpu['macs']:,}, torch's {row['torch']:,}; assumed: {', '.join(cpu['assumed']) or 'nothing'}"
    return str(row.get("error", ""))


def main() -> None:
    match sys.argv[1:]:
        case ["timm", *paths] if paths:
            name, lines = "timm", timm(paths)
        case ["transformers", *paths] if "--" in paths:
            at = paths.index("--")
            name, lines = "transformers", transformers(paths[:at], paths[at + 1 :])
        case _:
            raise SystemExit(__doc__)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(f"wrote {RESULTS / name}.md")


if __name__ == "__main__":
    main()
