# One image for the head, the nodes that serve and the nodes that train.
FROM python:3.11.13-slim-bookworm

# KubeRay asks Ray's processes for their health by wget.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home privacy

WORKDIR /opt/privacy-engine
COPY pyproject.toml README.md LICENSE ./
COPY accounting accounting
COPY deployments deployments
COPY proofs proofs
COPY serve_app serve_app
COPY serve_config.yaml serve_config.yaml
# Every version is pinned in pyproject.toml.
RUN pip install --no-cache-dir '.[service,training]'

ENV AUMOS_PRIVACY_HOME=/data \
    PYTHONUNBUFFERED=1
RUN install --directory --owner=privacy --group=privacy --mode=0700 /data
VOLUME /data
USER privacy
EXPOSE 8000

# A whole service with a database of its own; nodes of a cluster are told otherwise: privacy-engine node.
CMD ["privacy-engine", "up"]
HEALTHCHECK --start-period=120s --interval=10s --timeout=5s --retries=6 \
    CMD ["wget", "--quiet", "--output-document=/dev/null", "http://127.0.0.1:8000/health/ready"]
