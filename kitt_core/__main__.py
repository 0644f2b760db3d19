"""The entry point of ``kitt`` and of ``python -m kitt_core``.

Importing the command line takes a moment, in which Ctrl-C must not show a traceback.
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
        # Only Python's own shutdown is left, in which Ctrl-C would show a traceback.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
