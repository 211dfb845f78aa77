# Training and export on GPUs. Where this project is developed the base image cannot be had: this file has not been built
# there. torch is the image's; the constraint on it is left out.
#   docker build -f docker/trainer.Dockerfile -t vlpserve-trainer .
#   docker run --rm --gpus all --shm-size 4g -v "$PWD/runs:/work/runs" -v "$PWD/data:/work/data" vlpserve-trainer train scenes-vqa
FROM pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime AS wheels
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY export export
COPY server server
COPY clients clients
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . ./clients/python

FROM pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime
LABEL org.opencontainers.image.title="vlpserve trainer" \
      org.opencontainers.image.description="Training and export of vision-and-language models for vlpserve" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY constraints.txt /build/all.txt
RUN --mount=type=bind,from=wheels,source=/wheels,target=/build/wheels \
    grep -v -e '^torch==' -e '^onnxruntime==' -e '^faiss-cpu==' /build/all.txt > /build/constraints.txt \
    && set -- /build/wheels/vlpserve-*.whl /build/wheels/vlpserve_client-*.whl \
    && pip install --no-cache-dir -c /build/constraints.txt "$1[gpu,train,export]" "$2"
RUN groupadd --gid 10001 vlpserve \
    && useradd --uid 10001 --gid 10001 --create-home vlpserve \
    && install -d -o vlpserve -g vlpserve /work
ENV PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["vlpserve"]
CMD ["--help"]
