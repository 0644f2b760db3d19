"""Fingerprints: what tells one machine from another, and one software state from another.

Plugins register `FingerprintSource` records; each collects a part of ``system_info`` (the GPU, the host).
`collect_system_info` merges the parts and derives three texts from them, all by pure functions that work on
documents of any age too:

- `fingerprint_text`: the readable fingerprint, in KITT's form and safe as a file name;
- `machine_id`: equal as long as the hardware is the same, whatever kernel or driver runs on it;
- `software_id`: equal as long as operating system, driver and CUDA are the same, whatever the hardware.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import field, frozen

__all__ = [
    "FINGERPRINT_API_VERSION",
    "FingerprintSource",
    "SystemInfo",
    "collect_system_info",
    "cpu_label",
    "fingerprint_text",
    "machine_id",
    "software_id",
]

FINGERPRINT_API_VERSION: Final = 1
"""The version of this module's contract; a record that asks for a newer one is refused."""

_ID_LENGTH: Final = 16
_LONGEST_SEGMENT: Final = 64
_LONGEST_TEXT: Final = 200  # leaves room for a prefix and a suffix in a file name of 255 bytes
_ALWAYS_PRESENT: Final = ("gpu", "cuda_version", "driver_version")
_KEY_ORDER: Final = (
    "gpu",
    "cpu",
    "ram_gb",
    "ram_type",
    "storage",
    "cuda_version",
    "driver_version",
    "os",
    "kernel",
    "environment_type",
)


@frozen
class FingerprintSource:
    """The record that a fingerprint plugin registers.

    Attributes:
        name: What `kitt plugins list` shows; equal to the entry point's name.
        collect: Returns sections of ``system_info`` (``gpu``, ``cpu``, ``ram_gb`` …) as JSON values; leaves
            out what it can't find. It may raise: the other sources are asked all the same. Imports what is
            heavy only when called.
        summary: One line for listings.
        api_version: The `FINGERPRINT_API_VERSION` that it was written for.
    """

    name: str
    collect: Callable[[], Mapping[str, Any]] = field(repr=False)
    summary: str = ""
    api_version: int = 1


