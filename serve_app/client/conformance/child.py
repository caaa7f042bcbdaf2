"""An adapter at work in a process that may be killed: ``child NAME BASE_URL TOKEN REQUEST``; prints the outcome."""

import json
import sys

from serve_app.client.conformance.adapter import adapter_named


def main() -> None:
    """Does one operation."""
    name, base_url, token, request = sys.argv[1:]
    outcome = adapter_named(name)(base_url, token, json.loads(request), lambda: None)
    sys.stdout.write(f"{outcome}\n")


if __name__ == "__main__":
    main()
