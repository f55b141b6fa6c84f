"""Independent counters, each run on a model in a process of its own."""

from __future__ import annotations

from archlab.pytorch.opinions.job import Job
from archlab.pytorch.opinions.runner import COUNTERS, FORWARD, opinion, opinions

__all__ = ["COUNTERS", "FORWARD", "Job", "opinion", "opinions"]
