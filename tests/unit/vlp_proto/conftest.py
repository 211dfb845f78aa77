"""Make the scripts beside the client's distribution importable: they are not part of it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "clients" / "python"))
