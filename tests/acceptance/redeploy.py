"""A rolling update, as a new release brings it: deploys the budget's application again on a Ray that runs."""

import argparse
import os
from pathlib import Path

from accounting.storage.migrate import prepare_database
from serve_app.auth.keys import KeyRing
from serve_app.config import Settings
from serve_app.environment import instance_name, ray_environment
from serve_app.service import Service


def main() -> None:
    """Returns when the new replicas have taken over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ray-address", required=True)
    parser.add_argument("--database-url", required=True)
    given = parser.parse_args()
    settings = Settings(home=given.home, port=given.port)
    os.environ.update(ray_environment(settings))
    import ray
    from ray import serve

    from serve_app.app import run_targets

    urls = prepare_database(given.database_url, instance_name(settings), KeyRing(given.home / "keys").database_password)
    ray.init(address=given.ray_address, log_to_driver=False)
    targets = run_targets(Service(settings, urls.service, urls.recorder))
    serve.run_many([target for target in targets if target.name == "budget"])


if __name__ == "__main__":
    main()
