"""The calibration of the device in hand: measured once, and kept in the user's cache folder."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import torch

from archlab.analyses.calibration import Calibration
from archlab.errors import ArchlabWarning, OutputError, ReadError, UsageError
from archlab.files import write
from archlab.pytorch.sustained import calibrate, device_name

Tell = Callable[[str], None]


def calibrated(
    device: str | None = None,
    *,
    recalibrate: bool = False,
    told: Tell | None = None,
    measure: Callable[..., Calibration] | None = None,
) -> Calibration:
    """Return what is kept of a device's calibration, or a new one; by default of the accelerator, or else the CPU.

    It is kept by device, number of threads and version of torch; `ArchlabWarning` where it cannot be.
    Raises `UsageError` for a device that is not there.
    """
    where = _device(device)
    path = cache_folder() / "calibrations" / f"{_digest(where)}.json"
    if not recalibrate:
        try:
            return Calibration.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, ReadError):
            pass  # none yet, or one that cannot be read: it is measured anew
    made = (measure or calibrate)(where, told)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, json.dumps(made.to_dict(), indent=1) + "\n")
    except (OSError, OutputError) as error:
        warnings.warn(
            ArchlabWarning(f"the calibration is not kept, the next run measures anew: {error}"), stacklevel=2
        )
    return made


def cache_folder() -> Path:
    """Return where this user's programs keep what can be made anew: by XDG_CACHE_HOME, else as the system has it."""
    home = os.environ.get("XDG_CACHE_HOME")
    if home and os.path.isabs(home):
        return Path(home) / "archlab"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "archlab"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "archlab" / "Cache"
    return Path.home() / ".cache" / "archlab"


def _device(text: str | None) -> torch.device:
    if text is None:
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        found = torch.device(text)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(f"there is no device {text!r} here: {str(error).splitlines()[0]}") from None
    return found


def _digest(device: torch.device) -> str:
    key = [device.type, device_name(device), torch.get_num_threads(), torch.__version__]
    return sha256(json.dumps(key).encode()).hexdigest()[:32]
