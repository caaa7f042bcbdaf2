"""The environment that Ray needs to run this service. Ray reads it when it is imported, so it is set before that."""

import os
import socket
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from serve_app.config import Settings


def runtime_folder(settings: Settings) -> Path:
    """Where sockets and Ray's session live: short, since a Unix socket's path may have 107 bytes; and private."""
    return Path("/tmp") / f"prv-{instance_name(settings)}"


def instance_name(settings: Settings) -> str:
    """Eight hex digits that tell this data folder's service from others on the machine."""
    return sha256(str(settings.folder).encode()).hexdigest()[:8]


def ray_environment(settings: Settings) -> Mapping[str, str]:
    """Variables for Ray and all its processes; what the operator has set already is left alone."""
    folder = runtime_folder(settings)
    first_port = 24_000 + settings.port % 40 * 200
    defaults = {
        # The load balancer in front of the replicas' own HTTP servers. Measured in docs/decisions/0002.
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # One log line a request, parsed in Python, cost 16 % of a core; the replicas' own metrics remain.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # A tenant stays on one replica. Only a hint: the replica verifies the token, the ledger's fence decides.
        "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": "hash http_auth_bearer,jwt_payload_query('$.tenant_id')",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/haproxy/admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": f"{folder}/haproxy",
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/haproxy/server-state",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(_free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(_free_port()),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(_free_port()),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first_port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first_port + 199),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(settings.folder / "keys" / "ray-token"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
    }
    return {name: os.environ.get(name, value) for name, value in defaults.items()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
