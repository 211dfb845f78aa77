# The gateway: HTTP, preprocessing and collections; the models run in Triton. No torch and no onnxruntime inside.
#   docker build -f docker/gateway.Dockerfile -t vlpserve-gateway .
FROM python:3.11-slim-bookworm AS wheels
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY export export
COPY server server
COPY clients clients
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . ./clients/python

FROM python:3.11-slim-bookworm AS environment
# For collections: faiss for those that one gateway keeps itself, milvus for several gateways.
ARG EXTRAS=triton,faiss
COPY constraints.txt /build/
COPY --from=wheels /wheels /build/wheels
RUN python3 -m venv /opt/venv \
    && set -- /build/wheels/vlpserve-*.whl /build/wheels/vlpserve_client-*.whl \
    && /opt/venv/bin/pip install --no-cache-dir -c /build/constraints.txt "$1[$EXTRAS]" "$2" \
    && /opt/venv/bin/python -m pip uninstall --yes setuptools pip

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="vlpserve gateway" \
      org.opencontainers.image.description="HTTP and gRPC doors of vlpserve, an inference server for vision-and-language models" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 vlpserve \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin vlpserve \
    && install -d -o vlpserve -g vlpserve /repository /var/lib/vlpserve
COPY --from=environment /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    VLPSERVE_HTTP_HOST=0.0.0.0 \
    VLPSERVE_GRPC_HOST=0.0.0.0 \
    VLPSERVE_COLLECTIONS_PLACE=/var/lib/vlpserve/collections
USER 10001:10001
# The root file system may be read-only where /tmp is a tmpfs and /var/lib/vlpserve, where collections are kept, a volume.
EXPOSE 8080 8081
# Not through urllib, which would go by a proxy of the environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=4); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["vlpserve"]
CMD ["serve"]
