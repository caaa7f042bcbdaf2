"""Events of the real service, through the load balancer: as they happen, resumed anywhere, and after a SIGKILL."""

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.acceptance.conftest import LiveService
from tests.sse import Sent, SseReader

pytestmark = pytest.mark.cluster

PREFIX = "/api/v1/privacy"
PATIENCE_SECONDS = 60


class Tenant:
    """An engine of one tenant."""

    def __init__(self, service: LiveService, name: str) -> None:
        self.client = httpx.Client(
            base_url=service.url,
            headers={"Authorization": f"Bearer {service.token(name, 'engine')}"},
            timeout=PATIENCE_SECONDS,
        )

    def allocate(self, job: str, **body: Any) -> dict[str, Any]:  # noqa: ANN401
        """Spends a little."""
        response = self.client.post(f"{PREFIX}/budget/allocate", json={"job_id": job, "epsilon": "0.01", **body})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    @contextmanager
    def stream(self, last_id: str | None = None) -> Iterator[Iterator[Sent]]:
        """The tenant's events, from the beginning or after an id."""
        place: dict[str, Any] = {"params": {"start": 0}} if last_id is None else {"headers": {"Last-Event-ID": last_id}}
        with self.client.stream("GET", f"{PREFIX}/log/events", **place) as response:
            assert response.status_code == 200, response.read()
            yield SseReader().lines(response.iter_lines())

    def events(self, count: int, last_id: str | None = None) -> list[Sent]:
        """So many events, however often the connection breaks meanwhile."""
        found: list[Sent] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} events came"
            try:
                with self.stream(found[-1].event_id if found else last_id) as sent:
                    for one in itertools.islice(sent, count - len(found)):
                        found.append(one)
            except (httpx.TransportError, AssertionError):
                time.sleep(0.2)
        return found


def test_a_tenants_events_are_streamed_and_resumed(live_service: LiveService) -> None:
    """What is acknowledged arrives in order; whoever comes back with an id gets what follows it."""
    tenant = Tenant(live_service, "events-streamed")
    for number in range(3):
        tenant.allocate(f"job-{number}")
    everything = tenant.events(4)
    assert [sent.data["seq"] for sent in everything] == [1, 2, 3, 4]
    assert [sent.data["job_id"] for sent in everything] == [None, "job-0", "job-1", "job-2"]
    for seen, sent in enumerate(everything[:-1], start=1):
        assert tenant.events(4 - seen, sent.event_id) == everything[seen:]


def test_an_event_reaches_a_listener_while_the_stream_is_open(live_service: LiveService) -> None:
    """The load balancer passes on what is written at once, and does not wait for the end of the answer."""
    tenant = Tenant(live_service, "events-live")
    tenant.allocate("before")
    with tenant.stream() as sent:
        assert [next(sent).data["job_id"], next(sent).data["job_id"]] == [None, "before"]
        other = Tenant(live_service, "events-live")
        other.allocate("during")
        assert next(sent).data["job_id"] == "during"


def test_a_hold_expires_and_is_told(live_service: LiveService) -> None:
    """A hold of one second that nobody ends is spent, and its event arrives."""
    tenant = Tenant(live_service, "events-expiry")
    hold = tenant.allocate("forgotten", mode="reserve", ttl_seconds=1)
    told = tenant.events(3)[-1]
    assert (told.data["kind"], told.data["allocation_id"]) == ("expired_spent", hold["allocation_id"])


def test_a_killed_log_replica_loses_no_event(live_service: LiveService) -> None:
    """After SIGKILL the stream goes on where it was, holds expire, and heads continue those before."""
    tenant, total = Tenant(live_service, "events-killed"), 60
    tenant.allocate("job-0")
    before = tenant.events(2)
    earlier = tenant.client.get(f"{PREFIX}/log/head").json()
    with tenant.stream(before[-1].event_id) as sent:
        tenant.allocate("job-1")
        assert next(sent).data["job_id"] == "job-1"
        victims = live_service.replicas("ServeReplica:log")
        assert victims, "the log has a replica to kill"
        for victim in victims:
            victim.send_signal(signal.SIGKILL)
        with pytest.raises((httpx.TransportError, StopIteration)):
            next(sent)
    for number in range(2, total):
        # The budget knows nothing of it.
        tenant.allocate(f"job-{number}")
    hold = tenant.allocate("forgotten", mode="reserve", ttl_seconds=1)
    after = tenant.events(total + 1, before[-1].event_id)
    assert [sent.data["seq"] for sent in [*before, *after]] == list(range(1, total + 4))
    jobs = [sent.data["job_id"] for sent in after]
    assert jobs == [*(f"job-{number}" for number in range(1, total)), "forgotten", "forgotten"]
    assert (after[-1].data["kind"], after[-1].data["allocation_id"]) == ("expired_spent", hold["allocation_id"])
    later = tenant.client.get(f"{PREFIX}/log/head").json()
    proof = tenant.client.get(
        f"{PREFIX}/log/consistency", params={"first": earlier["size"], "second": later["size"]}
    ).json()
    assert proof["first"] == {"size": earlier["size"], "root": earlier["root"]}
    assert proof["second"] == {"size": later["size"], "root": later["root"]}


def test_an_auditor_follows_all_tenants_with_the_standard_library_alone(live_service: LiveService) -> None:
    """A stream is plain text over HTTP: no client of ours is needed."""
    Tenant(live_service, "events-plain").allocate("job")
    script = (
        "import sys, urllib.request\n"
        "request = urllib.request.Request(sys.argv[1], headers={'Authorization': 'Bearer ' + sys.argv[2]})\n"
        "with urllib.request.urlopen(request, timeout=30) as answer:\n"
        "    for line in answer:\n"
        "        if line.startswith(b'data: ') and b'events-plain' in line:\n"
        "            sys.exit(sys.stdout.write(line[6:].decode()) and 0)\n"
    )
    url = f"{live_service.url}{PREFIX}/log/events?start=0"
    finished = subprocess.run(
        [sys.executable, "-c", script, url, live_service.token("*", "auditor")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert json.loads(finished.stdout)["tenant_id"] == "events-plain"
