"""The alternative: FastAPI around transformers' `generate`, as one writes it in an afternoon. Run by serve_blip.py."""

from __future__ import annotations

import io
import os
from typing import Annotated

import torch
from fastapi import FastAPI, File
from PIL import Image
from transformers import BertTokenizer, BlipForConditionalGeneration, BlipImageProcessor

torch.set_num_threads(int(os.environ["BENCH_THREADS"]))
FOLDER = os.environ["BENCH_CHECKPOINT"]
TOKENS = int(os.environ.get("BENCH_TOKENS", "20"))
processor = BlipImageProcessor.from_pretrained(FOLDER)
tokenizer = BertTokenizer.from_pretrained(FOLDER)
model = BlipForConditionalGeneration.from_pretrained(FOLDER).eval()
app = FastAPI()


@app.post("/v1/caption")
def caption(image: Annotated[bytes, File()]) -> dict[str, list[dict[str, str]]]:
    picture = Image.open(io.BytesIO(image)).convert("RGB")
    pixels = processor(picture, return_tensors="pt").pixel_values
    with torch.no_grad():
        states = model.vision_model(pixels).last_hidden_state
        ids = model.text_decoder.generate(
            input_ids=torch.tensor([[model.config.text_config.bos_token_id]]),
            encoder_hidden_states=states,
            max_new_tokens=TOKENS,
            min_new_tokens=TOKENS,
            eos_token_id=model.config.text_config.sep_token_id,
            pad_token_id=model.config.text_config.pad_token_id,
            do_sample=False,
        )
    return {"captions": [{"text": tokenizer.decode(ids[0, 1:], skip_special_tokens=True)}]}
