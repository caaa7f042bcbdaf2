"""The marginal engine as a kind of task. It has no steps: what it draws, it draws at once."""

from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from accounting.events import Event
from accounting.values import InvalidValueError, decimal_text
from deployments.synthesis.files import write_rows
from deployments.synthesis.marginal import fit
from deployments.synthesis.marginal_model import model_to_wire
from deployments.synthesis.marginal_plan import MarginalPlan, marginal_plan
from deployments.synthesis.table import decode
from deployments.training.document import TaskDocument
from deployments.training.folders import write_private
from deployments.training.kinds import Order, Planned, Work


class MarginalKind:
    """`deployments.synthesis.marginal`."""

    makes_rows = True
    shares_work = False

    def plan(self, order: Order) -> Planned:
        """See `Kind.plan`."""
        for name, value in order.options.items():
            if value is not None:
                raise InvalidValueError(name, "is a setting of networks: marginals have no steps")
        made = marginal_plan(order.schema, order.records, order.epsilon, order.delta, order.target)
        return Planned(made.event, 1, {"target": order.target, "multiplier": decimal_text(made.multiplier)})

    def rebuilt(self, document: TaskDocument) -> Event:
        """See `Kind.rebuilt`."""
        return _plan(document).event

    def carry_out(self, work: Work) -> bool:
        """See `Kind.carry_out`."""
        after_step = work.begin(0)
        model = fit(work.table, _plan(work.document))
        after_step(1)
        write_private(work.results / "model.json", msgspec.json.encode(model_to_wire(model)))
        if work.document.rows_out is not None:
            # What is drawn from a private model costs nothing more.
            rows = model.sample(work.document.rows_out, np.random.default_rng())
            write_rows(work.results / f"rows.{work.document.file.format}", decode(rows, np.random.default_rng()))
        return True


def _plan(document: TaskDocument) -> MarginalPlan:
    plan: dict[str, Any] = dict(document.plan)
    target = None if plan["target"] is None else document.schema.index(plan["target"])
    return MarginalPlan(document.schema, document.file.rows, document.delta, target, Decimal(plan["multiplier"]))
