"""Whether the machine slowed itself down: heat, low voltage or a cap, as the kernel counts it.

x86: /sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count, events so far.
Raspberry Pi: soc:firmware/get_throttled, hexadecimal; bits 0 to 3 say what is so now
(under-voltage, capped, throttled, soft limit), 16 to 19 what was so since the boot.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

SYSTEM = Path("/sys")
COUNTS = "devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count"
FIRMWARE = "devices/platform/soc/soc:firmware/get_throttled"
NOW = 0xF


class Throttling:
    def __init__(self, root: Path = SYSTEM) -> None:
        self._counters = sorted(root.glob(COUNTS))
        self._firmware = root / FIRMWARE
        self._last = self._read()

    def since_last(self) -> Optional[bool]:
        """Whether it is, or was since the last call; None: this machine cannot tell."""
        found, last = self._read(), self._last
        self._last = found
        if found is None or last is None:
            return None
        events, flags = found
        return events > last[0] or flags != last[1] or bool(flags & NOW)

    def _read(self) -> Optional[tuple[int, int]]:
        """Events so far and the firmware's flags; 0 for what is not there."""
        try:
            flags = int(self._firmware.read_text(), 16) if self._firmware.exists() else 0
            events = sum(int(counter.read_text()) for counter in self._counters)
        except (OSError, ValueError):  # a core went offline, or may not be read
            return None
        return (events, flags) if self._counters or self._firmware.exists() else None
