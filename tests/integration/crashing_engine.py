"""An engine that is killed: ``crashing_engine URL TOKEN JOURNAL``. It spends once; what was left over first."""

import sys

from serve_app.client.engine import PrivacyEngine
from serve_app.client.requests import Spend


def main() -> None:
    """Spends once, however often it has to be started for that; prints by which allocation."""
    url, token, journal = sys.argv[1:]
    with PrivacyEngine(url, token, journal=journal) as engine:
        left = engine.resume()
        if left:
            ids = [answer["allocation_id"] for _, answer in left]
        else:
            ids = [engine.allocate(Spend(job_id="night-run", epsilon="0.5")).allocation_id]
        sys.stdout.write(" ".join(ids) + "\n")


if __name__ == "__main__":
    main()
