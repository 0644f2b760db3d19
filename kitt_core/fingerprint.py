"""Fingerprints: what distinguishes one machine from another, and one software state from another.

Plugins register `FingerprintSource` records; each collects a part of ``system_info`` (the GPU, the host).
`collect_system_info` merges the parts and derives three texts from them, all by pure functions that also work on
old documents:

- `fingerprint_text`: the readable fingerprint, in KITT's form and safe as a file name;
- `machine_id`: the same as long as the hardware is the same, whatever kernel or driver runs on it;
- `software_id`: the same as long as operating system, driver and CUDA are the same, whatever the hardware.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from typing import Any, Final

from attrs import evolve, field, frozen

from kitt_core.errors import InvalidDocumentError
from kitt_core.runs.checking import check_run

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
"""The version of this module's contract; a record that needs a newer one is refused."""

_ID_LENGTH: Final = 16
_LONGEST_SEGMENT: Final = 64
_LONGEST_TEXT: Final = 200  # leaves room for a prefix and a suffix in a file name of 255 bytes
_REMARKS: Final = "remarks"
_ALWAYS_PRESENT: Final = ("gpu", "cuda_version", "driver_version")
_KEY_ORDER: Final = (
    "gpu",
    "cpu",
    "ram_gb",
    "ram_type",
    "storage",
    "cuda_version",
    "rocm_version",
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
        collect: Returns sections of ``system_info`` (``gpu``, ``cpu``, ``ram_gb`` …) as JSON values and leaves
            out what it can't find. GPUs are objects in ``gpu.devices``, from which the other keys of ``gpu``
            are derived. The key ``remarks`` is a list of lines that say what could not be read and why; they
            are shown but not stored. It may raise: the other sources are still called. Imports heavy modules
            only when called.
        summary: One line for listings.
        api_version: The `FINGERPRINT_API_VERSION` that it was written for.
    """

    name: str
    collect: Callable[[], Mapping[str, Any]] = field(repr=False)
    summary: str = ""
    api_version: int = 1


@frozen
class SystemInfo:
    """What all sources found together.

    Attributes:
        sections: The ``system_info`` object of a document, ready for JSON, ``fingerprint``, ``machine`` and
            ``software`` included.
        notes: One line for each source that failed and each section that was left out, with the reason.
        remarks: What the sources themselves could not read, each line with its source.
        sources: The sections that each source found, by the source's name; empty for one that failed.
    """

    sections: dict[str, Any]
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    sources: Mapping[str, tuple[str, ...]] = field(factory=dict)

    @property
    def fingerprint(self) -> str:
        """The readable fingerprint, empty if nothing was found."""
        return str(self.sections["fingerprint"])


def collect_system_info(sources: Iterable[FingerprintSource]) -> SystemInfo:
    """Call every source and merge what they find; a source that fails never makes this raise.

    The first source that finds a value wins; objects (``cpu``, ``storage``) are merged key by key, lists
    (``gpu.devices``) are concatenated, and null never hides a value.
    """
    merged: dict[str, Any] = {}
    notes: list[str] = []
    remarks: list[str] = []
    found: dict[str, tuple[str, ...]] = {}
    for source in sources:
        sections = _collected(source, notes)
        given = sections.pop(_REMARKS, [])
        if isinstance(given, list):
            remarks += [f"{source.name}: {' '.join(line.split())}" for line in given if isinstance(line, str)]
        found[source.name] = tuple(sections)
        _merge(merged, sections)
    if isinstance(merged.get("gpu"), dict):
        merged["gpu"] = _with_summary(merged["gpu"])
    for key in _ALWAYS_PRESENT:
        merged.setdefault(key, None)
    ordered: dict[str, Any] = {key: merged.pop(key) for key in _KEY_ORDER if key in merged}
    ordered |= merged
    ids = {"machine": machine_id(ordered), "software": software_id(ordered)}
    ordered["fingerprint"] = fingerprint_text(ordered)
    ordered |= {key: value for key, value in ids.items() if value is not None}
    return SystemInfo(ordered, tuple(notes), tuple(remarks), found)


@frozen
class _GpuGroup:
    """Identical GPUs: their model, GiB of video memory (0: shared with the system) and number."""

    model: str
    vram_gb: int | None
    count: int
    compute_capability: Any = field(default=None, eq=False)


def _devices(gpu: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    given = gpu.get("devices")
    named = (
        [d for d in given if isinstance(d, Mapping) and _text(d.get("model"))] if isinstance(given, list) else []
    )
    # Integrated graphics say nothing about a machine that has GPUs, and come and go with a BIOS setting.
    return [device for device in named if device.get("integrated") is not True] or named


def _gpu_groups(gpu: Mapping[str, Any]) -> list[_GpuGroup]:
    """Return the groups of identical GPUs, the largest memory first, independent of their order on the bus."""
    devices = _devices(gpu)
    if not devices:
        model = _text(gpu.get("model"))
        return [_GpuGroup(model, _memory(gpu), _positive(gpu.get("count")) or 1)] if _segment(model) else []
    counts = Counter(
        _GpuGroup(_text(device.get("model")), _memory(device), 0, device.get("compute_capability"))
        for device in devices
    )
    groups = [evolve(group, count=count) for group, count in counts.items()]
    return sorted(groups, key=lambda group: (-(group.vram_gb or 0), -group.count, group.model))


def _memory(gpu: Mapping[str, Any]) -> int | None:
    given = gpu.get("vram_gb")
    return None if isinstance(given, bool) or not isinstance(given, int | float) else _positive(given)


def _with_summary(gpu: dict[str, Any]) -> dict[str, Any]:
    """Return ``gpu`` with the keys that KITT's documents have, taken from the first group of its devices."""
    groups = _gpu_groups(gpu)
    if "model" in gpu or not groups:
        return gpu
    first = groups[0]
    summary: dict[str, Any] = {"model": first.model}
    if first.vram_gb is not None:
        summary["vram_gb"] = first.vram_gb
    summary |= {"count": first.count, "compute_capability": first.compute_capability}
    return {**summary, **gpu}


def _collected(source: FingerprintSource, notes: list[str]) -> dict[str, Any]:
    try:
        with redirect_stdout(sys.stderr):  # a driver that prints must not spoil what a command prints
            found = dict(source.collect())
    except (Exception, SystemExit) as error:  # noqa: BLE001 - sources are third-party code
        reason = " ".join(str(error).split()) or "no reason given"
        notes.append(f"{source.name}: {type(error).__name__}: {reason}")
        return {}
    kept: dict[str, Any] = {}
    for key, value in found.items():
        try:
            # A single value that is not JSON would make it impossible to store the run.
            kept[str(key)] = json.loads(json.dumps(value, allow_nan=False))
            _check(str(key), kept[str(key)])
        except InvalidDocumentError as error:
            del kept[str(key)]
            notes.append(f"{source.name}: {key} is left out: {error.message}")
        except (TypeError, ValueError, RecursionError) as error:
            notes.append(f"{source.name}: {key} is left out: it is not JSON: {' '.join(str(error).split())}")
    return kept


def _check(key: str, value: Any) -> None:
    """Check that a run with this section can be stored, so that no source can make a finished run unstorable.

    Raises:
        InvalidDocumentError: It cannot be stored.
    """
    if key != _REMARKS:
        check_run({"model": "", "engine": "", "system_info": {key: value}})


def _merge(into: dict[str, Any], found: Mapping[str, Any]) -> None:
    for key, value in found.items():
        present = into.get(key)
        if present is None:
            into[key] = value
        elif isinstance(present, dict) and isinstance(value, dict):
            _merge(present, value)
        elif isinstance(present, list) and isinstance(value, list):
            present.extend(value)


def fingerprint_text(system_info: Mapping[str, Any]) -> str:
    """Return the readable fingerprint of a ``system_info`` object.

    The form is ``{gpu}-{vram}_{cpu}-{cores}_{ram}-{type}_{storage}_{cuda}_{driver}_{os}``; unknown parts are
    left out. It contains only ``A-Za-z0-9._-``, with ``_`` only between segments, so that it is a safe file name.
    Values of wrong types count as unknown. Empty if nothing is known.
    """
    gpu, cpu, storage = (_object(system_info.get(key)) for key in ("gpu", "cpu", "storage"))
    ram_gb = _positive(system_info.get("ram_gb"))
    cuda, rocm = (_segment(system_info.get(key)) for key in ("cuda_version", "rocm_version"))
    segments = (
        _gpu_segment(gpu, ram_gb),
        _cpu_segment(cpu),
        f"{ram_gb}GB-{_segment(system_info.get('ram_type')) or 'Unknown'}" if ram_gb else "",
        _storage_segment(storage),
        f"CUDA-{cuda}" if cuda else f"ROCm-{rocm}" if rocm else "",
        _segment(system_info.get("driver_version")),
        _segment(system_info.get("os")),
    )
    text = "_".join(segment for segment in segments if segment)
    return _bounded(text, _LONGEST_TEXT)


def cpu_label(model: str) -> str:
    """Return the part of a CPU's brand string that identifies it, as words joined by ``-``.

    ``AMD EPYC 7763 64-Core Processor`` becomes ``AMD-EPYC-7763``; trademark signs, core counts, clock rates and
    integrated graphics are dropped. The clock rate is kept if nothing else identifies the model
    (``Intel(R) Xeon(R) CPU @ 2.20GHz``).
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
    """Return 16 hexadecimal digits that stay the same while the hardware does; None if no hardware is known.

    They depend on GPU, CPU and installed memory, but not on kernel, driver, environment or the partitioning of
    GPUs. They do not depend on memory type and disk either: whether these can be read, and which disk holds the
    results, may change with privileges and with every boot. Identical machines have the same id.
    """
    gpu, cpu = (_object(system_info.get(key)) for key in ("gpu", "cpu"))
    ram_gb = _positive(system_info.get("ram_gb"))
    groups = _gpu_groups(gpu)
    main = groups[0] if groups else _GpuGroup("", None, _positive(gpu.get("count")) or 1)
    facts: dict[str, Any] = {
        "gpu": _segment(main.model),
        "gpu_vram_gb": main.vram_gb or 0,
        "gpu_count": main.count,
        "cpu": cpu_label(_text(cpu.get("model"))),
        "cpu_cores": _positive(cpu.get("cores")),
        "ram_gb": _installed_gb(ram_gb),
    }
    if len(groups) > 1:
        facts["other_gpus"] = [[_segment(group.model), group.vram_gb or 0, group.count] for group in groups[1:]]
    return _digest(facts) if facts["gpu"] or facts["cpu"] or facts["ram_gb"] else None


def software_id(system_info: Mapping[str, Any]) -> str | None:
    """Return 16 hexadecimal digits that stay the same while the software does; None if none of it is known.

    They depend on operating system, kernel, driver, CUDA or ROCm, environment and the partitioning of GPUs.
    """
    keys = ("os", "kernel", "driver_version", "cuda_version", "environment_type")
    facts = {key: _text(system_info.get(key)) for key in keys}
    facts |= {key: value for key in ("rocm_version",) if (value := _text(system_info.get(key)))}
    if partitions := _partitions(_object(system_info.get("gpu"))):
        facts["partitions"] = partitions
    return _digest(facts) if any(facts.values()) else None


def _gpu_segment(gpu: Mapping[str, Any], ram_gb: int) -> str:
    texts = [_group_text(group, ram_gb) for group in _gpu_groups(gpu)]
    partitions = _partitions(gpu)
    return "-and-".join(texts) + (f"-{partitions}" if texts and partitions else "")


def _group_text(group: _GpuGroup, ram_gb: int) -> str:
    # With unified memory (GB10, Apple) there is no video memory; like KITT, use the system's.
    size = ram_gb if group.vram_gb == 0 else group.vram_gb
    return _segment(group.model) + (f"-{size}GB" if size else "") + (f"-{group.count}x" if group.count > 1 else "")


def _partitions(gpu: Mapping[str, Any]) -> str:
    """Return how the GPUs are partitioned, ``MIG-1g.10gb-2x3g.40gb`` or ``CPX-NPS4``; empty if they are not."""
    devices = _devices(gpu)
    modes = [mode for device in devices if (mode := _object(device.get("mig"))).get("enabled") is True]
    given = [mode.get("instances") for mode in modes]
    profiles = Counter(_segment(name) for names in given if isinstance(names, list) for name in names)
    parts = [f"{count}x{name}" if count > 1 else name for name, count in sorted(profiles.items()) if name]
    others = sorted({_segment(device.get("partition")) for device in devices} - {""})
    return _segment("-".join([*(["MIG", *(parts or ["none"])] if modes else []), *others]))


def _cpu_segment(cpu: Mapping[str, Any]) -> str:
    label = cpu_label(_text(cpu.get("model")))
    cores = _positive(cpu.get("cores"))
    if not label and not cores:
        return ""
    return (label or "UnknownCPU") + (f"-{cores}c" if cores else "")


def _storage_segment(storage: Mapping[str, Any]) -> str:
    parts = [_segment(storage.get(key)) for key in ("brand", "model", "type")]
    parts[2] = parts[2].upper()
    count = _positive(storage.get("count"))
    known = "-".join(part for part in parts if part and part.lower() != "unknown")
    return f"{known}-{count}x" if known and count > 1 else known


def _segment(value: Any) -> str:
    """Make ``value`` one segment that is safe in a file name and does not contain the separator."""
    # A plus sign distinguishes models (Xeon 8480 and 8480+), so it is spelled out instead of dropped.
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", _text(value).replace("+", "plus")).strip("-.")
    return _bounded(plain, _LONGEST_SEGMENT)


def _bounded(text: str, longest: int) -> str:
    """Cut ``text`` and append a hash, so that texts that differ only after the cut still differ."""
    if len(text) <= longest:
        return text
    return f"{text[: longest - 9].rstrip('-.')}-{hashlib.sha256(text.encode('ascii')).hexdigest()[:8]}"


def _installed_gb(visible: int) -> int:
    """Round visible memory up to a plausible installed size: firmware and kernel reserve a varying amount."""
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
