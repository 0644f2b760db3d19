"""An OpenAI-compatible server that follows a script, for tests and for trying things out.

It has no model: it sends words at set times and fails in set ways, so what a client measures can be compared with
what the server did::

    with RunningServer(Behaviour(ttft=0.05, gap=0.01)) as server:
        measure(server.url)
        server.requests()   # what it received

``python -m kitt_engines.testing.server --help`` starts one by hand.
"""

from kitt_engines.testing.behaviour import Behaviour, Fault
from kitt_engines.testing.running import RunningServer

__all__ = ["Behaviour", "Fault", "RunningServer"]
