"""The bodies of the calls about collections -> what is asked of the core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from vlp_spec.errors import InvalidArgumentError, VlpError

from vlp_server.access.prices import Weight, search_weight
from vlp_server.config.settings import LimitsConfig
from vlp_server.core.call_checks import check_count, check_text
from vlp_server.core.collection_records import CollectionSearch, CollectionWish, Rerank
from vlp_server.http.fields import CallFields, StrictFields
from vlp_server.http.json_body import parse_object
from vlp_server.http.picture_request import CallShape
from vlp_server.http.pictures import read_source
from vlp_server.http.vector_fields import VectorValue, read_vector
from vlp_server.index.filters import parse_filter
from vlp_server.index.settings import IndexSettings
from vlp_server.index.store import SearchEffort
from vlp_server.intake.new_items import NewId, SentItem
from vlp_server.intake.picture_source import check_not_empty
from vlp_server.intake.texts import check_model

IDEMPOTENCY_HEADER = "Idempotency-Key"


class IndexFields(StrictFields):
    """How the vectors of a collection are searched; what is left out has the default."""

    kind: Annotated[Literal["flat", "hnsw", "ivf_pq"], Field(description="Built at `flat_below` items and more.")] = (
        "hnsw"
    )
    flat_below: Annotated[int, Field(description="With fewer items the search is exact.")] = 20_000
    hnsw_links: Annotated[int, Field(description="Links of a node of the graph.")] = 32
    ef_construction: Annotated[int, Field(description="Candidates looked at for each new node.")] = 80
    ef_search: Annotated[int, Field(description="Candidates looked at by a search.")] = 64
    ivf_lists: Annotated[int, Field(description="Cells of the coarse quantiser; 0: by the number of items.")] = 0
    nprobe: Annotated[int, Field(description="Cells looked at by a search.")] = 32
    pq_bytes: Annotated[int, Field(description="Bytes of a code; 0: an eighth of the dimension.")] = 0
    refine: Annotated[int, Field(description="Candidates scored with whole vectors, as a multiple of k.")] = 10


class CollectionJson(StrictFields):
    """The JSON body of PUT /v1/collections/{name}; it may be {}."""

    model: Annotated[str | None, Field(description="Whose encoder makes the vectors; the default encoder.")] = None
    metric: Annotated[
        Literal["cosine", "dot", "l2"], Field(description="A higher score is nearer; l2 is minus the distance.")
    ] = "cosine"
    store_images: Annotated[bool, Field(description="Keep the pictures, which re-ranking needs.")] = True
    index: Annotated[IndexFields | None, Field(description="How it is searched.")] = None

    def wish(self, name: str) -> CollectionWish:
        """The collection that the fields ask for.

        Raises:
            InvalidArgumentError: a setting out of its range.
        """
        check_model(self.model)
        index = IndexSettings() if self.index is None else IndexSettings(**self.index.model_dump(exclude_unset=True))
        return CollectionWish(
            name=name, model=self.model, metric=self.metric, store_images=self.store_images, index=index
        )


class ItemJson(StrictFields):
    """An item: a picture, or a vector of the collection's own encoder, or both."""

    id: Annotated[str | None, Field(description="An item of the same id is replaced; a new id where left out.")] = None
    image: Annotated[str | None, Field(description="base64, a data URI, or an http(s) URL where allowed.")] = None
    vector: Annotated[VectorValue | None, Field()] = None
    metadata: Annotated[dict[str, Any] | None, Field(description="A JSON object to filter by.")] = None


class ItemsJson(StrictFields):
    """The JSON body of POST /v1/collections/{name}/items."""

    items: list[ItemJson]


class LookupJson(StrictFields):
    """The JSON body of POST /v1/collections/{name}/items/lookup."""

    ids: list[str]


async def items_of_json(fields: ItemsJson, limit: int, new_id: NewId) -> list[SentItem]:
    """The items of a checked JSON body.

    Raises:
        InvalidArgumentError: no item.
        TooLargeError: more than `limit` of them.
    """
    _check_items(len(fields.items), limit)
    return [
        await _sent(item, item.id if item.id is not None else new_id(index)) for index, item in enumerate(fields.items)
    ]


async def _sent(item: ItemJson, item_id: str) -> SentItem:
    try:
        vector = None if item.vector is None else read_vector(item.vector, "vector")
        picture = None if item.image is None else await read_source(item.image)
    except VlpError as fault:
        return SentItem(item_id, fault=fault)
    return SentItem(item_id, picture, vector, item.metadata)


