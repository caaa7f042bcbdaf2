"""``privacy-engine check-config`` and ``deploy``: what Ray Serve runs on a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.exit_codes import REFUSED, USAGE
from serve_app.cli.options import Home
from serve_app.cli.output import CommandError, complain, errors_reported

Config = Annotated[
    Path, typer.Argument(metavar="FILE", help="Ray Serve's config.", exists=True, dir_okay=False, readable=True)
]


def check_config(config: Config = Path("serve_config.yaml")) -> None:
    """Check a config of Ray Serve: every key known, every value of its kind."""
    with errors_reported():
        try:
            from serve_app.serve_config import ServeConfigError, read_serve_config
        except ModuleNotFoundError as error:
            raise _not_installed(error) from None
        try:
            document = read_serve_config(config)
        except ServeConfigError as error:
            raise CommandError(f"{config} is refused:\n{error}", REFUSED) from None
    complain(f"{config} is valid: {len(document.get('applications', []))} applications")


def deploy(
    config: Config = Path("serve_config.yaml"),
    dashboard: Annotated[str, typer.Option(help="Ray's dashboard, on the head.")] = "http://127.0.0.1:8265",
    database_only: Annotated[
        bool, typer.Option("--database-only", help="Bring the database to this release, and deploy nothing.")
    ] = False,
    wait: Annotated[float, typer.Option(min=1, help="Seconds until all of it must run.")] = 300,
    home: Home = None,
) -> None:
    """Bring the database to this release, then put the service on the cluster that runs."""
    with errors_reported():
        try:
            from serve_app.cluster import StartError
            from serve_app.config import Settings
            from serve_app.deploying import DeployError, check_agrees, prepare
            from serve_app.deploying import deploy as put
            from serve_app.serve_config import ServeConfigError, read_serve_config
        except ModuleNotFoundError as error:
            raise _not_installed(error) from None
        given = Settings()
        settings = Settings.model_validate(given.model_dump() | {"home": home or given.home})
        try:
            document = read_serve_config(config)
            check_agrees(document, settings)
            complain("Bringing the database to this release")
            prepare(settings)
            if database_only:
                return
            complain("Handing the config to Ray Serve")
            put(settings, document, dashboard, wait, complain)
        except ServeConfigError as error:
            raise CommandError(f"{config} is refused:\n{error}", REFUSED) from None
        except (DeployError, StartError) as error:
            raise CommandError(str(error), REFUSED) from None
    complain("The service runs.")


def _not_installed(error: ModuleNotFoundError) -> CommandError:
    return CommandError(
        f"this needs {error.name}, which comes with the service: install privacy-engine[service]", USAGE
    )
