"""Makes databases ready, and the service that runs on them: for one machine and for a cluster alike."""

from accounting.storage.migrate import prepare_database
from accounting.storage.urls import DatabaseUrls
from serve_app.auth.keys import KeyRing
from serve_app.config import Settings, revealed
from serve_app.environment import instance_name
from serve_app.further import FurtherDatabase
from serve_app.service import Service


def prepared_service(settings: Settings, admin_url: str, keys: KeyRing) -> Service:
    """Brings all databases to this release, with logins for the service. Blocking; only expands what is there.

    Args:
        settings: The operator's.
        admin_url: The main database, as the owner of its schema.
        keys: The service's.

    Raises:
        UnsafeRoleError: If a login that an operator made is not safe.
        WrongDatabaseError: If one of the databases is another one than its name says.
    """
    name, password = instance_name(settings), keys.database_password
    given = revealed(settings.database_service_url), revealed(settings.database_recorder_url)
    main = prepare_database(admin_url, name, password, *given)

    def prepared(database: str, further: FurtherDatabase) -> DatabaseUrls:
        if further.url is not None:
            return prepare_database(
                further.url, name, password, further.service_url, further.recorder_url, database=database
            )
        # Whoever migrates it has named it too; each process makes sure of that before it uses it.
        assert further.service_url is not None
        assert further.recorder_url is not None
        return DatabaseUrls(further.service_url, further.recorder_url)

    further = {database: prepared(database, addresses) for database, addresses in settings.further().items()}
    return Service(settings.without_addresses(), main.service, main.recorder, further)
