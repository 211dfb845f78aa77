"""Which served model a caller means. The names that callers send go no further than this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from vlp_pipeline.pipeline import RegionReader
from vlp_spec.errors import ConfigError, ModelNotFoundError, NoExtractorError
from vlp_spec.tasks import Task

from vlp_server.core.records import ModelCard, ModelState
from vlp_server.core.served_model import ServedModel
from vlp_server.core.usable_model import UsableModel

_SHOWN_NAMES = 20


class ModelDirectory:
    """The served models by name, name@version and name@alias.

    Args:
        models: at least one.
        default: a reference among them, which answers requests that name no model wherever it does their task; None =
            the first.

    Raises:
        ConfigError: the default is not among them.
    """

    def __init__(self, models: Sequence[ServedModel], default: str | None) -> None:
        self._models = list(models)
        self.default = self._models[0]
        if default is not None:
            matching = [m for m in models if default in (m.settings.reference, _name(m.settings.reference))]
            if not matching:
                served = ", ".join(model.settings.reference for model in models)
                raise ConfigError([f"default_model: {default!r} is none of the served models: {served}"])
            self.default = matching[0]

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models)

    def default_for(self, task: Task) -> ServedModel:
        """The model for requests that name none: the default where it does the task, else the first that does.

        A model whose tasks are not known (it is loading, or could not be loaded) is taken for one that does: its state
        says to the caller what is the matter. When no model does the task it is the default, which will refuse it.
        """
        ordered = [self.default, *(model for model in self._models if model is not self.default)]
        return next((model for model in ordered if model.may_do(task)), self.default)

    def with_encoder(self, digest: str, task: Task = Task.EMBEDDINGS) -> ServedModel | None:
        """The loaded model that makes vectors, or regions, with this encoder digest, one that is ready before others;
        else None.
        """
        same = [
            model
            for model in self._models
            if model.loaded is not None and model.loaded.encoder_digest == digest and model.may_do(task)
        ]
        return max(same, key=lambda model: model.state is ModelState.READY, default=None)

    def readers_of(self, model_digest: str) -> list[str]:
        """Digests of the models that read what the extractor of a digest gives."""
        found = []
        extractors = {
            one.loaded.encoder_digest for one in self._models if one.loaded and one.loaded.digest == model_digest
        }
        for model in self._models:
            if model.loaded is not None and hasattr(model.loaded.pipeline, "prepare_regions"):
                reader = cast(RegionReader, model.loaded.pipeline)
                found += [model.loaded.digest] if reader.regions.extractor_digest in extractors else []
        return found

    def find(self, wanted: str | None, task: Task | None = None) -> ServedModel:
        """The model that a request names, and where it names none the default one of its task.

        Of several versions of a name without a version the highest is meant. While the version of a model is not known
        (it is loading, or could not be), it stands for every version of its name.

        Raises:
            ModelNotFoundError: none of the served ones.
        """
        if wanted is None:
            return self.default if task is None else self.default_for(task)
        name, _, suffix = wanted.partition("@")
        matching = [model for model in self._models if _matches(model, name, suffix, wanted)]
        if not matching:
            served = sorted(model.label for model in self._models)[:_SHOWN_NAMES]
            raise ModelNotFoundError(f"model {wanted[:128]!r}: not served here; there are: {', '.join(served)}")
        return max(matching, key=_version)

    def extractor_for(self, reader: RegionReader) -> UsableModel:
        """The served model that makes the features that a model reads.

        Raises:
            NoExtractorError: there is none, or another version of it.
            UnavailableError: it is not ready.
        """
        wanted = reader.regions
        if not wanted.extractor:
            raise NoExtractorError("this model reads region features; send them as `regions`: no extractor is named")
        served = self.with_encoder(wanted.extractor_digest, Task.REGIONS)
        if served is not None:
            return served.usable()
        for model in self:  # it may be one of these
            if model.state is ModelState.LOADING or (model.loaded is None and model.is_called(wanted.extractor)):
                model.usable()
        raise NoExtractorError(
            f"this model reads region features of {wanted.extractor!r} ({wanted.extractor_digest[:12]}), which is "
            "not served here; serve it too, or send `regions`"
        )

    def cards(self) -> list[ModelCard]:
        """What a caller may know of the models, the default one first."""
        default = self.default
        defaults = {task: self.default_for(task) for task in Task}
        return [
            model.card(
                default=model is default,
                default_for=tuple(
                    task for task, chosen in defaults.items() if chosen is model and model.loaded and model.may_do(task)
                ),
            )
            for model in sorted(self, key=lambda model: model is not default)
        ]


def _matches(model: ServedModel, name: str, suffix: str, wanted: str) -> bool:
    loaded = model.loaded
    if loaded is None:
        reference = model.settings.reference
        return wanted == reference or (name == _name(reference) and ("@" not in wanted or "@" not in reference))
    if name != loaded.deployment.name:
        return False
    return "@" not in wanted or suffix == str(loaded.deployment.version) or suffix in loaded.aliases


def _version(model: ServedModel) -> int:
    return model.loaded.deployment.version if model.loaded else 0


def _name(reference: str) -> str:
    return reference.partition("@")[0]
