"""What a piece of work adds to the memory of this process, as Linux counts it."""

import ctypes
import gc
import re
from pathlib import Path

_STATUS = Path("/proc/self/status")
_FORGET = Path("/proc/self/clear_refs")


class Watch:
    """The memory of this process, from the moment at which the watch is made.

    Everything that was freed before is handed back first, so that it cannot hide what comes. Numbers are in MiB, and
    None where the system does not tell (elsewhere than on Linux).
    """

    def __init__(self) -> None:
        _hand_back()
        self._before = _resident("VmRSS")
        self._forgot = _forget_the_most()

    def held(self) -> float | None:
        """How much more is held now, what was freed meanwhile handed back."""
        _hand_back()
        now = _resident("VmRSS")
        return None if now is None or self._before is None else now - self._before

    def most(self) -> float | None:
        """How much more was held at most since the watch was made."""
        most = _resident("VmHWM")
        return None if most is None or self._before is None or not self._forgot else most - self._before


def _resident(which: str) -> float | None:
    """Resident memory in MiB: "VmRSS" now, "VmHWM" at most."""
    try:
        said = re.search(rf"^{which}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if said is None else int(said[1]) / 1024


def _forget_the_most() -> bool:
    """Start the count of "VmHWM" anew; whether the system allows it."""
    try:
        _FORGET.write_text("5")
    except OSError:
        return False
    return True


def _hand_back() -> None:
    """Return freed memory to the system, where the C library can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
