"""The servers that one call is tried at, in turn, and what is noted of those that fail."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from vlp_spec.errors import InferenceError, OverloadedError, UnavailableError, VlpError

from vlp_server.engines.triton_server import AwayError, LostCopyError, TritonServer, nobody

_LOST = "Triton has lost a call"


class Tries:
    """One call of one model. A server that has gone, is full, or lacks something is followed by the next one.

    Of a server that lost one copy of the model the other copy is asked, once.

    Args:
        servers: that may be asked, the best one first.
        model: what it is called there.
        all_servers: for the reasons, where nobody can be asked.
        now: clock of `TritonServer.last`.
    """

    def __init__(
        self,
        servers: Sequence[TritonServer],
        model: str,
        all_servers: Sequence[TritonServer],
        now: Callable[[], float],
    ) -> None:
        self._left = deque(servers)
        self._model = model
        self._all = all_servers
        self._now = now
        self._may_ask_again = True
        self._said: VlpError | None = None

    def __iter__(self) -> Iterator[TritonServer]:
        while self._left:
            server = self._left.popleft()
            server.last = self._now()
            yield server

    @contextmanager
    def at(self, server: TritonServer) -> Iterator[None]:
        """Within it the server is asked. What another server may do better is swallowed and noted.

        Raises:
            VlpError: what is the call's own fault, or its deadline.
        """
        try:
            yield
            server.sound(self._model)
        except AwayError as error:
            server.down(_LOST, str(error))
        except (OverloadedError, UnavailableError) as error:
            server.trouble(self._model)
            self._said = error
            if isinstance(error, LostCopyError) and self._may_ask_again:
                self._may_ask_again = False
                self._left.append(server)
        except InferenceError:
            server.trouble(self._model)
            raise

    def give_up(self) -> None:
        """Try no other one."""
        self._left.clear()
        self._may_ask_again = False

    def outcome(self) -> VlpError:
        """What is told when nobody answered."""
        return self._said or nobody([f"Triton at {server.url}: {server.reason}" for server in self._all])
