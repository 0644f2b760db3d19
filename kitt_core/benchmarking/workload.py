"""The prompts of a benchmark: always the same ones, each different from the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import field, frozen, validators

from kitt_core.engine import GenerationRequest

__all__ = ["Workload"]

_TEXT: Final = (
    "A results store keeps what was measured, by whom, on which machine and when. Explain to an engineer who"
    " has never seen one why the median of a latency says little about its tail, why the first request after"
    " a start is slower than the tenth, and what a second measurement on the same machine must have in common"
    " with the first before the two may be compared. Give one example of each, with numbers and their units,"
    " and say which of the numbers you would show to somebody who has to decide between two machines."
)


@frozen
class Workload:
    """How many requests a benchmark sends and what they look like.

    Attributes:
        iterations: Measured requests.
        warmups: Requests sent before, which are in no metric.
        max_tokens: Output tokens per request; a request never ends before.
        prompt_characters: Length of each prompt.
        concurrency: Requests in flight, where the engine can.
        seconds: Measured requests are sent no longer than this, so that a slow machine ends too; at least one
            is. None sends all of them, however long it takes.
    """

    iterations: int = field(default=10, validator=validators.ge(1))
    warmups: int = field(default=2, validator=validators.ge(0))
    max_tokens: int = field(default=32, validator=validators.ge(1))
    prompt_characters: int = field(default=160, validator=validators.ge(16))
    concurrency: int = field(default=1, validator=validators.ge(1))
    seconds: float | None = field(default=None, validator=validators.optional(validators.gt(0)))

    def warmup_requests(self) -> Iterator[GenerationRequest]:
        """Give the warm-up requests; none of them is sent again as a measured one."""
        return (self._request("Warm-up", number) for number in range(1, self.warmups + 1))

    def measured_requests(self) -> Iterator[GenerationRequest]:
        """Give the measured requests."""
        return (self._request("Request", number) for number in range(1, self.iterations + 1))

    def _request(self, kind: str, number: int) -> GenerationRequest:
        # The number comes first: a server that caches prefixes must do the whole prefill for each prompt.
        opening = f"{number}. {kind}: "
        repeats = -(-self.prompt_characters // len(_TEXT))
        prompt = (opening + " ".join([_TEXT] * repeats))[: self.prompt_characters]
        return GenerationRequest(prompt=prompt, max_tokens=self.max_tokens, seed=number)
