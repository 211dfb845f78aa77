"""One thread for work that no caller waits for: building indexes, removing what was dropped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable

from vlp_server.index.building import BuildStoppedError

logger = logging.getLogger(__name__)
Stopped = Callable[[], bool]
Work = Callable[[Stopped], None]


class Background:
    """Runs pieces of work one after the other; one that waits already is not queued twice."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._waiting: dict[Hashable, Work] = {}
        self._busy = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="vlp-store-background", daemon=True)
        self._thread.start()

    def ask(self, key: Hashable, work: Work) -> None:
        """Do `work` some time; nothing happens when the same key is waiting, or after `close`."""
        with self._wake:
            if not self._closed:
                self._waiting.setdefault(key, work)
                self._wake.notify_all()

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing is left to do; False when it took longer."""
        with self._wake:
            return self._wake.wait_for(lambda: not self._waiting and not self._busy, timeout_s)

    def close(self) -> None:
        """Stop: what is under way ends at its next look at `stopped`, and what waits is forgotten."""
        with self._wake:
            self._closed = True
            self._waiting.clear()
            self._wake.notify_all()
        self._thread.join()

    def _stopped(self) -> bool:
        return self._closed

    def _run(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                self._wake.notify_all()
                self._wake.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                key = next(iter(self._waiting))
                work = self._waiting.pop(key)
                self._busy = True
            try:
                work(self._stopped)
            except BuildStoppedError:
                logger.info("background work %s was stopped", key)
            except Exception:
                logger.exception("background work %s failed", key)
