from vlp_client.client import Client
from vlp_client.collection import Collection, NewItem, Rerank
from vlp_client.collection_records import Added, AddedItem, CollectionInfo, Hit, Hits, StoredItem
from vlp_client.errors import (
    CapacityError,
    ConnectError,
    ProtocolError,
    RequestError,
    ServerError,
    TimeoutError,
    VlpClientError,
)
from vlp_client.pictures import picture
from vlp_client.records import (
    Answer,
    Classification,
    Embeddings,
    LabelScore,
    Matches,
    ModelInfo,
    QuestionResult,
    TextScore,
    VqaAnswers,
    VqaResults,
)

__all__ = [
    "Added",
    "AddedItem",
    "Answer",
    "CapacityError",
    "Classification",
    "Client",
    "Collection",
    "CollectionInfo",
    "ConnectError",
    "Embeddings",
    "Hit",
    "Hits",
    "LabelScore",
    "Matches",
    "ModelInfo",
    "NewItem",
    "ProtocolError",
    "QuestionResult",
    "RequestError",
    "Rerank",
    "ServerError",
    "StoredItem",
    "TextScore",
    "TimeoutError",
    "VlpClientError",
    "VqaAnswers",
    "VqaResults",
    "picture",
]
