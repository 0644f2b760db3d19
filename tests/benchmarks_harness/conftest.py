import sys
from pathlib import Path

# The harness is not installed. At the end of the path: installed packages are not to be hidden by the checkout's.
_ROOT = str(Path(__file__).parents[2])
if _ROOT not in sys.path:
    sys.path.append(_ROOT)
