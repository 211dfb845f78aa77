# Made from vlp_client/aio/bulk_plans.py by clients/python/write_sync_client.py: change it there.
"""What bulk runs do with their items: ask a question, make vectors."""

from __future__ import annotations

import base64
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from vlp_client.asking import with_model
from vlp_client.bulk_records import Outcome, Prepared
from vlp_client.calls import Call
from vlp_client.errors import ProtocolError
from vlp_client.item_digests import prepared_input, prepared_question
from vlp_client.records import Answer, VqaAnswers
from vlp_client.subject import Subject
from vlp_client.sync.pool import Pool
from vlp_client.sync.sending import Sender
from vlp_client.task_replies import read_embeddings, read_vqa
from vlp_client.vectors import read_base64, vector_bytes
from vlp_client.wire_values import wire_item


class VqaPlan:
    """A question about each picture.

    Args:
        fields: of every call.
        model: None for the server's default.
        deadline_s: of every call.
    """

    def __init__(self, fields: Mapping[str, Any], model: str | None, deadline_s: float | None) -> None:
        self._fields, self._model, self._deadline_s = fields, model, deadline_s
        self.prepare = prepared_question
        self.counted: str | None = None

    @property
    def work(self) -> Mapping[str, Any]:
        """See `Plan`."""
        return {"verb": "vqa", "model": self._model, **self._fields}

    def send(self, sender: Sender, pool: Pool[Any], group: Sequence[Prepared]) -> list[Outcome[VqaAnswers]]:
        """See `Plan`; a call takes one picture."""
        outcomes = []
        for one in group:
            picture, question = one.payload
            fields = with_model({**self._fields, "question": question}, self._model)
            subject = Subject((picture,), "image", "image")
            call = Call(verb="vqa", read=read_vqa, subject=subject, fields=fields, deadline_s=self._deadline_s)
            answers = sender.call(call)
            if not isinstance(answers, VqaAnswers):
                raise ProtocolError("vqa: several results to one question")
            outcomes.append(Outcome(answers, model=answers.model))
        return outcomes

    def to_json(self, value: VqaAnswers) -> Any:
        """See `Plan`."""
        return {"model": value.model, "answers": [[one.answer, one.score] for one in value.answers]}

    def from_json(self, kept: Any) -> VqaAnswers:
        """See `Plan`."""
        return VqaAnswers(kept["model"], tuple(Answer(*one) for one in kept["answers"]), {})


class EmbedPlan:
    """A vector of each text and picture.

    Args:
        dimensions: of shorter vectors; None for the model's own.
        model: None for the server's default.
        deadline_s: of every call.
    """

    def __init__(self, dimensions: int | None, model: str | None, deadline_s: float | None) -> None:
        self._fields: dict[str, Any] = {} if dimensions is None else {"dimensions": dimensions}
        self._model, self._deadline_s = model, deadline_s
        self.prepare = prepared_input
        self.counted: str | None = "inputs"

    @property
    def work(self) -> Mapping[str, Any]:
        """See `Plan`."""
        return {"verb": "embed", "model": self._model, **self._fields}

    def send(self, sender: Sender, pool: Pool[Any], group: Sequence[Prepared]) -> list[Outcome[array[float]]]:
        """See `Plan`."""
        inputs = [wire_item(one.payload) for one in group]
        fields = with_model({"input": inputs, "encoding_format": "base64", **self._fields}, self._model)
        call = Call(verb="embed", read=read_embeddings, fields=fields, deadline_s=self._deadline_s)
        reply = sender.call(call)
        if len(reply.vectors) != len(group):
            raise ProtocolError(f"embed: {len(reply.vectors)} vectors of {len(group)} items")
        return [Outcome(vector, model=reply.model) for vector in reply.vectors]

    def to_json(self, value: array[float]) -> Any:
        """See `Plan`."""
        return base64.b64encode(vector_bytes(value)).decode()

    def from_json(self, kept: Any) -> array[float]:
        """See `Plan`."""
        return read_base64(kept)
