"""Networks in a folder: numbers as safetensors, the plan as JSON. Nothing is pickled, nothing that is read is run."""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from accounting.values import InvalidValueError
from deployments.synthesis.gan_model import GanModel
from deployments.synthesis.networks import TvaeSettings, plan_from_wire, plan_to_wire
from deployments.synthesis.tvae_model import TvaeModel

PLAN_FILE, TENSORS_FILE = "plan.json", "model.safetensors"


def save(model: TvaeModel | GanModel, folder: Path) -> None:
    """Writes the model, its event and price beside it.

    Args:
        model: What was fitted.
        folder: Made where it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PLAN_FILE).write_text(json.dumps(plan_to_wire(model.plan), indent=2), encoding="utf-8")
    save_file(dict(model.tensors), folder / TENSORS_FILE)


def load(folder: Path) -> TvaeModel | GanModel:
    """Reads what `save` wrote.

    Raises:
        InvalidValueError: If a file is missing or not what it should be.
    """
    for name in (PLAN_FILE, TENSORS_FILE):
        if not (folder / name).is_file():
            raise InvalidValueError("folder", f"has no {name}: give the folder of a saved network")
    try:
        data = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
    except ValueError:
        raise InvalidValueError("folder", f"has a {PLAN_FILE} that is not JSON") from None
    plan = plan_from_wire(data)
    try:
        tensors = load_file(folder / TENSORS_FILE)
    except SafetensorError:
        raise InvalidValueError("folder", f"has a {TENSORS_FILE} that is not in that format") from None
    return TvaeModel(plan, tensors) if plan.kind == TvaeSettings.kind else GanModel(plan, tensors)
