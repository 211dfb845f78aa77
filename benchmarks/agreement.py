"""The shipped model's answers, float32 and int8 graph beside the checkpoint in torch, on the first test questions.

Usage: python benchmarks/agreement.py [--questions 500] [--out FILE]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from serving_bench import tell
from vlp_models.evaluation.artefacts import AnsweringModel, open_checkpoint, open_deployment
from vlp_models.evaluation.evaluate import EvaluationData, evaluate_model
from vlp_zoo.paths import zoo_path

MODEL = "scenes-vilt-vqa"
QUESTIONS_A_PICTURE = 8  # at least; decides how many pictures are drawn


def measure(folder: Path, questions: int) -> dict[str, object]:
    scenes, repository = folder / "scenes", folder / "repository"
    pictures = str(-(-questions // QUESTIONS_A_PICTURE))
    run("scenes", str(scenes), "--train", "0", "--val", "0", "--test", pictures)
    run("export", MODEL, "--repository", str(repository), "--precision", "int8")
    models = {
        "checkpoint": open_checkpoint(str(zoo_path() / "checkpoints" / MODEL)),
        "fp32": open_deployment(zoo_path() / "repository", MODEL),
        "int8": open_deployment(repository, f"{MODEL}-int8"),
    }
    data = EvaluationData(scenes, limit=questions)
    answers = {name: ask(model, data) for name, model in models.items()}
    expected = answers["checkpoint"][0]
    return {
        "questions": len(expected),
        "same_answer_as_checkpoint": {
            name: sum(ours == theirs for ours, theirs in zip(own, expected, strict=True)) / len(expected)
            for name, (own, _) in answers.items()
        },
        "macro_accuracy": {name: round(accuracy, 4) for name, (_, accuracy) in answers.items()},
    }


def ask(model: AnsweringModel, data: EvaluationData) -> tuple[list[str], float]:
    report, predictions = evaluate_model(model, data)
    return [prediction.answer for prediction in predictions], report.macro_accuracy


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "vlp_cli", *arguments], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        tell(measure(Path(scratch), arguments.questions), arguments.out)


if __name__ == "__main__":
    main()
