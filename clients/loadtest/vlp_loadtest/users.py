"""Who sends the requests: locust's users."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gevent import GreenletExit
from locust import FastHttpUser, task
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS
from locust.exception import StopUser

from vlp_loadtest.closed_loop import ClosedLoop
from vlp_loadtest.dispatcher import Dispatcher
from vlp_loadtest.mix import Mix
from vlp_loadtest.task_requests import TASKS, Material, Request, fault_of


@dataclass(slots=True)
class Run:
    """What the users of one run share.

    Attributes:
        dispatcher: of an open loop; None in a closed one.
        closed: the closed loop, where there is no dispatcher.
    """

    mix: Mix
    material: Material
    headers: dict[str, str]
    dispatcher: Dispatcher | None = None
    closed: ClosedLoop = field(default_factory=ClosedLoop)

    @property
    def loop(self) -> Dispatcher | ClosedLoop:
        """What measures this run."""
        return self.closed if self.dispatcher is None else self.dispatcher


class Caller(FastHttpUser):
    """Sends requests and notes what became of them.

    Attributes:
        run_of: the run, set on the class before there are users.
    """

    abstract = True
    run_of: ClassVar[Run]

    def ask(self, name: str, note: Callable[[float, float, str | None], None], due: float | None = None) -> None:
        """Send one request.

        Args:
            name: of the task.
            note: gets when it was sent, when it was answered, and what is wrong.
            due: when it was to be sent, by time.perf_counter; None: now.
        """
        request = TASKS[name].make(self.run_of.material)
        sent = time.perf_counter()
        with self._post(request) as response:
            done = time.perf_counter()
            fault = _fault(request, response)
            # Locust's own tables count from when it was due, too.
            response.request_meta["response_time"] = 1000 * (done - (sent if due is None else due))
            if fault is not None:
                response.failure(fault)
            else:
                response.success()
        note(sent, done, fault)

    def _post(self, request: Request) -> Any:
        headers = {"Content-Type": request.content_type, **self.run_of.headers}
        return self.client.post(
            request.target,
            data=request.body,  # type: ignore[arg-type]  # bytes do as well
            headers=headers,
            name=request.task,
            catch_response=True,
            allow_redirects=False,  # the key and the pictures are for the server that was named, and for no other
        )


def _fault(request: Request, response: Any) -> str | None:
    if response.status_code == 0:
        return "no_connection" if "timed out" not in str(response.error) else "no_answer_in_time"
    try:
        content = response.content or b""
    except FAILURE_EXCEPTIONS:  # such as a body that is not in the encoding that it names
        return "unexpected_answer"
    return fault_of(request, response.status_code, content)


class ClosedLoopUser(Caller):
    """Asks, waits for the answer, and asks the next thing: `--users` is how many requests are under way."""

    abstract = True
    only: ClassVar[str | None] = None

    @task
    def ask_on(self) -> None:
        """One request, of this user's task or of the mix."""
        run, loop = self.run_of, self.run_of.closed
        if loop.over:
            raise StopUser
        asked = loop.begin(self.only or run.mix.draw(run.material.chance))

        def note(sent: float, done: float, fault: str | None) -> None:
            loop.finish(asked, sent, done, fault)

        try:
            self.ask(asked.task, note)
        except GreenletExit:
            loop.forget(asked)
            raise


class MixedUser(ClosedLoopUser):
    """Asks everything that is served, in the shares of the mix."""

    abstract = True


class OpenLoopUser(Caller):
    """Sends whatever is due, one request at a time: `--users` is how many can be under way."""

    abstract = True

    @task
    def send(self) -> None:
        """One request that is due."""
        dispatcher = self.run_of.dispatcher
        if dispatcher is None:
            raise StopUser
        arrival = dispatcher.take()
        zero = time.perf_counter() - dispatcher.now_s

        def note(sent: float, done: float, fault: str | None) -> None:
            dispatcher.finish(arrival, sent - zero, done - zero, fault)

        self.ask(arrival.task, note, due=zero + arrival.due_s)


class VqaUser(ClosedLoopUser):
    """Asks questions."""

    only, weight = "vqa", 6


class SearchUser(ClosedLoopUser):
    """Searches a collection by words."""

    only, weight = "search", 4


class CaptionUser(ClosedLoopUser):
    """Has captions written."""

    only, weight = "caption", 2


class CaptionStreamUser(ClosedLoopUser):
    """Reads captions as they are written; a request is done with its last word."""

    only, weight = "caption_stream", 1


class MatchUser(ClosedLoopUser):
    """Holds sentences against pictures."""

    only, weight = "match", 1


class EntailmentUser(ClosedLoopUser):
    """Has hypotheses judged."""

    only, weight = "entailment", 1


class ClassifyUser(ClosedLoopUser):
    """Chooses among labels."""

    only, weight = "classify", 1


class EmbeddingsUser(ClosedLoopUser):
    """Has vectors made of a text and a picture."""

    only, weight = "embeddings", 1


class GroundingUser(ClosedLoopUser):
    """Has things found."""

    only, weight = "grounding", 1


class ReasoningUser(ClosedLoopUser):
    """Has statements on two pictures judged."""

    only, weight = "reasoning", 1


class RegionsUser(ClosedLoopUser):
    """Has regions listed."""

    only, weight = "regions", 1


class IndexUser(ClosedLoopUser):
    """Adds pictures to a collection, as bulk work."""

    only, weight = "index", 1


TASK_USERS = (
    VqaUser,
    SearchUser,
    CaptionUser,
    CaptionStreamUser,
    MatchUser,
    EntailmentUser,
    ClassifyUser,
    EmbeddingsUser,
    GroundingUser,
    ReasoningUser,
    RegionsUser,
    IndexUser,
)


def new_chance(seed: int | None) -> random.Random:
    """A source of chance; the same seed draws the same load."""
    return random.Random(seed)
