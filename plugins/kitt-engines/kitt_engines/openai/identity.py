"""Which inference engine answers behind the interface, and which version of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from attrs import field, frozen

from kitt_engines.openai.connections import capped_body
from kitt_engines.openai.failures import Sanitizer

__all__ = ["ServerIdentity", "identify"]

_PATIENCE: Final = 1.5
"""Seconds for all version requests together."""
_LIMIT: Final = 1_048_576


@frozen
class _Probe:
    """Where a server reports its version; ``proof`` is a key that only this kind of server has in its answer."""

    path: str
    key: str = "version"
    proof: str | None = None


_PROBES: Final = {
    "sglang": (_Probe("/get_server_info", proof="mem_fraction_static"), _Probe("/server_info", proof="tp_size")),
    "llama.cpp": (_Probe("/props", key="build_info", proof="build_info"),),
    "tgi": (_Probe("/info", proof="model_id"),),
    "koboldcpp": (_Probe("/api/extra/version", proof="result"),),
    "ollama": (_Probe("/api/version", proof="version"),),
    "vllm": (_Probe("/version"),),
    "trtllm": (_Probe("/version"),),
}
"""By engine; the answers that prove most come first. Many servers have vLLM's path, so it proves nothing."""
_OWNERS: Final = {
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llama.cpp",
    "library": "ollama",
    "organization_owner": "lmstudio",
    "tensorrt_llm": "trtllm",
    "lmdeploy": "lmdeploy",
    "koboldcpp": "koboldcpp",
    "mlc-llm": "mlc-llm",
    "tabbyapi": "tabbyapi",
    "pygmalionai": "aphrodite",
    "ovms": "openvino",
    "triton inference server": "triton",
}
"""Engines by what they write into ``owned_by`` in their list of models, in lower case."""
_HEADERS: Final = {
    "llama.cpp": "llama.cpp",
    "llamafile": "llamafile",
    "ollama": "ollama",
    "koboldcppserver": "koboldcpp",
}
"""Engines by the first word of the header ``Server``, in lower case."""


@frozen
class ServerIdentity:
    """What the answer to ``/models`` says about the server. Nothing standardises this.

    Attributes:
        header: The header ``Server``.
        entry: The model's entry in the list.
    """

    header: str = ""
    entry: Mapping[str, Any] = field(factory=dict, repr=False)

    @property
    def name(self) -> tuple[str, str] | None:
        """The engine's name and what gave it, None if nothing does."""
        owner = self.entry.get("owned_by")
        if isinstance(owner, str) and (name := _OWNERS.get(owner.strip().lower())):
            return name, "owned_by"
        words = self.header.replace("/", " ").split()
        if words and (name := _HEADERS.get(words[0].lower())):
            return name, "the header Server"
        return None


async def identify(
    http: aiohttp.ClientSession, base_url: str, identity: ServerIdentity, sanitize: Sanitizer
) -> dict[str, Any]:
    """Return what is known about the server; never fails.

    Its keys, as far as they are known: ``name`` (the inference engine), ``name_from``, ``version``, ``header`` and
    ``max_model_len``.
    """
    facts: dict[str, Any] = {}
    given = identity.name
    # No server has its version below /v1.
    root = base_url.removesuffix("/v1")
    known = _PROBES if given is None else {given[0]: _PROBES.get(given[0], ())}
    probes = [(name, probe) for name, several in known.items() for probe in several]
    paths = list(dict.fromkeys(probe.path for _, probe in probes))
    answers = dict(
        zip(paths, await asyncio.gather(*(_fetch_object(http, root + path) for path in paths)), strict=True)
    )
    for name, probe in probes:
        answer = answers[probe.path]
        if given is None and probe.proof is not None:
            if probe.proof not in answer:
                continue
            given = name, probe.path
        version = answer.get(probe.key)
        if isinstance(version, str) and version and (given is None or given[0] == name):
            facts["version"] = sanitize(version)
            break
    if given is not None:
        facts = {"name": given[0], "name_from": given[1], **facts}
    if identity.header:
        facts["header"] = sanitize(identity.header)
    length = identity.entry.get("max_model_len")
    if type(length) is int:
        facts["max_model_len"] = length
    return facts


async def _fetch_object(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    """Return the JSON object at ``url``; an empty one if there is none."""
    try:
        async with asyncio.timeout(_PATIENCE), http.get(url, allow_redirects=False) as response:
            if response.status != 200:
                return {}
            found = json.loads(await capped_body(response, _LIMIT))
    except (aiohttp.ClientError, OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
