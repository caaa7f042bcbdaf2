"""The Ray Serve applications that make up the service."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ray import serve

from deployments.deployment import ingress_application
from serve_app.routes.budget import create_budget_app
from serve_app.routes.front import create_front_app
from serve_app.routes.hot import HotFirst
from serve_app.routes.mechanisms import create_mechanisms_app
from serve_app.routes.pictures import create_pictures_app
from serve_app.routes.proofs import create_proofs_app
from serve_app.service import PREFIX, Service


@dataclass(frozen=True)
class Deployed:
    """One application: its name, where it answers, what it is."""

    name: str
    route_prefix: str
    application: serve.Application


def applications(service: Service) -> list[Deployed]:
    """All applications of the service. Each has its own ingress; only the budget's replicas hold state."""
    elastic = {
        "min_replicas": 1,
        "max_replicas": 4,
        "target_ongoing_requests": 4,
        # A change in replicas reloads the load balancer: grow at need, shrink without hurry.
        "downscale_delay_s": 600,
    }
    settings = service.settings
    table: list[tuple[str, str, Callable[..., Any], int | dict[str, Any]]] = [
        ("front", "/", partial(create_front_app, service), 1),
        (
            "budget",
            f"{PREFIX}/budget",
            partial(_budget_app, service),
            settings.budget_replicas,
        ),
        ("mechanisms", f"{PREFIX}/mechanism", partial(create_mechanisms_app, service), elastic),
        ("proofs", f"{PREFIX}/proof", partial(create_proofs_app, service), elastic),
        ("pictures", f"{PREFIX}/loss", partial(create_pictures_app, service), elastic),
    ]
    return [
        Deployed(name, prefix, ingress_application(name, _builder(make), replicas=replicas))
        for name, prefix, make, replicas in table
    ]


def _budget_app(service: Service) -> HotFirst:
    return create_budget_app(service.settings, service.verifier(), service.store)


def _builder(make: Callable[..., Any]) -> Callable[[], Any]:
    def build() -> Any:  # noqa: ANN401 - an ASGI app
        return make()

    return build
