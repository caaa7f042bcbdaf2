"""The service's apps as Ray Serve applications, each with its own ingress.

`run_targets` is for one machine, where the supervisor hands the service over. `application` is what `serve_config.yaml`
names, for a cluster: there each replica finds the service in the environment of its own node, so that no secret passes
through Ray.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from ray import serve
from starlette.types import ASGIApp

from deployments.deployment import ingress_application
from serve_app.apps import APPS, App
from serve_app.cluster_service import service_of_this_node
from serve_app.direct import answer_directly
from serve_app.routes.hot import HotFirst
from serve_app.service import Service

ELASTIC = {
    "min_replicas": 1,
    "max_replicas": 4,
    "target_ongoing_requests": 4,
    # A change in replicas reloads the load balancer: grow at need, shrink without hurry.
    "downscale_delay_s": 600,
}


def run_targets(service: Service) -> list[serve.RunTarget]:
    """What Ray Serve is to run."""
    return [
        serve.RunTarget(
            ingress_application(app.name, _builder(app, lambda: service), replicas=_replicas(app, service)),
            name=app.name,
            route_prefix=app.prefix or "/",
        )
        for app in APPS
    ]


def application(args: dict[str, str]) -> serve.Application:
    """One application of a cluster. How many replicas it has is said in Serve's config.

    Args:
        args: ``app`` names one of `APPS`.

    Raises:
        ValueError: If none has that name.
    """
    app = next((app for app in APPS if app.name == args.get("app")), None)
    if app is None:
        raise ValueError(f"args: app must be one of {', '.join(app.name for app in APPS)}, not {args.get('app')!r}")
    return ingress_application(app.name, _builder(app, service_of_this_node))


def _replicas(app: App, service: Service) -> int | dict[str, Any]:
    if app.elastic:
        return dict(ELASTIC)
    return service.settings.budget_replicas if app.name == "budget" else 1


def _builder(app: App, service_of: Callable[[], Service]) -> Callable[[], FastAPI | HotFirst]:
    create, prefix = app.create, app.prefix

    # Sent to the replica by value, so that it imports the module of its own app and no other.
    def build() -> FastAPI | HotFirst:
        made = create(service_of())
        hot: Mapping[str, ASGIApp] = getattr(made, "hot", {})
        answer_directly({f"{prefix}{path}": endpoint for path, endpoint in hot.items()})
        return made

    return build
