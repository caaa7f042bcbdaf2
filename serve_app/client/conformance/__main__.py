"""``python -m serve_app.client.conformance package.module:adapter``: status 0 if it conforms, 1 if not, 2 on misuse."""

import argparse
import sys

from serve_app.client.conformance.adapter import UnknownAdapterError
from serve_app.client.conformance.suite import results


def main() -> int:
    """Runs the suite, and reports on stdout."""
    parser = argparse.ArgumentParser(
        prog="python -m serve_app.client.conformance",
        description="Puts an adapter of yours before a service that misbehaves, and says what it does about that.",
    )
    parser.add_argument("adapter", help="a function that spends at once, as package.module:function")
    parser.add_argument("--holding", help="a function that holds, reads and commits", metavar="ADAPTER")
    asked = parser.parse_args()
    failed = passed = 0
    try:
        for result in results(asked.adapter, holding=asked.holding):
            if result.failure is None:
                passed += 1
                _say(f"pass  {result.name}")
            else:
                failed += 1
                _say(f"FAIL  {result.name}: {result.failure}.\n      {result.advice}")
    except UnknownAdapterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    _say(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
