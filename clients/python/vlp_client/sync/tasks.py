# Made from vlp_client/aio/tasks.py by clients/python/write_sync_client.py: change it there.
"""The calls that ask about one picture, and the vectors of pictures and texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from vlp_client.asking import Texts, one_or_list, with_model
from vlp_client.calls import Call
from vlp_client.pictures import ImageItem, ImageSource
from vlp_client.records import Classification, Embeddings, Matches, VqaAnswers, VqaResults
from vlp_client.regions import FoundRegions, RegionSource, read_found_regions
from vlp_client.subject import subject_of
from vlp_client.sync.asking import Asking
from vlp_client.task_replies import read_classification, read_embeddings, read_matches, read_vqa
from vlp_client.wire_values import wire_item


class Tasks(Asking):
    """A part of `Client`."""

    @overload
    def vqa(
        self,
        image: ImageSource | None,
        question: str,
        *,
        top_k: int = ...,
        answers: Sequence[str] | None = ...,
        regions: RegionSource | None = ...,
        model: str | None = ...,
        deadline_s: float | None = ...,
    ) -> VqaAnswers: ...

    @overload
    def vqa(
        self,
        image: ImageSource | None,
        question: Texts,
        *,
        top_k: int = ...,
        answers: Sequence[str] | None = ...,
        regions: RegionSource | None = ...,
        model: str | None = ...,
        deadline_s: float | None = ...,
    ) -> VqaResults: ...

    def vqa(
        self,
        image: ImageSource | None,
        question: str | Texts,
        *,
        top_k: int = 5,
        answers: Sequence[str] | None = None,
        regions: RegionSource | None = None,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> VqaAnswers | VqaResults:
        """Ask one question, or several, about a picture.

        Args:
            image: path, bytes, binary file, PIL image; or an http(s) URL, which the server fetches where it may; None
                where `regions` are given.
            question: a str gives `VqaAnswers`, a list gives `VqaResults`.
            top_k: answers to each question.
            answers: a closed list to choose among.
            regions: in place of the picture, for a model that reads region features: `Regions`, or an .npz file as
                path, bytes or binary file.
            model: name, name@version or name@alias; None for the server's default.
            deadline_s: after which the server stops working on it; None for the server's default.

        Raises:
            VlpClientError: see `vlp_client.errors`.
            OSError: a file cannot be read.
            TypeError: neither a picture nor regions, or both.

        Example:
            >>> reply = client.vqa(photo, "what colour is it?", model="dummy")
            >>> reply.best
            'no'
            >>> replies = client.vqa(photo, ["what colour is it?", "how many are there?"], model="dummy")
            >>> [result.best for result in replies.results]
            ['no', 'yes']
            >>> (client.vqa(photo, "what colour is it?", answers=["red", "blue"])).best
            'red'
        """
        fields: dict[str, Any] = {"top_k": top_k, **one_or_list("question", "questions", question)}
        if answers is not None:
            fields["answers"] = list(answers)
        subject = subject_of(image, regions)
        return self._ask("vqa", read_vqa, subject, fields, model=model, deadline_s=deadline_s)

    def classify(
        self,
        image: ImageSource,
        labels: Sequence[str],
        *,
        templates: Sequence[str] | None = None,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> Classification:
        """Choose among labels that the model was never trained on; other arguments and errors as `vqa`.

        Args:
            labels: any words.
            templates: what is said of a label, with {} for it, such as "a photo of a {}."; None for the bare label.

        Example:
            >>> (client.classify(photo, ["car", "bicycle"], templates=["a photo of a {}."])).best
            'bicycle'
        """
        fields: dict[str, Any] = {"labels": list(labels)}
        if templates is not None:
            fields["templates"] = list(templates)
        subject = subject_of(image)
        return self._ask("classify", read_classification, subject, fields, model=model, deadline_s=deadline_s)

    def match(
        self,
        image: ImageSource | None,
        texts: Sequence[str],
        *,
        regions: RegionSource | None = None,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> Matches:
        """How well each text fits the picture; other arguments and errors as `vqa`.

        Example:
            >>> reply = client.match(photo, ["a car", "a bicycle"])
            >>> max(reply.scores, key=lambda one: one.score).text
            'a car'
        """
        subject, fields = subject_of(image, regions), {"texts": list(texts)}
        return self._ask("match", read_matches, subject, fields, model=model, deadline_s=deadline_s)

    def regions(
        self,
        image: ImageSource,
        *,
        features: bool = False,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> FoundRegions:
        """Find what a picture shows where; other arguments and errors as `vqa`.

        Args:
            features: whether their features are wanted, too; `FoundRegions.to_send` then makes of all what may be sent
                in place of the picture.

        Example:
            >>> found = client.regions(photo, features=True)
            >>> found.regions[0].name
            'cat'
            >>> reply = client.vqa(None, "what is it?", regions=found.to_send(), model="dummy-reader")
        """
        return self._ask(
            "regions",
            read_found_regions,
            subject_of(image),
            {"features": features},
            model=model,
            deadline_s=deadline_s,
        )

    def embed(
        self,
        items: Sequence[str | ImageItem],
        *,
        dimensions: int | None = None,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> Embeddings:
        """Make vectors of texts and pictures, mixed as they come; errors as `vqa`.

        Args:
            items: a str is a text; `picture(...)` makes an item of a picture.
            dimensions: shorter vectors, where the model allows them.

        Example:
            >>> from vlp_client import picture
            >>> reply = client.embed(["a red car", picture(photo)], model="dummy-encoder")
            >>> [len(vector) for vector in reply.vectors]
            [16, 16]
        """
        fields: dict[str, Any] = {"input": [wire_item(item) for item in items], "encoding_format": "base64"}
        if dimensions is not None:
            fields["dimensions"] = dimensions
        call = Call(verb="embed", read=read_embeddings, fields=with_model(fields, model), deadline_s=deadline_s)
        return self._sender.call(call)
