from vlp_client.client import Client
from vlp_client.errors import (
    CapacityError,
    ConnectError,
    ProtocolError,
    RequestError,
    ServerError,
    TimeoutError,
    VlpClientError,
)
from vlp_client.records import Answer, ModelInfo, QuestionResult, VqaAnswers, VqaResults

__all__ = [
    "Answer",
    "CapacityError",
    "Client",
    "ConnectError",
    "ModelInfo",
    "ProtocolError",
    "QuestionResult",
    "RequestError",
    "ServerError",
    "TimeoutError",
    "VlpClientError",
    "VqaAnswers",
    "VqaResults",
]