def items_of_form(
    pictures: Sequence[bytes], pairs: Iterable[tuple[str, str]], limit: int, new_id: NewId
) -> list[SentItem]:
    """The items of a form or of a raw picture: `id` and `metadata` once for each picture, or not at all.

    Args:
        pictures: files.
        pairs: the other fields.
        limit: of pictures.
        new_id: for those without one.

    Raises:
        InvalidArgumentError: no file, another number of ids or metadata, an unknown field.
        TooLargeError: more than `limit` files.
    """
    _check_items(len(pictures), limit)
    columns: dict[str, list[str]] = {"id": [], "metadata": []}
    for name, text in pairs:
        if name not in columns:
            raise InvalidArgumentError(f"unknown field {name!r:.80}; expected image, id, metadata", field=name[:80])
        columns[name].append(text)
    for name, values in columns.items():
        if values and len(values) != len(pictures):
            raise InvalidArgumentError(
                f"{name}: given {len(values)} times for {len(pictures)} pictures; give one for each, or none",
                field=name,
            )
    ids = columns["id"] or [new_id(index) for index in range(len(pictures))]
    metadata = columns["metadata"] or ["{}"] * len(pictures)
    return [_sent_file(*one) for one in zip(pictures, ids, metadata, strict=True)]


def _sent_file(picture: bytes, item_id: str, metadata: str) -> SentItem:
    try:
        return SentItem(item_id, check_not_empty(picture), metadata=parse_object("metadata", metadata))
    except VlpError as fault:
        return SentItem(item_id, fault=fault)


def _check_items(count: int, limit: int) -> None:
    if not count:
        raise InvalidArgumentError("items: none; give at least one picture or vector", field="items")
    check_count("items", count, limit)


class RerankFields(StrictFields):
    """The first hits are looked at again by a model that sees picture and text together."""

    model: Annotated[str | None, Field(description="The default model for matching where left out.")] = None
    k: Annotated[int, Field(description="How many of the first hits.")] = 20


class SearchFields(CallFields):
    """The fields of POST /v1/collections/{name}/search beside the picture.

    One of `text`, `image` and `vector`.
    """

    model: Annotated[None, Field(description="The collection's own encoder answers.", exclude=True)] = None

    text: Annotated[str | None, Field(description="Find pictures that these words describe.")] = None
    vector: Annotated[VectorValue | None, Field()] = None
    k: Annotated[int, Field(description="Hits wanted.")] = 10
    filter: Annotated[
        dict[str, Any] | None,
        Field(
            description='Which items may be hits, by their metadata: {"kind": "disc", "size": {"gte": 2}}; also and, '
            "or, not, ne, lt, lte, gt, in, exists. Applied before the search."
        ),
    ] = None
    rerank: Annotated[RerankFields | None, Field()] = None
    exact: Annotated[bool, Field(description="Score every vector.")] = False
    ef_search: Annotated[int | None, Field(description="Candidates of an hnsw index, for this search.")] = None
    nprobe: Annotated[int | None, Field(description="Cells of an ivf_pq index, for this search.")] = None


class SearchJson(SearchFields):
    """The JSON body of POST /v1/collections/{name}/search."""

    image: Annotated[
        str | None, Field(description="Find pictures like this one: base64, a data URI, or a URL where allowed.")
    ] = None


def search_of(fields: SearchFields, limits: LimitsConfig) -> CollectionSearch:
    """The search that checked fields ask for; its picture is sent beside them.

    Raises:
        InvalidArgumentError: a filter that is none, a vector that is none.
        TooLargeError: a longer text, or more hits, than the limits allow.
    """
    if fields.k > limits.hits:
        raise InvalidArgumentError(f"k: got {fields.k}, expected 1 to {limits.hits}", field="k")
    if fields.text is not None:
        check_text("text", fields.text, limits.text_chars)
    rerank = fields.rerank
    if rerank is not None:
        check_model(rerank.model)
    return CollectionSearch(
        text=fields.text,
        vector=None if fields.vector is None else read_vector(fields.vector, "vector"),
        k=fields.k,
        filter=None if fields.filter is None else parse_filter(fields.filter),
        effort=SearchEffort(ef_search=fields.ef_search, nprobe=fields.nprobe, exact=fields.exact),
        rerank=None if rerank is None else Rerank(model=rerank.model, k=rerank.k),
    )


def _search_weight(search: CollectionSearch, pictures: int) -> Weight:
    return search_weight(search.text, pictures, search.rerank.k if search.rerank else 0)


SEARCH_CALL = CallShape(SearchFields, SearchJson, search_of, needs_picture=False, weigh=_search_weight)
