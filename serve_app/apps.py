"""The HTTP apps that make up the service, and where each answers. Whatever serves them takes them from here."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI

from serve_app.routes.budget import budget_app_of
from serve_app.routes.front import create_front_app
from serve_app.routes.hot import HotFirst
from serve_app.routes.log import create_log_app
from serve_app.routes.mechanisms import create_mechanisms_app
from serve_app.routes.pictures import create_pictures_app
from serve_app.routes.proofs import create_proofs_app
from serve_app.routes.training import create_training_app
from serve_app.service import PREFIX, Service


@dataclass(frozen=True)
class App:
    """One app.

    Attributes:
        name: Of its deployment.
        prefix: The paths it answers begin with it; empty for all that no other app answers.
        create: Makes the app, in the process that will run it.
        elastic: Whether its replicas may come and go with the load. The budget's hold state and do not.
    """

    name: str
    prefix: str
    create: Callable[[Service], FastAPI | HotFirst]
    elastic: bool


APPS = (
    App("front", "", create_front_app, elastic=False),
    App("budget", f"{PREFIX}/budget", budget_app_of, elastic=False),
    App("log", f"{PREFIX}/log", create_log_app, elastic=False),
    App("mechanisms", f"{PREFIX}/mechanism", create_mechanisms_app, elastic=True),
    App("proofs", f"{PREFIX}/proof", create_proofs_app, elastic=True),
    App("training", f"{PREFIX}/training", create_training_app, elastic=False),
    App("pictures", f"{PREFIX}/loss", create_pictures_app, elastic=True),
)
