"""`python -m vlp_loadtest`: locust without a page, in a process of its own, with this package's users."""

from __future__ import annotations

import sys

from vlp_loadtest.command import locust_command


def main() -> None:
    """Run locust; its exit code is ours."""
    import subprocess

    sys.exit(subprocess.run([*locust_command(), *sys.argv[1:]], check=False).returncode)


if __name__ == "__main__":
    main()
