# Made from vlp_client/aio/judging.py by clients/python/write_sync_client.py: change it there.
"""The calls that judge pictures: entailment, reasoning over two, grounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from vlp_client.asking import Texts, one_or_list
from vlp_client.judgement_records import (
    Entailment,
    Entailments,
    Grounding,
    Groundings,
    Truth,
    Truths,
    read_entailment,
    read_grounding,
    read_truth,
)
from vlp_client.pictures import ImageSource
from vlp_client.regions import RegionSource
from vlp_client.subject import pair_of, subject_of
from vlp_client.sync.asking import Asking


class Judging(Asking):
    """A part of `Client`."""

    @overload
    def entailment(
        self,
        image: ImageSource | None,
        hypothesis: str,
        *,
        regions: RegionSource | None = ...,
        model: str | None = ...,
        deadline_s: float | None = ...,
    ) -> Entailment: ...

    @overload
    def entailment(
        self,
        image: ImageSource | None,
        hypothesis: Texts,
        *,
        regions: RegionSource | None = ...,
        model: str | None = ...,
        deadline_s: float | None = ...,
    ) -> Entailments: ...

    def entailment(
        self,
        image: ImageSource | None,
        hypothesis: str | Texts,
        *,
        regions: RegionSource | None = None,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> Entailment | Entailments:
        """Say whether a picture entails a hypothesis, contradicts it, or does neither.

        Args:
            image: path, bytes, binary file, PIL image, or an http(s) URL; None where `regions` are given.
            hypothesis: a str gives `Entailment`, a list gives `Entailments`.
            regions: in place of the picture, for a model that reads region features: `Regions`, or an .npz file as
                path, bytes or binary file.
            model: name, name@version or name@alias; None for the server's default.
            deadline_s: after which the server stops working on it; None for the server's default.

        Raises:
            VlpClientError: see `vlp_client.errors`.
            OSError: a file cannot be read.
            TypeError: neither a picture nor regions, or both.

        Example:
            >>> (client.entailment(photo, "a car is parked")).label
            'entailment'
        """
        fields = one_or_list("hypothesis", "hypotheses", hypothesis)
        return self._ask(
            "entailment",
            read_entailment,
            subject_of(image, regions),
            fields,
            model=model,
            deadline_s=deadline_s,
        )

    @overload
    def reasoning(
        self,
        images: Sequence[ImageSource] | None,
        statement: str,
        *,
        regions: Sequence[RegionSource] | None = ...,
        model: str | None = ...,
        deadline_s: float | None = ...,
    ) -> Truth: ...

    @overload
    def reasoning(
        self,
        images: Sequence[ImageSource] | None,
        statement: Texts,
        *,
        regions: Sequence[RegionSource] | None = ...,
        model: str | None = ...,
        deadline_s: float | None = ...,
    ) -> Truths: ...

    def reasoning(
        self,
        images: Sequence[ImageSource] | None,
        statement: str | Texts,
        *,
        regions: Sequence[RegionSource] | None = None,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> Truth | Truths:
        """Say whether a statement about two pictures is true; other arguments and errors as `entailment`.

        Args:
            images: left and right; None where `regions` are given.
            statement: a str gives `Truth`, a list gives `Truths`.
            regions: of left and right.

        Example:
            >>> (client.reasoning((photo, other_photo), "both show a car")).label
            True
        """
        fields = one_or_list("statement", "statements", statement)
        return self._ask(
            "reasoning",
            read_truth,
            pair_of(images, regions),
            fields,
            model=model,
            deadline_s=deadline_s,
        )

    @overload
    def grounding(
        self,
        image: ImageSource | None,
        phrase: str,
        *,
        top_k: int = ...,
        regions: RegionSource | None = ...,
        model: str | None = ...,
        deadline_s: float | None = ...,
    ) -> Grounding: ...

    @overload
    def grounding(
        self,
        image: ImageSource | None,
        phrase: Texts,
        *,
        top_k: int = ...,
        regions: RegionSource | None = ...,
        model: str | None = ...,
        deadline_s: float | None = ...,
    ) -> Groundings: ...

    def grounding(
        self,
        image: ImageSource | None,
        phrase: str | Texts,
        *,
        top_k: int = 5,
        regions: RegionSource | None = None,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> Grounding | Groundings:
        """Find what a phrase names in a picture; other arguments and errors as `entailment`.

        Args:
            phrase: a str gives `Grounding`, a list gives `Groundings`.
            top_k: boxes for each phrase.

        Example:
            >>> reply = client.grounding(photo, "the car on the left", top_k=2)
            >>> [round(edge, 2) for edge in reply.boxes[0].box]
            [0.0, 0.89, 0.98, 0.99]
        """
        fields: dict[str, Any] = {"top_k": top_k, **one_or_list("phrase", "phrases", phrase)}
        return self._ask(
            "grounding",
            read_grounding,
            subject_of(image, regions),
            fields,
            model=model,
            deadline_s=deadline_s,
        )
