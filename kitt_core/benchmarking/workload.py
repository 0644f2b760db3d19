"""The prompts of a benchmark: all of the same form, each different from the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import attrs
from attrs import evolve, field, frozen, validators

from kitt_core.benchmarking import LEAST_PROMPT_CHARACTERS
from kitt_core.engine import GenerationRequest

__all__ = ["ROUNDS", "Workload", "WorkloadChanges"]

ROUNDS: Final = 2
"""How often each concurrent slot is used at least, unless the user asks for fewer requests."""

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
        warmups: Requests sent before, which count in no metric.
        max_tokens: Output tokens per request; a request never ends earlier.
        prompt_characters: Length of each prompt.
        concurrency: Requests in flight, if the engine supports it.
        seconds: How long measured requests are sent, so that a slow machine finishes too; at least one is sent.
            None sends all of them, however long it takes.
        salt: Part of the beginning of every prompt.
    """

    iterations: int = field(default=10, validator=validators.ge(1))
    warmups: int = field(default=2, validator=validators.ge(0))
    max_tokens: int = field(default=32, validator=validators.ge(1))
    prompt_characters: int = field(default=160, validator=validators.ge(LEAST_PROMPT_CHARACTERS))
    concurrency: int = field(default=1, validator=validators.ge(1))
    seconds: float | None = field(default=None, validator=validators.optional(validators.gt(0)))
    salt: str = ""

    def settings(self) -> dict[str, Any]:
        """Return what metrics depend on, by name; the salt does not matter."""
        return attrs.asdict(self, filter=lambda attribute, _: attribute.name != "salt")

    def salted(self, salt: str) -> Workload:
        """Return the same workload with prompts that no server has seen, if the salt is new."""
        return evolve(self, salt=salt)

    def warmup_requests(self) -> Iterator[GenerationRequest]:
        """Return the warm-up requests; none of them is sent again as a measured one."""
        return (self._request("Warm-up", number) for number in range(1, self.warmups + 1))

    def measured_requests(self) -> Iterator[GenerationRequest]:
        """Return the measured requests."""
        return (self._request("Request", number) for number in range(1, self.iterations + 1))

    def _request(self, kind: str, number: int) -> GenerationRequest:
        # What differs comes first, so that a server with a prefix cache must do the whole prefill for each prompt.
        opening = f"{number}. {self.salt} {kind}: " if self.salt else f"{number}. {kind}: "
        repeats = -(-self.prompt_characters // len(_TEXT))
        prompt = (opening + " ".join([_TEXT] * repeats))[: self.prompt_characters]
        return GenerationRequest(prompt=prompt, max_tokens=self.max_tokens, seed=number)


@frozen
class WorkloadChanges:
    """The user's changes to a suite; None leaves the suite's value.

    Attributes:
        requests: Measured requests per benchmark. They are sent however long it takes, unless ``seconds`` is also
            given.
        max_tokens: Output tokens per request.
        prompt_characters: Length of each prompt.
        concurrency: Requests in flight, in benchmarks whose requests overlap; without ``requests``, these send at
            least twice as many requests.
        seconds: How long each benchmark sends requests.
    """

    requests: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    max_tokens: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    prompt_characters: int | None = field(
        default=None, validator=validators.optional(validators.ge(LEAST_PROMPT_CHARACTERS))
    )
    concurrency: int | None = field(default=None, validator=validators.optional(validators.ge(1)))
    seconds: float | None = field(default=None, validator=validators.optional(validators.gt(0)))

    def given(self) -> dict[str, Any]:
        """Return what is changed, by name."""
        return attrs.asdict(self, filter=lambda _, value: value is not None)

    def applied(self, workload: Workload, *, overlapping: bool) -> Workload:
        """Return the workload with these changes.

        Args:
            workload: The suite's workload.
            overlapping: Whether the benchmark's requests overlap, so that the concurrency applies to it.
        """
        changed = self.given()
        concurrency = changed.pop("concurrency", None)
        requests = changed.pop("requests", None)
        if requests is not None:
            changed = {"iterations": requests, "seconds": None} | changed
        if concurrency is not None and overlapping:
            changed["concurrency"] = concurrency
            if requests is None:
                changed["iterations"] = max(workload.iterations, ROUNDS * concurrency)
        return evolve(workload, **changed)
