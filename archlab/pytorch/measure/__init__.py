"""What a model costs where it runs: time and operations, layer by layer, on the device itself."""

from __future__ import annotations

from archlab.pytorch.measure.settings import Settings
from archlab.pytorch.measure.subject import Running, running, running_live
from archlab.pytorch.measure.timing import measured, undisturbed

__all__ = ["Running", "Settings", "measured", "running", "running_live", "undisturbed"]
