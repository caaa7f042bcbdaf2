"""How the processes of a cluster find the service: settings in their node's environment, addresses there or in a file.

`privacy-engine deploy` makes the database's logins, which only the owner's address can do, and leaves their addresses
in the data folder, which all nodes share. So the owner's password is on no node.
"""

import json
import os
import tempfile
from dataclasses import asdict

from accounting.ledger.homes import MAIN
from accounting.storage.urls import DatabaseUrls
from serve_app.config import Settings, revealed
from serve_app.service import Service

URLS_FILE = "keys/database-urls.json"


class NotDeployedError(RuntimeError):
    """A node does not know the database yet."""


def leave_urls(service: Service) -> None:
    """Writes down with which logins the nodes connect, for their owner alone to read."""
    path = service.settings.folder / URLS_FILE
    # Made with mode 0600; whoever reads sees all of it or what was there before.
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({name: asdict(urls) for name, urls in service.urls.items()}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def service_of_this_node() -> Service:
    """The service as the environment and the data folder of this node describe it.

    Raises:
        NotDeployedError: If neither holds the addresses of the databases.
    """
    settings = Settings()
    urls = _in_the_environment(settings) or _left(settings)
    main = urls.pop(MAIN)
    return Service(settings.without_addresses(), main.service, main.recorder, urls)


def _in_the_environment(settings: Settings) -> dict[str, DatabaseUrls] | None:
    """The addresses of all databases, if all are there."""
    main = revealed(settings.database_service_url), revealed(settings.database_recorder_url)
    given = {MAIN: main} | {name: (one.service_url, one.recorder_url) for name, one in settings.further().items()}
    urls = {
        name: DatabaseUrls(service, recorder)
        for name, (service, recorder) in given.items()
        if service is not None and recorder is not None
    }
    return urls if urls.keys() == given.keys() else None


def _left(settings: Settings) -> dict[str, DatabaseUrls]:
    """The addresses that `privacy-engine deploy` has left."""
    path = settings.folder / URLS_FILE
    try:
        left = json.loads(path.read_text(encoding="utf-8"))
        return {name: DatabaseUrls(**urls) for name, urls in ({MAIN: left[MAIN]} | left).items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotDeployedError(
            f"{path} does not say how to reach the database ({type(error).__name__}): run privacy-engine deploy, "
            "see that AUMOS_PRIVACY_HOME is one shared folder on all nodes, or set "
            "AUMOS_PRIVACY_DATABASE_SERVICE_URL and AUMOS_PRIVACY_DATABASE_RECORDER_URL"
        ) from None
