from google.protobuf import struct_pb2 as _struct_pb2
from vlp_proto.vlp.v1 import content_pb2 as _content_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Metric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_UNSPECIFIED: _ClassVar[Metric]
    METRIC_COSINE: _ClassVar[Metric]
    METRIC_DOT: _ClassVar[Metric]
    METRIC_L2: _ClassVar[Metric]

class IndexKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INDEX_KIND_UNSPECIFIED: _ClassVar[IndexKind]
    INDEX_KIND_FLAT: _ClassVar[IndexKind]
    INDEX_KIND_HNSW: _ClassVar[IndexKind]
    INDEX_KIND_IVF_PQ: _ClassVar[IndexKind]

class ItemStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ITEM_STATUS_UNSPECIFIED: _ClassVar[ItemStatus]
    ITEM_STATUS_CREATED: _ClassVar[ItemStatus]
    ITEM_STATUS_UPDATED: _ClassVar[ItemStatus]
    ITEM_STATUS_FAILED: _ClassVar[ItemStatus]
METRIC_UNSPECIFIED: Metric
METRIC_COSINE: Metric
METRIC_DOT: Metric
METRIC_L2: Metric
INDEX_KIND_UNSPECIFIED: IndexKind
INDEX_KIND_FLAT: IndexKind
INDEX_KIND_HNSW: IndexKind
INDEX_KIND_IVF_PQ: IndexKind
ITEM_STATUS_UNSPECIFIED: ItemStatus
ITEM_STATUS_CREATED: ItemStatus
ITEM_STATUS_UPDATED: ItemStatus
ITEM_STATUS_FAILED: ItemStatus

class IndexSettings(_message.Message):
    __slots__ = ("kind", "flat_below", "hnsw_links", "ef_construction", "ef_search", "ivf_lists", "nprobe", "pq_bytes", "refine")
    KIND_FIELD_NUMBER: _ClassVar[int]
    FLAT_BELOW_FIELD_NUMBER: _ClassVar[int]
    HNSW_LINKS_FIELD_NUMBER: _ClassVar[int]
    EF_CONSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    EF_SEARCH_FIELD_NUMBER: _ClassVar[int]
    IVF_LISTS_FIELD_NUMBER: _ClassVar[int]
    NPROBE_FIELD_NUMBER: _ClassVar[int]
    PQ_BYTES_FIELD_NUMBER: _ClassVar[int]
    REFINE_FIELD_NUMBER: _ClassVar[int]
    kind: IndexKind
    flat_below: int
    hnsw_links: int
    ef_construction: int
    ef_search: int
    ivf_lists: int
    nprobe: int
    pq_bytes: int
    refine: int
    def __init__(self, kind: _Optional[_Union[IndexKind, str]] = ..., flat_below: _Optional[int] = ..., hnsw_links: _Optional[int] = ..., ef_construction: _Optional[int] = ..., ef_search: _Optional[int] = ..., ivf_lists: _Optional[int] = ..., nprobe: _Optional[int] = ..., pq_bytes: _Optional[int] = ..., refine: _Optional[int] = ...) -> None: ...

class Collection(_message.Message):
    __slots__ = ("name", "model", "encoder", "dimension", "metric", "store_images", "items", "created", "index", "index_settings")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    STORE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INDEX_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    encoder: str
    dimension: int
    metric: Metric
    store_images: bool
    items: int
    created: int
    index: CollectionIndex
    index_settings: IndexSettings
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., encoder: _Optional[str] = ..., dimension: _Optional[int] = ..., metric: _Optional[_Union[Metric, str]] = ..., store_images: _Optional[bool] = ..., items: _Optional[int] = ..., created: _Optional[int] = ..., index: _Optional[_Union[CollectionIndex, _Mapping]] = ..., index_settings: _Optional[_Union[IndexSettings, _Mapping]] = ...) -> None: ...

class CollectionIndex(_message.Message):
    __slots__ = ("kind", "built_items", "tail_items", "deleted_items", "building")
    KIND_FIELD_NUMBER: _ClassVar[int]
    BUILT_ITEMS_FIELD_NUMBER: _ClassVar[int]
    TAIL_ITEMS_FIELD_NUMBER: _ClassVar[int]
    DELETED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    BUILDING_FIELD_NUMBER: _ClassVar[int]
    kind: IndexKind
    built_items: int
    tail_items: int
    deleted_items: int
    building: bool
    def __init__(self, kind: _Optional[_Union[IndexKind, str]] = ..., built_items: _Optional[int] = ..., tail_items: _Optional[int] = ..., deleted_items: _Optional[int] = ..., building: _Optional[bool] = ...) -> None: ...

class CreateCollectionRequest(_message.Message):
    __slots__ = ("name", "model", "metric", "store_images", "index")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    STORE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    metric: Metric
    store_images: bool
    index: IndexSettings
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., metric: _Optional[_Union[Metric, str]] = ..., store_images: _Optional[bool] = ..., index: _Optional[_Union[IndexSettings, _Mapping]] = ...) -> None: ...

class CreateCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class GetCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetCollectionResponse(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: Collection
    def __init__(self, collection: _Optional[_Union[Collection, _Mapping]] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("collections",)
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[Collection]
    def __init__(self, collections: _Optional[_Iterable[_Union[Collection, _Mapping]]] = ...) -> None: ...

class DeleteCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteCollectionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AddItemsRequest(_message.Message):
    __slots__ = ("collection", "items")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    items: _containers.RepeatedCompositeFieldContainer[NewItem]
    def __init__(self, collection: _Optional[str] = ..., items: _Optional[_Iterable[_Union[NewItem, _Mapping]]] = ...) -> None: ...

class NewItem(_message.Message):
    __slots__ = ("id", "picture", "vector", "metadata")
    ID_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    id: str
    picture: _content_pb2.Picture
    vector: _content_pb2.Vector
    metadata: _struct_pb2.Struct
    def __init__(self, id: _Optional[str] = ..., picture: _Optional[_Union[_content_pb2.Picture, _Mapping]] = ..., vector: _Optional[_Union[_content_pb2.Vector, _Mapping]] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class AddItemsResponse(_message.Message):
    __slots__ = ("model", "encoder", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    encoder: str
    results: _containers.RepeatedCompositeFieldContainer[AddedItem]
    def __init__(self, model: _Optional[str] = ..., encoder: _Optional[str] = ..., results: _Optional[_Iterable[_Union[AddedItem, _Mapping]]] = ...) -> None: ...

class AddedItem(_message.Message):
    __slots__ = ("id", "status", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: ItemStatus
    error: _content_pb2.Fault
    def __init__(self, id: _Optional[str] = ..., status: _Optional[_Union[ItemStatus, str]] = ..., error: _Optional[_Union[_content_pb2.Fault, _Mapping]] = ...) -> None: ...

class LookupItemsRequest(_message.Message):
    __slots__ = ("collection", "ids")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[str]] = ...) -> None: ...

class LookupItemsResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[KnownItem]
    def __init__(self, items: _Optional[_Iterable[_Union[KnownItem, _Mapping]]] = ...) -> None: ...

class KnownItem(_message.Message):
    __slots__ = ("id", "image_sha256")
    ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SHA256_FIELD_NUMBER: _ClassVar[int]
    id: str
    image_sha256: str
    def __init__(self, id: _Optional[str] = ..., image_sha256: _Optional[str] = ...) -> None: ...

class GetItemRequest(_message.Message):
    __slots__ = ("collection", "id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    id: str
    def __init__(self, collection: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class GetItemResponse(_message.Message):
    __slots__ = ("item",)
    ITEM_FIELD_NUMBER: _ClassVar[int]
    item: Item
    def __init__(self, item: _Optional[_Union[Item, _Mapping]] = ...) -> None: ...

class Item(_message.Message):
    __slots__ = ("id", "metadata", "image_sha256", "image_stored", "created")
    ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SHA256_FIELD_NUMBER: _ClassVar[int]
    IMAGE_STORED_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    id: str
    metadata: _struct_pb2.Struct
    image_sha256: str
    image_stored: bool
    created: int
    def __init__(self, id: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., image_sha256: _Optional[str] = ..., image_stored: _Optional[bool] = ..., created: _Optional[int] = ...) -> None: ...

class GetItemPictureRequest(_message.Message):
    __slots__ = ("collection", "id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    id: str
    def __init__(self, collection: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class GetItemPictureResponse(_message.Message):
    __slots__ = ("content", "sha256")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    sha256: str
    def __init__(self, content: _Optional[bytes] = ..., sha256: _Optional[str] = ...) -> None: ...

class DeleteItemRequest(_message.Message):
    __slots__ = ("collection", "id")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    collection: str
    id: str
    def __init__(self, collection: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class DeleteItemResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("collection", "text", "picture", "vector", "k", "filter", "rerank", "exact", "ef_search", "nprobe")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    RERANK_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    EF_SEARCH_FIELD_NUMBER: _ClassVar[int]
    NPROBE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    text: str
    picture: _content_pb2.Picture
    vector: _content_pb2.Vector
    k: int
    filter: _struct_pb2.Struct
    rerank: Rerank
    exact: bool
    ef_search: int
    nprobe: int
    def __init__(self, collection: _Optional[str] = ..., text: _Optional[str] = ..., picture: _Optional[_Union[_content_pb2.Picture, _Mapping]] = ..., vector: _Optional[_Union[_content_pb2.Vector, _Mapping]] = ..., k: _Optional[int] = ..., filter: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., rerank: _Optional[_Union[Rerank, _Mapping]] = ..., exact: _Optional[bool] = ..., ef_search: _Optional[int] = ..., nprobe: _Optional[int] = ...) -> None: ...

class Rerank(_message.Message):
    __slots__ = ("model", "k")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    model: str
    k: int
    def __init__(self, model: _Optional[str] = ..., k: _Optional[int] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("model", "encoder", "hits", "reranked_by")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    RERANKED_BY_FIELD_NUMBER: _ClassVar[int]
    model: str
    encoder: str
    hits: _containers.RepeatedCompositeFieldContainer[SearchHit]
    reranked_by: str
    def __init__(self, model: _Optional[str] = ..., encoder: _Optional[str] = ..., hits: _Optional[_Iterable[_Union[SearchHit, _Mapping]]] = ..., reranked_by: _Optional[str] = ...) -> None: ...

class SearchHit(_message.Message):
    __slots__ = ("id", "score", "metadata", "rerank_score")
    ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    RERANK_SCORE_FIELD_NUMBER: _ClassVar[int]
    id: str
    score: float
    metadata: _struct_pb2.Struct
    rerank_score: float
    def __init__(self, id: _Optional[str] = ..., score: _Optional[float] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., rerank_score: _Optional[float] = ...) -> None: ...
