"""Owners of several databases as one: each request goes to the owner of the database that its tenant lives in.

One owner writes to one database, so that a write stays one transaction and a database that is away, or was set back,
stops its own tenants and no others.
"""

import asyncio

from accounting.admission import Verdict
from accounting.filters import Budget
from accounting.ledger.by_home import ByHome
from accounting.ledger.entry import Entry, EntryKind
from deployments.budget.lane import Command
from deployments.budget.owner import BudgetOwner


class OwnersByHome(ByHome[BudgetOwner]):
    """Decides for tenants of all databases. Each method is that of `BudgetOwner`, and raises `HomeError` besides."""

    async def submit(self, command: Command) -> Verdict:
        """Decides a request and makes the decision durable."""
        return await (await self.of(command.tenant_id)).submit(command)

    def enqueue(self, command: Command) -> asyncio.Future[Verdict]:
        """Puts a request in its owner's queue, as soon as it is known whose that is."""
        home = None if self.homes is None else self.homes.known(command.tenant_id)
        if home is None:
            return asyncio.ensure_future(self.submit(command))
        return self.parts[home].enqueue(command)

    async def settle(
        self,
        tenant_id: str,
        allocation_id: str,
        kind: EntryKind,
        actor: str,
        *,
        steps: int | None = None,
        statement: str | None = None,
    ) -> Verdict:
        """Ends an allocation, or takes back an ended one."""
        owner = await self.of(tenant_id)
        return await owner.settle(tenant_id, allocation_id, kind, actor, steps=steps, statement=statement)

    async def balance(self, tenant_id: str, actor: str) -> Entry | None:
        """The tenant's last entry as its ledger has it now."""
        return await (await self.of(tenant_id)).balance(tenant_id, actor)

    async def budgets(self, tenant_id: str, actor: str, dataset_id: str | None = None) -> list[Budget]:
        """The budgets that a request will be decided on."""
        return await (await self.of(tenant_id)).budgets(tenant_id, actor, dataset_id)


Owner = BudgetOwner | OwnersByHome
"""Who decides: of one database, or of several."""
