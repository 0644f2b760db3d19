"""Where the program ``kitt`` begins; ``python -m kitt_core`` is the same.

The command line takes a moment to import, and somebody may press Ctrl-C in it.
"""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> int:
    """Import the command line, run it and return the exit code."""
    try:
        from kitt_core.cli.app import main as command_line

        return command_line()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("error: interrupted\n")
        return 128 + signal.SIGINT
    finally:
        # What is left is Python's own end, which would answer Ctrl-C with a traceback.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
