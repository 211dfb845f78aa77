"""What one request to a task model may hold: as much as a call of the HTTP API, and no more."""

from __future__ import annotations

from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import Task
from vlp_spec.triton_names import IMAGE, TEXT

from vlp_server.config.settings import LimitsConfig
from vlp_server.core.call_checks import check_count, check_text, check_texts
from vlp_server.task_models.task_options import ClassifyOptions, TaskOptions, VqaOptions
from vlp_server.task_models.task_records import TaskRequest


def check_limits(task: Task, request: TaskRequest, options: TaskOptions, limits: LimitsConfig) -> None:
    """Refuse a request that is over a limit; how many pictures a task wants, it says itself.

    Raises:
        TooLargeError: more or longer texts, or more pictures, than the limits allow.
        InvalidArgumentError: a text that is none.
    """
    texts = request.texts
    if isinstance(options, VqaOptions):
        check_texts(TEXT, texts, limits.questions, limits.question_chars)
        check_texts("answers", options.answers or (), limits.answers, limits.answer_chars)
    elif isinstance(options, ClassifyOptions):
        check_texts("labels", texts, limits.labels, limits.label_chars)
        check_texts("templates", options.templates, limits.templates, limits.text_chars)
    elif task is Task.EMBEDDINGS:
        check_count(f"{IMAGE}, {TEXT}", len(request.images) + len(texts), limits.inputs)
        for index, text in enumerate(texts):
            if not text.strip():
                raise InvalidArgumentError(f"{TEXT}[{index}]: an empty text", field=TEXT)
            check_text(TEXT, text, limits.text_chars)
    else:
        check_texts(TEXT, texts, limits.texts, limits.text_chars)
