# The load test: locust with the questions of clients/loadtest. Ask it for --help.
#   docker build -f docker/loadtest.Dockerfile -t vlpserve-loadtest .
FROM python:3.11-slim-bookworm AS environment
COPY constraints.txt /build/
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -c /build/constraints.txt locust pillow \
    && /opt/venv/bin/python -m pip uninstall --yes setuptools pip

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="vlpserve load test" \
      org.opencontainers.image.description="Load test of vlpserve, an inference server for vision-and-language models" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 vlpserve \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin vlpserve
COPY --from=environment /opt/venv /opt/venv
COPY clients/loadtest /loadtest
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LOCUST_LOCUSTFILE=/loadtest/locustfile.py \
    LOCUST_HEADLESS=true \
    LOCUST_HOST=http://gateway:8080 \
    LOCUST_USERS=8 \
    LOCUST_SPAWN_RATE=4 \
    LOCUST_RUN_TIME=60s \
    LOCUST_ONLY_SUMMARY=true
USER 10001:10001
WORKDIR /loadtest
ENTRYPOINT ["locust"]
