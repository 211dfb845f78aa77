"""A load test of a vlpserve server: pictures of their own, asked of every task that the server has.

    locust -f clients/loadtest/locustfile.py --headless --host http://127.0.0.1:8080 --users 8 --run-time 60s

`--tags vqa caption` asks these alone, `--model NAME` one model, `--api-key KEY` goes with every request. A user asks
again as soon as it has its answer: the load is closed, and `--users` is how many requests are under way. Locust ends
with code 1 where a request failed, and with 2 where there is nothing to ask.
"""

from __future__ import annotations

import random
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from locust import FastHttpUser, events, tag, task
from locust.exception import StopUser
from pictures import drawn_picture

_QUESTIONS = ("what color is the circle?", "how many things are there?", "is there a red thing?")
_SENTENCES = ("there is a red thing at the top left", "a blue square and a green circle")


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    """The options beside locust's own."""
    parser.add_argument("--model", default=None, help="model that is asked; none: the server's default for each task")
    parser.add_argument("--api-key", default=None, env_var="LOCUST_API_KEY", is_secret=True, help="of the server")  # type: ignore[call-arg]


class Asker(FastHttpUser):
    """One who asks, waits for the answer, and asks the next thing of another picture."""

    def on_start(self) -> None:
        """Learn what the server can be asked."""
        options = self.environment.parsed_options
        self._chance = random.Random()
        self._headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
        self._model: str | None = options.model
        with self.client.get("/v1/models", headers=self._headers, catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}: {response.text:.200}")
                raise StopUser
            models = response.json()["data"]
        served = {name for model in models if self._model in (None, model["name"]) for name in model["tasks"]}
        # Those that --tags left, and that a served model does.
        self.tasks = [ask for ask in type(self).tasks if ask.__name__ in served]
        if not self.tasks:
            self.environment.process_exit_code = 2
            print(f"nothing to ask: the server does {', '.join(sorted(served)) or 'nothing'}")  # noqa: T201
            self.environment.runner.quit()

    @tag("vqa")
    @task(6)
    def vqa(self) -> None:
        """Ask a question."""
        self._ask("/v1/vqa", "answers", question=self._chance.choice(_QUESTIONS))

    @tag("caption")
    @task(2)
    def caption(self) -> None:
        """Have a caption written."""
        self._ask("/v1/caption", "captions", max_tokens="20")

    @tag("match")
    @task(1)
    def match(self) -> None:
        """Hold a sentence against a picture."""
        self._ask("/v1/match", "scores", text=self._chance.choice(_SENTENCES))

    @tag("entailment")
    @task(1)
    def entailment(self) -> None:
        """Have a sentence judged."""
        self._ask("/v1/entailment", "label", hypothesis=self._chance.choice(_SENTENCES))

    @tag("grounding")
    @task(1)
    def grounding(self) -> None:
        """Have a thing found."""
        self._ask("/v1/grounding", "boxes", phrase="the large red thing")

    def _ask(self, path: str, expected: str, **fields: str) -> None:
        """Send a new picture with its fields, and want an answer that has what is expected."""
        if self._model is not None:
            fields["model"] = self._model
        with self.client.post(
            path,
            params=fields,
            data=drawn_picture(self._chance),
            headers={"Content-Type": "image/jpeg", **self._headers},
            name=path,
            catch_response=True,
        ) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}: {_kind(response.json)}")
            elif expected not in response.json():
                response.failure(f"an answer without {expected}")


def _kind(read: Any) -> str:
    """The kind of a problem document; of anything else nothing is said."""
    try:
        document: Mapping[str, Any] = read()
        return str(document["kind"])
    except (ValueError, KeyError, TypeError):
        return "no problem document"
