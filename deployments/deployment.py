"""Turns an ASGI app factory into a Ray Serve application with its own ingress."""

from collections.abc import Callable
from typing import Any, cast

from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.types import ASGIApp


def ingress_application(
    name: str, build: Callable[[], ASGIApp], *, replicas: int | dict[str, Any] = 1, cpus: float = 0.0
) -> serve.Application:
    """An application whose replicas answer HTTP themselves.

    Args:
        name: Of the deployment, as the dashboard shows it.
        build: Makes the app, in each replica; it must be picklable.
        replicas: A fixed number, or Ray's autoscaling options.
        cpus: What a replica reserves of Ray's CPU slots.
    """
    scaling: dict[str, Any] = (
        {"autoscaling_config": replicas} if isinstance(replicas, dict) else {"num_replicas": replicas}
    )
    deployment = cast(serve.Deployment, serve.deployment(serve.ingress(build)())).options(
        name=name,
        max_ongoing_requests=1_000,
        health_check_period_s=1,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=5,
        ray_actor_options={"num_cpus": cpus},
        logging_config=LoggingConfig(encoding="JSON", enable_access_log=False, log_level="INFO"),
        **scaling,
    )
    application: serve.Application = deployment.bind()
    return application
