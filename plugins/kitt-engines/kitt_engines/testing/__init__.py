"""An OpenAI-compatible server that does what it is told, for tests and for trying things out.

It has no model: it sends words at the times that it was given, and fails in the ways that it was asked for. So
what a client measures can be compared with what the server did::

    with RunningServer(Behaviour(ttft=0.05, gap=0.01)) as server:
        measure(server.url)
        server.requests()   # what it was asked

``python -m kitt_engines.testing.server --help`` starts one by hand.
"""

from kitt_engines.testing.behaviour import Behaviour, Fault
from kitt_engines.testing.running import RunningServer

__all__ = ["Behaviour", "Fault", "RunningServer"]
