"""The one tree of errors. It knows kinds and words, and nothing of HTTP, gRPC or exit codes.

VlpError                       kind, message (safe to show), detail (for the log only)
├─ RequestError                the caller can repair it
│  ├─ InvalidArgumentError     invalid_argument       a field is missing, unknown, or out of range
│  ├─ InvalidImageError        invalid_image          bytes that are not a picture, or a broken one
│  ├─ UnsupportedMediaError    unsupported_media_type a content type that this server does not read
│  ├─ TooLargeError            too_large              body, picture, text or batch over a limit
│  ├─ ModelNotFoundError       model_not_found
│  ├─ TaskNotSupportedError    task_not_supported     the model exists and does not do this
│  ├─ ModelConflictError       model_conflict         loading, switching or unloading it now would be wrong, or fails
│  ├─ CollectionNotFoundError  collection_not_found
│  ├─ ItemNotFoundError        item_not_found         the collection is there, the item or its picture is not
│  ├─ CollectionExistsError    collection_exists      under this name, with another specification
│  ├─ EncoderMismatchError     encoder_mismatch       a collection of one encoder, vectors of another
│  ├─ NoPicturesError          no_pictures            the collection does not keep what this needs
│  ├─ NoExtractorError         no_extractor           features are needed, and nothing here makes them
│  ├─ UnauthenticatedError     unauthenticated        no key was sent, or one that is not known here
│  ├─ PermissionDeniedError    permission_denied      this may not be done, or not with the caller's key
│  └─ CancelledError           cancelled              the caller has gone away
├─ CapacityError               try again later (retry_after_s)
│  ├─ OverloadedError          overloaded             the queue is full
│  ├─ RateLimitedError         rate_limited           this caller asks more than it may; others are answered
│  ├─ UnavailableError         unavailable            loading, draining, or not proved
│  ├─ DeadlineError            deadline_exceeded
│  └─ StorageFullError         storage_full           the disk is full; nothing of this write was kept
├─ InferenceError              inference_failed       this item made the model fail (NaN, run-time error)
├─ InternalError               internal               ours
└─ StartupError                never on the wire; the process ends
   ├─ ConfigError              config                 lists every fault at once
   ├─ ArtifactError            artifact               a checkpoint or deployment that cannot be used
   └─ ProofError               proof                  an exported graph that is not its checkpoint
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar


class ErrorKind(StrEnum):
    """Stable names of faults; clients rebuild their errors from them."""

    INVALID_ARGUMENT = "invalid_argument"
    INVALID_IMAGE = "invalid_image"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    TOO_LARGE = "too_large"
    MODEL_NOT_FOUND = "model_not_found"
    TASK_NOT_SUPPORTED = "task_not_supported"
    MODEL_CONFLICT = "model_conflict"
    COLLECTION_NOT_FOUND = "collection_not_found"
    ITEM_NOT_FOUND = "item_not_found"
    COLLECTION_EXISTS = "collection_exists"
    ENCODER_MISMATCH = "encoder_mismatch"
    NO_PICTURES = "no_pictures"
    NO_EXTRACTOR = "no_extractor"
    UNAUTHENTICATED = "unauthenticated"
    PERMISSION_DENIED = "permission_denied"
    CANCELLED = "cancelled"
    OVERLOADED = "overloaded"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    STORAGE_FULL = "storage_full"
    INFERENCE_FAILED = "inference_failed"
    INTERNAL = "internal"
    CONFIG = "config"
    ARTIFACT = "artifact"
    PROOF = "proof"


class VlpError(Exception):
    """Root of all errors that vlpserve raises on purpose.

    Args:
        message: for the caller: what, got, expected, what to do.
        detail: for the log only; never sent to a caller.
    """

    kind: ClassVar[ErrorKind] = ErrorKind.INTERNAL

    def __init__(self, message: str, *, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class RequestError(VlpError):
    """The caller can repair it."""

    kind = ErrorKind.INVALID_ARGUMENT


class InvalidArgumentError(RequestError):
    """A field is missing, unknown, or out of range. `field` names it where one is at fault."""

    kind = ErrorKind.INVALID_ARGUMENT

    def __init__(self, message: str, *, field: str | None = None, detail: str | None = None) -> None:
        super().__init__(message, detail=detail)
        self.field = field


class InvalidImageError(RequestError):
    """Bytes that are not a picture that this server can read."""

    kind = ErrorKind.INVALID_IMAGE


class UnsupportedMediaError(RequestError):
    """A content type that this server does not read."""

    kind = ErrorKind.UNSUPPORTED_MEDIA_TYPE


class TooLargeError(RequestError):
    """A body, picture, text or batch is over its limit."""

    kind = ErrorKind.TOO_LARGE


class ModelNotFoundError(RequestError):
    """No such model, version or alias is served."""

    kind = ErrorKind.MODEL_NOT_FOUND


class TaskNotSupportedError(RequestError):
    """The model exists and does not do this task."""

    kind = ErrorKind.TASK_NOT_SUPPORTED


class ModelConflictError(RequestError):
    """What is asked of a model does not go with what it, or another one, is at now; the message says why."""

    kind = ErrorKind.MODEL_CONFLICT


class CollectionNotFoundError(RequestError):
    """No collection of this name."""

    kind = ErrorKind.COLLECTION_NOT_FOUND


class ItemNotFoundError(RequestError):
    """The collection is there; the item, or its picture, is not."""

    kind = ErrorKind.ITEM_NOT_FOUND


class CollectionExistsError(RequestError):
    """A collection of this name is there already, and its specification is another."""

    kind = ErrorKind.COLLECTION_EXISTS


class EncoderMismatchError(RequestError):
    """The collection's vectors come from another encoder; the two cannot be compared."""

    kind = ErrorKind.ENCODER_MISMATCH


