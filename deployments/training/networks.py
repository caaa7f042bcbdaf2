"""DP-TVAE and DP-CTGAN as kinds of tasks."""

from dataclasses import fields
from typing import Any

import numpy as np

from accounting.events import Event
from accounting.values import InvalidValueError
from deployments.synthesis.files import write_rows
from deployments.synthesis.networks import (
    GanSettings,
    NetworkPlan,
    TvaeSettings,
    gan_plan,
    plan_from_wire,
    plan_to_wire,
    tvae_plan,
)
from deployments.synthesis.schema import schema_to_wire
from deployments.synthesis.table import decode
from deployments.training.document import TaskDocument
from deployments.training.folders import private_folder
from deployments.training.kinds import Order, Planned, Work

_NAMES = {"batch_size": "batch", "epochs": "epochs", "max_grad_norm": "clip", "learning_rate": "learning_rate"}
"""Settings by what an order calls them."""
CHECKPOINT = "run.safetensors"


class NetworkKind:
    """`deployments.synthesis.tvae` and `gan`."""

    makes_rows = True
    shares_work = False

    def __init__(self, name: str) -> None:
        self._name = name

    def plan(self, order: Order) -> Planned:
        """See `Kind.plan`."""
        given = {name: value for name, value in order.options.items() if value is not None}
        if order.target is not None:
            raise InvalidValueError(
                "target", "is for marginals and for models that predict; networks learn all columns"
            )
        settings: dict[str, Any] = {_NAMES[name]: given.pop(name) for name in list(given) if name in _NAMES}
        if "hidden" in given:
            settings["hidden"] = _single(given.pop("hidden"))
        if given:
            raise InvalidValueError(min(given), f"is no setting of {self._name}: it has {', '.join(_NAMES)}, hidden")
        known = (order.schema, order.records, order.epsilon, order.delta)
        if self._name == TvaeSettings.kind:
            made = tvae_plan(*known, TvaeSettings(**settings))
        else:
            made = gan_plan(*known, GanSettings(**settings))
        return Planned(made.event, made.recipe.steps, plan_to_wire(made))

    def rebuilt(self, document: TaskDocument) -> Event:
        """See `Kind.rebuilt`."""
        return _plan(document).event

    def carry_out(self, work: Work) -> bool:
        """See `Kind.carry_out`."""
        from deployments.synthesis import gan, tvae
        from deployments.synthesis.learner import StoppedError
        from deployments.synthesis.network_files import save
        from deployments.synthesis.run_file import RunFile
        from deployments.training.devices import options_here

        plan = _plan(work.document)
        private_folder(work.checkpoint)
        run = RunFile(work.checkpoint / CHECKPOINT, plan)
        fit = tvae.fit if self._name == TvaeSettings.kind else gan.fit
        try:
            model = fit(work.table, plan, options=options_here(), progress=work.begin(run.done), checkpoint=run)
        except StoppedError:
            return False
        save(model, work.results)
        if work.document.rows_out is not None:
            rows = model.sample(work.document.rows_out, np.random.default_rng())
            write_rows(work.results / f"rows.{work.document.file.format}", decode(rows, np.random.default_rng()))
        return True


def _plan(document: TaskDocument) -> NetworkPlan:
    # What was found out about the columns comes after the plan, and changes nothing of its event.
    return plan_from_wire({**document.plan, "schema": schema_to_wire(document.schema)})


def _single(hidden: list[int]) -> int:
    if len(hidden) != 1:
        raise InvalidValueError("hidden", "must be one number here: the units of every hidden layer")
    return hidden[0]


assert {*_NAMES.values(), "hidden"} <= {field.name for field in fields(TvaeSettings)}
