"""What a process of the service loads when it starts: an owner that was killed is back the sooner, the less it is."""

import json
import subprocess
import sys

import pytest

HEAVY = ("matplotlib", "opacus", "opendp", "pandas", "pyarrow", "scipy", "sklearn", "sympy", "torch")


@pytest.mark.parametrize("module", ["serve_app.routes.budget", "serve_app.routes.front", "serve_app.routes.training"])
def test_a_replica_loads_no_heavy_package_before_it_is_asked_for_one(module: str) -> None:
    """What only some requests need is loaded by the first of them."""
    code = f"import json, sys, {module}; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
