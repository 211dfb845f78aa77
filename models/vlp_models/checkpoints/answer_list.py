"""The list of answers of a VQA head, from any layout that checkpoints come with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.json_file import read_json

_LAYOUTS = 'a list of answers, {"0": answer, ...}, {answer: 0, ...}, or either under "id2label" or "label2id"'


def read_answer_list(path: Path, num_labels: int) -> tuple[str, ...]:
    """Read a JSON file of answers: a list, vqa_dict.json, ans2label.json, or a config.json with id2label.

    Args:
        path: the file.
        num_labels: width of the head; the list must have as many.

    Raises:
        ArtifactError: another layout, another number of answers, or ids that do not count from 0.
    """
    return parse_answer_list(read_json(path), num_labels, str(path))


def read_answers(path: Path) -> tuple[str, ...]:
    """Read a JSON file of answers for a model that writes: any number of them, in any layout of `read_answer_list`.

    Raises:
        ArtifactError: another layout, no answer, or ids that do not count from 0.
    """
    content = read_json(path)
    if isinstance(content, Mapping):
        content = content.get("id2label") or content.get("label2id") or content
        content = _by_id(content, str(path))
        return _in_order(content, len(content), str(path))
    answers = parse_answer_list(content, len(content) if isinstance(content, list) else 0, str(path))
    if not answers:
        raise ArtifactError(f"{path}: not one answer in it")
    return answers


def parse_answer_list(content: Any, num_labels: int, source: str) -> tuple[str, ...]:
    """Turn parsed JSON into the answers in the order of the logits.

    A mapping may leave out one id in a thousand (at least one may be left out): its answer is then the empty
    string. The published vqa_dict.json lacks id 125, whose answer is empty in UNITER's list.

    Args:
        content: a list, or a mapping in either direction, or a mapping that holds one under id2label or label2id.
        num_labels: width of the head.
        source: names the list in errors.

    Raises:
        ArtifactError: as in `read_answer_list`.
    """
    if isinstance(content, Mapping):
        content = content.get("id2label") or content.get("label2id") or content
        by_id = _by_id(content, source)
        return _in_order(by_id, num_labels, source)
    if not isinstance(content, list) or not all(isinstance(answer, str) for answer in content):
        raise ArtifactError(f"{source}: not a list of answers; expected {_LAYOUTS}")
    if len(content) != num_labels:
        raise ArtifactError(f"{source}: got {len(content)} answers, but the model's head has {num_labels} outputs")
    return tuple(content)


def _by_id(content: Any, source: str) -> dict[int, str]:
    if isinstance(content, Mapping) and content:
        if all(isinstance(answer, str) and str(key).isdecimal() for key, answer in content.items()):
            return {int(key): answer for key, answer in content.items()}
        if all(isinstance(number, int) for number in content.values()):
            by_id = {number: str(answer) for answer, number in content.items()}
            if len(by_id) == len(content):
                return by_id
            raise ArtifactError(f"{source}: two answers share an id")
    raise ArtifactError(f"{source}: not a list of answers; expected {_LAYOUTS}")


def _in_order(by_id: Mapping[int, str], num_labels: int, source: str) -> tuple[str, ...]:
    absent = [number for number in range(num_labels) if number not in by_id]
    outside = [number for number in by_id if not 0 <= number < num_labels]
    may_lack = max(1, num_labels // 1000)
    # The last id tells the width of the list: without it the list belongs to a smaller head.
    if outside or len(absent) > may_lack or num_labels - 1 in absent:
        raise ArtifactError(
            f"{source}: got {len(by_id)} answers with ids {min(by_id)} to {max(by_id)}, but the model's head has "
            f"{num_labels} outputs (ids 0 to {num_labels - 1})"
        )
    return tuple(by_id.get(number, "") for number in range(num_labels))
