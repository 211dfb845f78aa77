"""Make tests/support importable: tests are imported one by one, not as packages."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "support"))
