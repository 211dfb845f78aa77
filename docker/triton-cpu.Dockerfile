# NVIDIA's Triton server with the models of vlpserve, on CPUs. The server, its Python backend and that backend's stub come
# from the wheel nvidia-pytriton; the stub wants numpy<2, and the wheel's own pins are of no use here (--no-deps).
#   docker build -f docker/triton-cpu.Dockerfile -t vlpserve-triton-cpu .
FROM python:3.11-slim-bookworm AS wheels
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY export export
COPY server server
COPY clients clients
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . ./clients/python

FROM python:3.11-slim-bookworm AS environment
COPY constraints.txt /build/all.txt
COPY --from=wheels /wheels /build/wheels
RUN python3 -m venv /opt/venv \
    && grep -v '^numpy==' /build/all.txt > /build/constraints.txt && echo 'numpy==1.26.4' >> /build/constraints.txt \
    && set -- /build/wheels/vlpserve-*.whl /build/wheels/vlpserve_client-*.whl \
    && /opt/venv/bin/pip install --no-cache-dir -c /build/constraints.txt "$1[cpu]" "$2" \
    && /opt/venv/bin/pip install --no-cache-dir --no-deps nvidia-pytriton==0.7.0 \
    && /opt/venv/bin/python -m pip uninstall --yes setuptools pip

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="vlpserve Triton on CPUs" \
      org.opencontainers.image.description="Triton with the models of vlpserve, an inference server for vision-and-language models" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 vlpserve \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin vlpserve \
    && install -d -o vlpserve -g vlpserve /repository
COPY --from=environment /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/v2/health/ready'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["vlpserve"]
CMD ["triton", "/repository", "--host", "0.0.0.0"]