class NoPicturesError(RequestError):
    """The collection does not keep the pictures that this needs."""

    kind = ErrorKind.NO_PICTURES


class NoExtractorError(RequestError):
    """The model reads region features, and what makes them of pictures is not served."""

    kind = ErrorKind.NO_EXTRACTOR


class UnauthenticatedError(RequestError):
    """No key was sent where one is asked for, or one that is not known here."""

    kind = ErrorKind.UNAUTHENTICATED


class PermissionDeniedError(RequestError):
    """What is asked for may not be done here, or not with the caller's key, whose role does not suffice."""

    kind = ErrorKind.PERMISSION_DENIED


class CancelledError(RequestError):
    """The caller has gone away; nobody reads this answer."""

    kind = ErrorKind.CANCELLED


class CapacityError(VlpError):
    """Nothing is wrong with the request; try again after `retry_after_s` seconds."""

    kind = ErrorKind.UNAVAILABLE

    def __init__(self, message: str, *, retry_after_s: float = 1.0, detail: str | None = None) -> None:
        super().__init__(message, detail=detail)
        self.retry_after_s = retry_after_s


class OverloadedError(CapacityError):
    """The queue is full."""

    kind = ErrorKind.OVERLOADED


class RateLimitedError(CapacityError):
    """The caller asks more than its limits allow; others are answered."""

    kind = ErrorKind.RATE_LIMITED


class UnavailableError(CapacityError):
    """The model or server is loading, draining, or has not proved itself."""

    kind = ErrorKind.UNAVAILABLE


class DeadlineError(CapacityError):
    """The deadline passed before the answer was there."""

    kind = ErrorKind.DEADLINE_EXCEEDED


class StorageFullError(CapacityError):
    """The disk is full. Nothing of this write was kept, and nothing that was kept before is lost."""

    kind = ErrorKind.STORAGE_FULL


class InferenceError(VlpError):
    """The model failed on this item alone: a run-time error, or outputs that are not finite."""

    kind = ErrorKind.INFERENCE_FAILED


class InternalError(VlpError):
    """A fault of the server. The message is fixed; what happened is in the log."""

    kind = ErrorKind.INTERNAL

    def __init__(self, *, detail: str | None = None) -> None:
        super().__init__("internal error; the server's log has the details", detail=detail)


class StartupError(VlpError):
    """The process cannot do what it was started for."""


class ConfigError(StartupError):
    """Faults of a configuration, all at once, each with its source."""

    kind = ErrorKind.CONFIG

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class ArtifactError(StartupError):
    """A checkpoint, tokenizer, label list or deployment that cannot be used as it is."""

    kind = ErrorKind.ARTIFACT


class ProofError(StartupError):
    """An exported graph whose outputs are not those of its checkpoint; it is not published."""

    kind = ErrorKind.PROOF
