"""The source ``apple``: the GPU of Apple's own chips, which uses the system's memory."""

from __future__ import annotations

import re
from typing import Any

from kitt_hardware.machine import Machine

__all__ = ["describe"]


def describe(machine: Machine) -> dict[str, Any]:
    """Return ``gpu``; nothing on other machines."""
    if machine.system != "Darwin":
        return {}
    output = machine.run("/usr/sbin/ioreg", "-r", "-d", "1", "-c", "IOAccelerator")
    named = re.search(r'"model" = "(Apple [^"]+)"', output)
    counted = re.search(r'"gpu-core-count" = (\d+)', output)
    if named is None or counted is None:
        # The second choice because it takes most of a second.
        output = machine.run("/usr/sbin/system_profiler", "SPDisplaysDataType")
        named = re.search(r"Chipset Model: (Apple .+)", output)
        counted = re.search(r"Total Number of Cores: (\d+)", output)
    if named is None:
        return {}  # a Mac with a GPU that is not Apple's
    # The same chip is sold with different numbers of GPU cores, so the number belongs to the name.
    cores = f" {counted[1]}-core GPU" if counted else ""
    device = {"vendor": "apple", "model": f"{named[1].strip()}{cores}", "vram_gb": 0, "unified_memory": True}
    return {
        "gpu": {"devices": [device]},
        **({} if counted else {"remarks": ["the number of GPU cores is not known"]}),
    }