@frozen
class SystemInfo:
    """What all sources together found.

    Attributes:
        sections: The ``system_info`` object of a document, ready for JSON, ``fingerprint``, ``machine`` and
            ``software`` included.
        notes: One line per source or section that could not be had, with the reason.
    """

    sections: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The readable fingerprint, empty if nothing was found."""
        return str(self.sections["fingerprint"])


def collect_system_info(sources: Iterable[FingerprintSource]) -> SystemInfo:
    """Ask every source and merge what they find; never raises because of one.

    A value that an earlier source found stays; objects (``cpu``, ``storage``) are merged key by key, and null
    never hides a value.
    """
    merged: dict[str, Any] = {}
    notes: list[str] = []
    for source in sources:
        _merge(merged, _asked(source, notes))
    for key in _ALWAYS_PRESENT:
        merged.setdefault(key, None)
    ordered: dict[str, Any] = {key: merged.pop(key) for key in _KEY_ORDER if key in merged}
    ordered |= merged
    ids = {"machine": machine_id(ordered), "software": software_id(ordered)}
    ordered["fingerprint"] = fingerprint_text(ordered)
    ordered |= {key: value for key, value in ids.items() if value is not None}
    return SystemInfo(ordered, tuple(notes))


def _asked(source: FingerprintSource, notes: list[str]) -> dict[str, Any]:
    try:
        found = dict(source.collect())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a source is foreign code: its failure is a note
        reason = " ".join(str(error).split()) or "no reason given"
        notes.append(f"{source.name}: {type(error).__name__}: {reason}")
        return {}
    kept: dict[str, Any] = {}
    for key, value in found.items():
        try:
            # One value that is not JSON would make the whole run impossible to store.
            kept[str(key)] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            notes.append(f"{source.name}: {key} is left out, it is not JSON: {' '.join(str(error).split())}")
    return kept


def _merge(into: dict[str, Any], found: Mapping[str, Any]) -> None:
    for key, value in found.items():
        present = into.get(key)
        if present is None:
            into[key] = value
        elif isinstance(present, dict) and isinstance(value, dict):
            _merge(present, value)


def fingerprint_text(system_info: Mapping[str, Any]) -> str:
    """Return the readable fingerprint of a ``system_info`` object.

    The form is ``{gpu}-{vram}_{cpu}-{cores}_{ram}-{type}_{storage}_{cuda}_{driver}_{os}``; what is not known
    is left out. Only ``A-Za-z0-9._-`` occur, ``_`` only between the segments, so that the text is one safe
    file name. Values of wrong types count as not known. Empty if nothing is known.
    """
    gpu, cpu, storage = (_object(system_info.get(key)) for key in ("gpu", "cpu", "storage"))
    ram_gb = _positive(system_info.get("ram_gb"))
    cuda = _segment(system_info.get("cuda_version"))
    segments = (
        _gpu_segment(gpu, ram_gb),
        _cpu_segment(cpu),
        f"{ram_gb}GB-{_segment(system_info.get('ram_type')) or 'Unknown'}" if ram_gb else "",
        _storage_segment(storage),
        f"CUDA-{cuda}" if cuda else "",
        _segment(system_info.get("driver_version")),
        _segment(system_info.get("os")),
    )
    text = "_".join(segment for segment in segments if segment)
    if len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[: _LONGEST_TEXT - 9]}-{hashlib.sha256(text.encode('ascii')).hexdigest()[:8]}"


def cpu_label(model: str) -> str:
    """Return the part of a CPU's brand string that identifies it, as words joined by ``-``.

    ``AMD EPYC 7763 64-Core Processor`` is ``AMD-EPYC-7763``; marks, core counts, clock rates and built-in
    graphics go. The clock rate stays where nothing else tells the model (``Intel(R) Xeon(R) CPU @ 2.20GHz``).
    """
    clock = re.search(r"@\s*([\d.]+\s*[GM]Hz)", model, re.IGNORECASE)
    text = re.sub(r"\((?:R|TM|C)\)|[®™]", " ", model, flags=re.IGNORECASE)
    text = re.sub(r"@.*|\bw(?:ith\b|/).*|\b[0-9]+(?:st|nd|rd|th) Gen\b", " ", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(?:[\w]+-Core|CPU|Processor)\b", " ", text, flags=re.IGNORECASE)
    label = _segment(text)
    if label and clock and not any(character.isdigit() for character in label):
        label = f"{label}-{_segment(clock.group(1).replace(' ', ''))}"
    return label or _segment(model)


def machine_id(system_info: Mapping[str, Any]) -> str | None:
    """Return 16 hexadecimal digits that stay while the hardware stays; None if no hardware is known.

    GPU, CPU and installed memory go into it. Kernel, driver and environment do not; nor do memory type and
    disk: which of them can be read, and which disk is the first, depends on privileges and on the last boot.
    """
    gpu, cpu = (_object(system_info.get(key)) for key in ("gpu", "cpu"))
    ram_gb = _positive(system_info.get("ram_gb"))
    facts = {
        "gpu": _segment(gpu.get("model")),
        "gpu_vram_gb": _positive(gpu.get("vram_gb")),
        "gpu_count": _positive(gpu.get("count")) or 1,
        "cpu": cpu_label(_text(cpu.get("model"))),
        "cpu_cores": _positive(cpu.get("cores")),
        "ram_gb": _installed_gb(ram_gb),
    }
    return _digest(facts) if facts["gpu"] or facts["cpu"] or facts["ram_gb"] else None


def software_id(system_info: Mapping[str, Any]) -> str | None:
    """Return 16 hexadecimal digits for system, kernel, driver and CUDA; None if none of them is known."""
    keys = ("os", "kernel", "driver_version", "cuda_version", "environment_type")
    facts = {key: _text(system_info.get(key)) for key in keys}
    return _digest(facts) if any(facts.values()) else None


def _gpu_segment(gpu: Mapping[str, Any], ram_gb: int) -> str:
    label = _segment(gpu.get("model"))
    if not label:
        return ""
    # Unified memory (GH200, GB10) has no video memory of its own: the system's is used, as KITT does.
    vram = _positive(gpu.get("vram_gb")) or ram_gb
    count = _positive(gpu.get("count"))
    return label + (f"-{vram}GB" if vram else "") + (f"-{count}x" if count > 1 else "")


def _cpu_segment(cpu: Mapping[str, Any]) -> str:
    label = cpu_label(_text(cpu.get("model")))
    cores = _positive(cpu.get("cores"))
    if not label and not cores:
        return ""
    return (label or "UnknownCPU") + (f"-{cores}c" if cores else "")


def _storage_segment(storage: Mapping[str, Any]) -> str:
    parts = [_segment(storage.get(key)) for key in ("brand", "model", "type")]
    parts[2] = parts[2].upper()
    return "-".join(part for part in parts if part and part.lower() != "unknown")


def _segment(value: Any) -> str:
    """Make ``value`` one file-name safe segment without the separator."""
    # A plus tells models apart (Xeon 8480 and 8480+), so it is spelled out instead of dropped.
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", _text(value).replace("+", "plus"))
    return plain[:_LONGEST_SEGMENT].strip("-.")


def _installed_gb(visible: int) -> int:
    """Round visible memory up to an installable size: firmware and kernel keep some, not always as much."""
    step = max(1, 1 << max(0, visible.bit_length() - 3))
    return -(-visible // step) * step


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _positive(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    try:
        whole = int(value)
    except (ValueError, OverflowError):
        return 0
    return whole if 0 < whole < 1 << 31 else 0


def _digest(facts: Mapping[str, Any]) -> str:
    written = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(written.encode("utf-8")).hexdigest()[:_ID_LENGTH]
