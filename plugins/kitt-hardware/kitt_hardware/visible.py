"""Environment variables that hide GPUs from programs."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["visible_devices"]


def visible_devices(environ: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return those of the variables that are set.

    A UUID in one is replaced: it names one device on earth, and documents are shown to others.
    """
    return {
        name: re.sub(r"\b(GPU|MIG)-[\w/-]+", r"\1-uuid", environ[name])[:200] for name in names if name in environ
    }
