from vlp_client.address import Tls
from vlp_client.aio.captioning import AsyncCaptionStream
from vlp_client.aio.client import AsyncClient
from vlp_client.aio.collection import AsyncCollection
from vlp_client.aio.model_admin import AsyncModelAdmin
from vlp_client.bulk_records import BulkOptions, ItemResult
from vlp_client.caption_records import CaptionAnswer, CaptionOptions, ScoredCaption
from vlp_client.collection_records import Added, AddedItem, CollectionInfo, Hit, Hits, StoredItem
from vlp_client.errors import (
    AuthenticationError,
    CapacityError,
    ConnectError,
    JournalError,
    PermissionDeniedError,
    ProtocolError,
    RequestError,
    ServerError,
    TimeoutError,
    VlpClientError,
)
from vlp_client.judgement_records import (
    Entailment,
    Entailments,
    Grounding,
    Groundings,
    HypothesisResult,
    PhraseResult,
    ScoredBox,
    StatementResult,
    Truth,
    Truths,
)
from vlp_client.model_versions import ModelVersion
from vlp_client.new_items import NewItem, Rerank
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
from vlp_client.regions import FoundRegions, Region, Regions
from vlp_client.retries import Retries
from vlp_client.sync.captioning import CaptionStream
from vlp_client.sync.client import Client
from vlp_client.sync.collection import Collection
from vlp_client.sync.model_admin import ModelAdmin
from vlp_client.timeouts import Timeouts

__all__ = [
    "Added",
    "AddedItem",
    "Answer",
    "AsyncCaptionStream",
    "AsyncClient",
    "AsyncCollection",
    "AsyncModelAdmin",
    "AuthenticationError",
    "BulkOptions",
    "CapacityError",
    "CaptionAnswer",
    "CaptionOptions",
    "CaptionStream",
    "Classification",
    "Client",
    "Collection",
    "CollectionInfo",
    "ConnectError",
    "Embeddings",
    "Entailment",
    "Entailments",
    "FoundRegions",
    "Grounding",
    "Groundings",
    "Hit",
    "Hits",
    "HypothesisResult",
    "ItemResult",
    "JournalError",
    "LabelScore",
    "Matches",
    "ModelAdmin",
    "ModelInfo",
    "ModelVersion",
    "NewItem",
    "PermissionDeniedError",
    "PhraseResult",
    "ProtocolError",
    "QuestionResult",
    "Region",
    "Regions",
    "RequestError",
    "Rerank",
    "Retries",
    "ScoredBox",
    "ScoredCaption",
    "ServerError",
    "StatementResult",
    "StoredItem",
    "TextScore",
    "TimeoutError",
    "Timeouts",
    "Tls",
    "Truth",
    "Truths",
    "VlpClientError",
    "VqaAnswers",
    "VqaResults",
    "picture",
]
