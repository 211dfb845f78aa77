"""The alternative: FastAPI around transformers, as one writes it in an afternoon. Run by serve_vilt.py."""

from __future__ import annotations

import io
import os
from typing import Annotated

import torch
from fastapi import FastAPI, File, Form
from PIL import Image
from transformers import ViltForQuestionAnswering, ViltProcessor

torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
FOLDER = os.environ["BENCH_CHECKPOINT"]
processor = ViltProcessor.from_pretrained(FOLDER)
model = ViltForQuestionAnswering.from_pretrained(FOLDER).eval()
app = FastAPI()


@app.post("/v1/vqa")
def vqa(image: Annotated[bytes, File()], question: Annotated[str, Form()]) -> dict[str, list[dict[str, object]]]:
    picture = Image.open(io.BytesIO(image)).convert("RGB")
    inputs = processor(picture, question, return_tensors="pt", truncation=True)
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    score, index = torch.sigmoid(logits).max(0)
    return {"answers": [{"answer": model.config.id2label[int(index)], "score": float(score)}]}
