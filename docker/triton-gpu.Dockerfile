# NVIDIA's Triton server with the models of vlpserve, on GPUs: NVIDIA's own image, which has the ONNX Runtime, TensorRT and
# Python backends, and vlpserve for its Python. Where this project is developed the base image cannot be had: this file has
# not been built there. The tag is one of CUDA 12, which onnxruntime-gpu is built for.
#   docker build -f docker/triton-gpu.Dockerfile -t vlpserve-triton-gpu .
FROM nvcr.io/nvidia/tritonserver:25.06-py3 AS wheels
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY export export
COPY server server
COPY clients clients
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . ./clients/python

FROM nvcr.io/nvidia/tritonserver:25.06-py3
LABEL org.opencontainers.image.title="vlpserve Triton on GPUs" \
      org.opencontainers.image.description="Triton with the models of vlpserve, an inference server for vision-and-language models" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY constraints.txt /build/all.txt
# The Python backend runs the image's own interpreter, so vlpserve goes where that looks. The version of numpy stays the
# image's: the backend's stub was built against it.
RUN --mount=type=bind,from=wheels,source=/wheels,target=/build/wheels \
    grep -v -e '^numpy==' -e '^onnxruntime==' -e '^faiss-cpu==' /build/all.txt > /build/constraints.txt \
    && python3 -c 'import numpy; print(f"numpy=={numpy.__version__}")' >> /build/constraints.txt \
    && set -- /build/wheels/vlpserve-*.whl /build/wheels/vlpserve_client-*.whl \
    && PIP_BREAK_SYSTEM_PACKAGES=1 pip install --no-cache-dir -c /build/constraints.txt "$1[gpu]" "$2"
RUN groupadd --gid 10001 vlpserve \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin vlpserve \
    && install -d -o vlpserve -g vlpserve /repository
ENV PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s CMD ["python3", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/v2/health/ready'); raise SystemExit(c.getresponse().status != 200)"]
# In the place of the image's own entrypoint, which prints a banner and runs a shell.
ENTRYPOINT ["vlpserve"]
CMD ["triton", "/repository", "--host", "0.0.0.0"]
