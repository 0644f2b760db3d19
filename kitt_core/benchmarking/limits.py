"""What a user may ask of a workload; imports nothing, so that a help page can be had without the benchmarks."""

from typing import Final

__all__ = ["LEAST_PROMPT_CHARACTERS"]

LEAST_PROMPT_CHARACTERS: Final = 32
"""Room for what tells two prompts apart: a number of seven digits, the salts of run, benchmark and level, and the
first letter of the kind."""
