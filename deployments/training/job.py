"""The entrypoint of a Ray job: one start of a task, its work done by a Ray worker with a GPU where there is one.

The service submits it; ``ray job submit -- python -m deployments.training.job --announce ...`` does the same by hand,
for a task that was ordered with ``"launch": "caller"``.
"""

import sys

import ray
import structlog

from deployments.json_lines import log_to_stderr
from deployments.training.document import document_from
from deployments.training.folders import Folders, private_folder
from deployments.training.reports import GivenUpError, Reporter
from deployments.training.start import Start, start_from, token_from_environment
from deployments.training.work import GIVEN_UP, carry_out

log = structlog.get_logger()


@ray.remote(max_retries=0)
def _work(start: Start, token: str) -> None:
    log_to_stderr(tenant_id=start.tenant_id, job_id=start.task_id, attempt=start.attempt)
    carry_out(start, token)


def main() -> int:
    """Runs until the work is done.

    Returns:
        Exit status. Whatever else goes wrong ends the process, and the service starts another.
    """
    start, token = start_from(sys.argv[1:]), token_from_environment()
    log_to_stderr(tenant_id=start.tenant_id, job_id=start.task_id, attempt=start.attempt)
    ray.init(address="auto", log_to_driver=True)
    gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
    try:
        workers = _workers(start, token)
        if workers > 1:
            from deployments.training.workers_job import carry_out_together

            storage = Folders(start.files).results(start.task_id, start.attempt).with_name(f"ray-{start.attempt}")
            private_folder(storage)
            carry_out_together(start, token, workers, storage, gpus=gpus >= workers)
        else:
            # The reservation is the worker's, not the entrypoint's: otherwise a GPU would be reserved twice.
            ray.get(_work.options(num_cpus=1, num_gpus=min(gpus, 1)).remote(start, token))
    except GivenUpError as error:
        log.warning("given_up", reason=str(error))
        return GIVEN_UP
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, GivenUpError):
            log.warning("given_up", reason=str(error.cause))
            return GIVEN_UP
        raise
    return 0


def _workers(start: Start, token: str) -> int:
    reporter = Reporter(start.base_url, token, start.tenant_id, start.task_id, start.attempt)
    try:
        return document_from(reporter.document()).workers
    finally:
        reporter.close()


if __name__ == "__main__":
    sys.exit(main())
