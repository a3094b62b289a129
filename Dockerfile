# Two images: `api` (also the loops and the migrations; no torch inside) and `worker`.
#   docker build --target api .        docker build --target worker .
# Packages come at the versions of requirements.lock: from deploy/wheelhouse/ where it holds wheels (deploy/wheelhouse.sh
# fills it; the build then needs no network), else from pip's index. Needs BuildKit, as Docker has it since 23.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS base
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A fixed number, so that a volume stays readable for the image of the next release. The home is the only place
# that is written to: caches of libraries go there too.
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin espo \
 && install -d -o espo -g espo /data /app
WORKDIR /app

FROM base AS packages
# For example `--index-url https://…` of a mirror, or of PyTorch's wheels for another CUDA release.
ARG PIP_ARGS=""
COPY requirements.lock deploy/install_packages.sh /build/

FROM packages AS api-packages
COPY deploy/requirements-api.txt /build/
RUN --mount=type=bind,source=deploy/wheelhouse,target=/wheelhouse --mount=type=cache,target=/root/.cache/pip \
    sh /build/install_packages.sh /build/requirements-api.txt ${PIP_ARGS}

FROM packages AS worker-packages
COPY deploy/requirements-worker.txt requirements-gym.lock /build/
RUN --mount=type=bind,source=deploy/wheelhouse,target=/wheelhouse --mount=type=cache,target=/root/.cache/pip \
    sh /build/install_packages.sh /build/requirements-worker.txt ${PIP_ARGS} \
 && sh /build/install_packages.sh /build/requirements-gym.lock --no-deps ${PIP_ARGS}

FROM base AS api
COPY --from=api-packages /opt/venv /opt/venv
COPY alembic.ini ./
COPY migrations ./migrations
COPY examples ./examples
COPY espo_contracts ./espo_contracts
COPY espo_transfer ./espo_transfer
COPY api ./api
RUN python -m compileall -q /app
USER espo
ENV ESPO_HOME=/data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# Requests that are not done 5 s after SIGTERM are told to come again; the rest of Docker's 10 s is for the loops.
CMD ["python", "-m", "uvicorn", "--factory", "api.app:create_app", "--host", "0.0.0.0", "--port", "8000", \
    "--timeout-graceful-shutdown", "5"]

FROM base AS worker
COPY --from=worker-packages /opt/venv /opt/venv
COPY examples ./examples
COPY espo_contracts ./espo_contracts
COPY espo_transfer ./espo_transfer
COPY espo_core ./espo_core
COPY worker ./worker
COPY deploy/worker_health.py ./deploy/
RUN python -m compileall -q /app
USER espo
ENV ESPO_HOME=/data ESPO_WORKER_DEVICE=gpu
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 CMD ["python", "-m", "deploy.worker_health"]
# Its queue and its pool are settings of worker/celery_app.py.
CMD ["python", "-m", "celery", "-A", "worker.celery_app", "worker", "-P", "threads", "-c", "1", "--loglevel", "info"]
