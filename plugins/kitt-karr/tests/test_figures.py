"""How fast a repository with thousands of runs is: marked ``long``, because it takes minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc"),
]

_SAVING = """
import json, re, sys, time
from pathlib import Path
from kitt_core.testing.documents import STANDARD
from kitt_karr.store import KarrResultStore

path, number, models = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
document, seconds = json.loads(STANDARD), []
with KarrResultStore(path) as store:
    for n in range(number):
        document |= {"model": f"org/m{n % models}", "n": n}
        content = json.dumps(document).encode()
        start = time.process_time()  # not what it waits for: others use the disk as well
        store.save_result(content)
        seconds.append(time.process_time() - start)
    assert store.count() == number
# The peak of getrusage would be that of the process which started this one, if it was larger.
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024
print(json.dumps({"first": sum(seconds[:200]), "last": sum(seconds[-200:]), "peak": peak}))
"""


@pytest.mark.parametrize("models", [1, 12])
def test_the_last_of_two_thousand_saves_are_as_fast_as_the_first(git: Any, path: Path, models: int) -> None:
    command = [sys.executable, "-c", _SAVING, str(path), "2000", str(models)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    assert figures["last"] <= 1.5 * figures["first"], figures
    assert figures["peak"] < 200, figures
    git.assert_intact(path)
