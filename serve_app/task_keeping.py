"""What runs beside the training routes: the dispatcher, with what it needs of Ray and of the budget."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from accounting.ledger.by_home import Ledgers, Tasks
from deployments.outbox.loops import LoopHealth, keep_running
from deployments.training.dispatcher import Dispatcher, SettleHold
from deployments.training.folders import Folders
from deployments.training.jobs import MODULES_VARIABLE, TOKEN_VARIABLE, Jobs, ProcessJobs
from deployments.training.start import Start, arguments_of
from deployments.training.task import ToCommit, ToVoid
from serve_app.auth.policy import Role
from serve_app.auth.principal import ANY_TENANT, TASK_KEEPER
from serve_app.auth.tokens import mint_token
from serve_app.client import calls
from serve_app.client.client import AsyncPrivacyClient
from serve_app.observing.loops import training_gauges
from serve_app.observing.process import TALLIES
from serve_app.problems import Code
from serve_app.service import Service

TOKEN_SECONDS = 3_600
TASK_TOKEN_SECONDS = 31 * 86_400
"""As long as the longest hold."""


@dataclass(frozen=True)
class TaskKeeping:
    """What the routes need.

    Attributes:
        tasks: Tasks, one tenant's at a time.
        store: The ledger.
        client: Of the budget.
        health: Of the dispatcher.
    """

    tasks: Tasks
    store: Ledgers
    client: AsyncPrivacyClient
    health: LoopHealth


@asynccontextmanager
async def keeping_tasks(service: Service) -> AsyncIterator[TaskKeeping]:
    """Looks after tasks for as long as the context lasts."""
    async with AsyncExitStack() as stack:
        databases = await stack.enter_async_context(service.databases(2))
        client = await stack.enter_async_context(AsyncPrivacyClient(service.settings.base_url))
        store, tasks = databases.ledgers, await databases.tasks()
        everybodys = await databases.tasks(1, everybodys=True)
        jobs = await asyncio.to_thread(_jobs, service)
        stack.callback(jobs.close)
        keep_only = Folders(service.settings.files_folder).keep_only
        settle = _settle_over_http(service, client)
        dispatcher = Dispatcher(everybodys, tasks, store, jobs, _Launch(service), settle, keep_only)
        health = LoopHealth("dispatcher")
        stack.enter_context(TALLIES.gauges(training_gauges(TALLIES, dispatcher, [health])))
        loop = asyncio.create_task(keep_running(health, dispatcher.step), name="dispatcher")
        try:
            yield TaskKeeping(tasks, store, client, health)
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)


def task_subject(task_id: str) -> str:
    """The subject of a task's own token."""
    return f"task:{task_id}"


def _jobs(service: Service) -> Jobs:
    # Loaded only where Ray is anyway.
    from deployments.training.deployment import RayJobs, in_ray

    return RayJobs() if in_ray() else ProcessJobs(service.settings.folder / "task-logs")


class _Launch:
    """Arguments and environment of a start."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def __call__(self, tenant_id: str, task_id: str, attempt: int) -> tuple[Sequence[str], Mapping[str, str]]:
        settings = self._service.settings
        token = _mint(self._service, tenant_id, Role.TASK, task_subject(task_id), TASK_TOKEN_SECONDS)
        start = Start(settings.base_url, tenant_id, task_id, attempt, settings.files_folder)
        environment = {TOKEN_VARIABLE: token, MODULES_VARIABLE: settings.modules}
        return arguments_of(start), environment


def _settle_over_http(service: Service, client: AsyncPrivacyClient) -> SettleHold:
    """Asks the budget as an engine would, in the name that alone may end the holds of tasks."""
    token, minted_at = "", 0.0

    async def settle(tenant_id: str, task_id: str, wanted: ToVoid | ToCommit) -> None:
        nonlocal token, minted_at
        if time.monotonic() - minted_at > TOKEN_SECONDS / 2 or not token:
            token = _mint(service, ANY_TENANT, Role.ENGINE, TASK_KEEPER, TOKEN_SECONDS)
            minted_at = time.monotonic()
        if isinstance(wanted, ToVoid):
            call = calls.void(task_id, tenant_id)
        else:
            call = calls.commit(task_id, wanted.steps, tenant_id)
        try:
            await client.send(call, token=token)
        except calls.RefusedError as refused:
            # It has ended, or its time has passed and the sweeper ends it: the next round reads how.
            if refused.code != Code.CONFLICT:
                raise

    return settle


def _mint(service: Service, tenant_id: str, role: Role, subject: str, seconds: int) -> str:
    settings = service.settings
    return mint_token(
        service.keys().token_key,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        tenant_id=tenant_id,
        roles=[role],
        subject=subject,
        lifetime_seconds=seconds,
    )
