"""The environment that Ray needs to run this service. Ray reads it when it is imported, so it is set before that."""

import os
import socket
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from serve_app.config import Settings

PORT_SHARES = 40
"""Services on one machine whose replicas' ports are apart, as long as their own ports differ by less."""


def runtime_folder(settings: Settings) -> Path:
    """Where sockets and Ray's session live: short, since a Unix socket's path may have 107 bytes; and private."""
    return Path("/tmp") / f"prv-{instance_name(settings)}"


def instance_name(settings: Settings) -> str:
    """Eight hex digits that tell this data folder's service from others on the machine."""
    return sha256(str(settings.folder).encode()).hexdigest()[:8]


def node_folder(settings: Settings, address: str) -> Path:
    """As `runtime_folder`, for one node of a cluster: nodes may share a machine's file system."""
    return Path("/tmp") / f"prv-{sha256(f'{settings.folder} {address}'.encode()).hexdigest()[:8]}"


def ray_environment(settings: Settings) -> Mapping[str, str]:
    """Variables for Ray on one machine, which may run other services beside this one."""
    ports = {name: str(_free_port()) for name in ("metrics", "stats", "fallback")}
    return _environment(settings, runtime_folder(settings), ports)


def node_environment(settings: Settings, folder: Path) -> Mapping[str, str]:
    """Variables for Ray on a node of a cluster, the same on each: their ports stand in firewalls' rules.

    Args:
        settings: The operator's.
        folder: For the load balancer's files: short and private.
    """
    return _environment(settings, folder, {"metrics": "9101", "stats": "8404", "fallback": "8500"})


def _environment(settings: Settings, folder: Path, ports: Mapping[str, str]) -> Mapping[str, str]:
    """Variables for Ray and all its processes; what the operator has set already is left alone."""
    first_port = 24_000 + settings.port % PORT_SHARES * 200
    defaults = {
        # The load balancer in front of the replicas' own HTTP servers. Measured in docs/decisions/0002.
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # One log line a request, parsed in Python, cost 16 % of a core; the replicas' own metrics remain.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # Nor one datagram a request to a syslog that is not there: a third of what the load balancer costs.
        "RAY_SERVE_HAPROXY_LOG_TARGET": "127.0.0.1:514 sample 1:1000000",
        # The hot paths are answered before Ray Serve does anything about the request.
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.direct:middlewares",
        # Ray's processes are nice by 15 otherwise: beside anything else that is busy, the budget would come last.
        "RAY_worker_niceness": "0",
        # The balancer is brought back after three checks that fail: within seconds, not half a minute.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        # While a deployment has no replica, requests wait: so long and no longer, whatever is the matter with it.
        # Streams send something more often than that.
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "60",
        # A tenant stays on one replica. Only a hint: the replica verifies the token, the ledger's fence decides.
        "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": "hash http_auth_bearer,jwt_payload_query('$.tenant_id')",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/haproxy/admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": f"{folder}/haproxy",
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/haproxy/server-state",
        "RAY_SERVE_HAPROXY_METRICS_PORT": ports["metrics"],
        "RAY_SERVE_HAPROXY_STATS_PORT": ports["stats"],
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": ports["fallback"],
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
