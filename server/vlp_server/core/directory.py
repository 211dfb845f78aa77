"""Which served model a caller means. The names that callers send go no further than this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import cast

from vlp_pipeline.pipeline import RegionReader
from vlp_spec.errors import ConfigError, ModelNotFoundError, NoExtractorError
from vlp_spec.tasks import Task

from vlp_server.core.name_history import NameHistory
from vlp_server.core.records import ModelCard, ModelState
from vlp_server.core.served_model import ServedModel
from vlp_server.core.usable_model import UsableModel

_SHOWN_NAMES = 20


class ModelDirectory:
    """The served models by name, name@version and name@alias. Models come and go while requests run.

    A name without a version means the highest of the versions that were configured, until it is switched to another.
    From then on it means what it was switched to last. A model that was added on trial is found by its version, or by
    the digest of what it makes, and by nothing else.

    Args:
        models: at least one; the configured ones.
        default: a reference among them, which answers requests that name no model wherever it does their task; None =
            the first.

    Raises:
        ConfigError: the default is not among them.
    """

    def __init__(self, models: Sequence[ServedModel], default: str | None) -> None:
        self._models = list(models)
        self._configured = set(models)
        self._names: NameHistory[ServedModel] = NameHistory()
        self._default = self._models[0]
        if default is not None:
            matching = [m for m in models if default in (m.settings.reference, _name(m.settings.reference))]
            if not matching:
                served = ", ".join(model.settings.reference for model in models)
                raise ConfigError([f"default_model: {default!r} is none of the served models: {served}"])
            self._default = matching[0]

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(list(self._models))

    @property
    def default(self) -> ServedModel | None:
        """The default model, or what its name means since that was switched; None when nothing is left to mean."""
        name = _name(self._default.settings.reference)
        if name not in self._names and self._default in self._models:
            return self._default
        return self.current(name) or next(iter(self.leading()), None)

    def current(self, name: str) -> ServedModel | None:
        """What a name without a version means."""
        if name in self._names:
            return self._names.now(name)
        candidates = [model for model in self._models if model in self._configured and model.is_called(name)]
        return max(candidates, key=_version, default=None)

    def previous(self, name: str) -> ServedModel | None:
        """What `rollback` would make a name mean."""
        return self._names.before(name)

    def leading(self) -> list[ServedModel]:
        """The models that requests can mean without a version, or were configured to have: the server is ready when
        these are. Of a name that was switched it is what that means now.
        """
        return [model for model in self._models if self._is_leading(model)]

    def add(self, model: ServedModel, instead_of: ServedModel | None = None) -> None:
        """Serve a model on trial, or in the place of one that could not be loaded."""
        if instead_of is None:
            self._models.append(model)
            return
        self._models[self._models.index(instead_of)] = model
        self._names.replace(instead_of, model)
        if instead_of in self._configured:
            self._configured = (self._configured - {instead_of}) | {model}
        if instead_of is self._default:
            self._default = model

    def switch(self, name: str, model: ServedModel) -> None:
        """Let a name mean this served model from now on."""
        self._names.switch(name, self.current(name), model)

    def rollback(self, name: str) -> None:
        """Let a name mean what `previous` says."""
        self._names.back(name)

    def remove(self, model: ServedModel) -> None:
        """Let nobody find a model any more; names that meant it before have not."""
        self._models.remove(model)
        self._configured.discard(model)
        self._names.forget(model)

    def default_for(self, task: Task) -> ServedModel | None:
        """The model for requests that name none: the default where it does the task, else the first that does.

        A model whose tasks are not known (it is loading, or could not be loaded) is taken for one that does: its state
        says to the caller what is the matter. When no model does the task it is the default, which will refuse it.
        """
        default = self.default
        ordered = [*([] if default is None else [default]), *self.leading()]
        return next((model for model in ordered if model.may_do(task)), default)

    def with_encoder(self, digest: str, task: Task = Task.EMBEDDINGS) -> ServedModel | None:
        """The loaded model that makes vectors, or regions, with this encoder digest, one that is ready before others;
        else None.
        """
        same = [
            model
            for model in self._models
            if model.loaded is not None and model.loaded.encoder_digest == digest and model.may_do(task)
        ]
        leading = self.leading()
        return max(same, key=lambda model: (model.state is ModelState.READY, model in leading), default=None)

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

    def readers_without(self, model: ServedModel) -> list[ServedModel]:
        """The served models whose region features this one makes, and no other served one."""
        if model.loaded is None:
            return []
        others = [(one, one.loaded) for one in self._models if one is not model and one.loaded is not None]
        if any(loaded.encoder_digest == model.loaded.encoder_digest for _, loaded in others):
            return []
        readers = self.readers_of(model.loaded.digest)
        return [one for one, loaded in others if loaded.digest in readers]

    def find(self, wanted: str | None, task: Task | None = None) -> ServedModel:
        """The model that a request names, and where it names none the default one of its task.

        While the version of a model is not known (it is loading, or could not be), it stands for every version of its
        name.

        Raises:
            ModelNotFoundError: none of the served ones.
        """
        found = self._default_of(task) if wanted is None else self._named(wanted)
        if found is not None:
            return found
        served = ", ".join(sorted(model.label for model in self._models)[:_SHOWN_NAMES])
        if wanted is None:
            raise ModelNotFoundError(f"no model answers calls that name none; there are: {served or 'none'}")
        raise ModelNotFoundError(f"model {wanted[:128]!r}: not served here; there are: {served or 'none'}")

    def _is_leading(self, model: ServedModel) -> bool:
        name = _name(model.settings.reference)
        return self._names.now(name) is model if name in self._names else model in self._configured

    def _default_of(self, task: Task | None) -> ServedModel | None:
        return self.default if task is None else self.default_for(task)

    def _named(self, wanted: str) -> ServedModel | None:
        name, at, suffix = wanted.partition("@")
        if not at:
            return self.current(name)
        matching = [model for model in self._models if _matches(model, name, suffix, wanted)]
        return max(matching, key=_version, default=None)

    def extractor_for(self, reader: RegionReader) -> AbstractContextManager[UsableModel]:
        """The served model that makes the features that a model reads, to be used within the context.

        Raises:
            NoExtractorError: there is none, or another version of it.
            UnavailableError: it is not ready; at once, or on entering.
        """
        wanted = reader.regions
        if not wanted.extractor:
            raise NoExtractorError("this model reads region features; send them as `regions`: no extractor is named")
        served = self.with_encoder(wanted.extractor_digest, Task.REGIONS)
        if served is not None:
            return served.use()
        for model in self:  # it may be one of these
            if model.state is ModelState.LOADING or (model.loaded is None and model.is_called(wanted.extractor)):
                model.usable()
        raise NoExtractorError(
            f"this model reads region features of {wanted.extractor!r} ({wanted.extractor_digest[:12]}), which is "
            "not served here; serve it too, or send `regions`"
        )

    def cards(self, wanted: str | None = None) -> list[ModelCard]:
        """What a caller may know of the models, the default one first; or of the one that a request names.

        Raises:
            ModelNotFoundError: it names none of the served ones.
        """
        default = self.default
        shown = self if wanted is None else [self.find(wanted)]
        defaults = {task: self.default_for(task) for task in Task}
        return [
            model.card(
                default=model is default,
                default_for=tuple(
                    task for task, chosen in defaults.items() if chosen is model and model.loaded and model.may_do(task)
                ),
            )
            for model in sorted(shown, key=lambda model: model is not default)
        ]


def _matches(model: ServedModel, name: str, suffix: str, wanted: str) -> bool:
    """Whether a name with a version, or with an alias, may mean a model."""
    loaded = model.loaded
    if loaded is None:
        reference = model.settings.reference
        return wanted == reference or (name == _name(reference) and "@" not in reference)
    if name != loaded.deployment.name:
        return False
    return suffix == str(loaded.deployment.version) or suffix in loaded.aliases


def _version(model: ServedModel) -> int:
    return model.loaded.deployment.version if model.loaded else 0


def _name(reference: str) -> str:
    return reference.partition("@")[0]
