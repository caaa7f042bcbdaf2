"""Tasks as Ray jobs, visible in Ray's dashboard."""

import shlex
import sys
from collections.abc import Mapping, Sequence

import ray
from ray.job_submission import JobStatus as RayStatus
from ray.job_submission import JobSubmissionClient

from deployments.training.jobs import LAST_WORDS
from deployments.training.next_step import JobStatus

_ENTRYPOINT_MEMORY = 300 * 1024 * 1024
"""Bytes. The entrypoint only waits; what computes reserves its own CPUs, and all of them may be wanted. With nothing
at all Ray would pin it to the head node."""


class RayJobs:
    """`Jobs` by Ray's job submission. The name is the submission id."""

    def __init__(self) -> None:
        """Finds the cluster that this process is part of."""
        self._client = JobSubmissionClient(address=ray.get_runtime_context().gcs_address)

    def submit(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """See `Jobs.submit`."""
        if any(job.submission_id == name for job in self._client.list_jobs()):
            return
        self._client.submit_job(
            submission_id=name,
            entrypoint=shlex.join([sys.executable, "-m", "deployments.training.job", *arguments]),
            entrypoint_memory=_ENTRYPOINT_MEMORY,
            runtime_env={"env_vars": dict(environment)},
        )

    def status(self, name: str) -> JobStatus:
        """See `Jobs.status`."""
        known = next((job for job in self._client.list_jobs() if job.submission_id == name), None)
        alive = known is not None and known.status in (RayStatus.PENDING, RayStatus.RUNNING)
        return JobStatus.ALIVE if alive else JobStatus.GONE

    def stop(self, name: str) -> None:
        """See `Jobs.stop`."""
        self._client.stop_job(name)

    def last_words(self, name: str) -> str:
        """See `Jobs.last_words`."""
        try:
            logs: str = self._client.get_job_logs(name)
        except RuntimeError:
            # Ray does not know it any more.
            return ""
        return logs[-LAST_WORDS:].strip()

    def close(self) -> None:
        """Jobs live on without this process."""


def in_ray() -> bool:
    """Whether this process is part of a Ray cluster."""
    return bool(ray.is_initialized())
