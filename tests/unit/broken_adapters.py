"""Adapters for the conformance suite: one that is sound, and others that each break one thing."""

import http.client
import json
import time
import uuid
from collections.abc import Callable, Mapping
from email.message import Message
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from serve_app.client.conformance.adapter import Outcome

PATH = "/api/v1/privacy/budget/allocate"
ATTEMPTS = 4
ReadData = Callable[[], None]


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Message
    text: str


def sent(base_url: str, token: str, key: str, body: Mapping[str, Any], path: str = PATH) -> Answer | None:
    """One request; None if no answer came."""
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=10)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": key}
    try:
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read().decode())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def spent(
    base_url: str,
    token: str,
    body: Mapping[str, Any],
    key: Callable[[int], str],
    *,
    again: tuple[int, ...] = (429, 500, 503),
    patient: bool = True,
    lost: Outcome = Outcome.UNKNOWN,
    believes: Callable[[Answer], bool] = lambda _: True,
) -> Outcome:
    """Sends until there is an answer, with the key of each attempt."""
    for attempt in range(ATTEMPTS):
        answer = sent(base_url, token, key(attempt), body)
        if answer is None:
            continue
        if answer.status == 200:
            return Outcome.SPENT if believes(answer) else Outcome.NOT_SPENT
        if answer.status not in again:
            return Outcome.NOT_SPENT
        time.sleep(float(answer.headers.get("Retry-After", 0.01)) if patient else 0.01)
    return Outcome.NOT_SPENT if answer is not None and answer.status < 500 else lost


def body_of(request: Mapping[str, str]) -> dict[str, Any]:
    """The body, with exact amounts."""
    return {"job_id": request["job_id"], "epsilon": request["epsilon"], "delta": request["delta"]}


def sound(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Breaks nothing."""
    outcome = spent(base_url, token, body_of(request), lambda _: request["operation"])
    return read_if(outcome, read_data)


def new_key_each_time(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Makes a new key for every attempt."""
    return read_if(spent(base_url, token, body_of(request), lambda at: f"{request['operation']}-{at}"), read_data)


def forgets_its_key(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Keeps one key for all attempts, but only in memory."""
    key = str(uuid.uuid4())
    return read_if(spent(base_url, token, body_of(request), lambda _: key), read_data)


def argues(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Repeats a denial."""
    key, again = request["operation"], (402, 429, 500, 503)
    return read_if(spent(base_url, token, body_of(request), lambda _: key, again=again), read_data)


def rounds(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Sends floats."""
    body = body_of(request) | {"epsilon": float(request["epsilon"]), "delta": float(request["delta"])}
    return read_if(spent(base_url, token, body, lambda _: request["operation"]), read_data)


def hopes(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Takes silence for a refusal."""
    key = request["operation"]
    return read_if(spent(base_url, token, body_of(request), lambda _: key, lost=Outcome.NOT_SPENT), read_data)


def hurries(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Does not wait as it is asked to."""
    key = request["operation"]
    return read_if(spent(base_url, token, body_of(request), lambda _: key, patient=False), read_data)


def peeks(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Reads the data, and asks afterwards."""
    read_data()
    return spent(base_url, token, body_of(request), lambda _: request["operation"])


def distrusts(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Takes a replayed answer for somebody else's."""
    key = request["operation"]
    outcome = spent(
        base_url,
        token,
        body_of(request),
        lambda _: key,
        believes=lambda answer: "Idempotency-Replayed" not in answer.headers,
    )
    return read_if(outcome, read_data)


def is_strict(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Takes an answer with a member that it does not know for none."""
    key = request["operation"]
    outcome = spent(
        base_url, token, body_of(request), lambda _: key, believes=lambda answer: "since_tomorrow" not in answer.text
    )
    return read_if(outcome, read_data)


def keeps_asking(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Repeats with a token that was refused."""
    key, again = request["operation"], (401, 429, 500, 503)
    return read_if(spent(base_url, token, body_of(request), lambda _: key, again=again), read_data)


def trusts(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Takes whatever is no denial for a success."""
    answer = sent(base_url, token, request["operation"], body_of(request))
    if answer is None:
        return Outcome.UNKNOWN
    refused = answer.status in (401, 402, 422, 429)
    return read_if(Outcome.NOT_SPENT if refused else Outcome.SPENT, read_data)


def takes_back(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Holds and reads; where the commit fails, it takes the hold back all the same."""
    body = body_of(request) | {"mode": "reserve"}
    held = sent(base_url, token, request["operation"], body) or sent(base_url, token, request["operation"], body)
    if held is None:
        return Outcome.UNKNOWN
    if held.status != 200:
        return Outcome.NOT_SPENT
    read_data()
    hold = f"/api/v1/privacy/budget/allocations/{json.loads(held.text)['allocation_id']}"
    committed = sent(base_url, token, "commit", {}, f"{hold}/commit")
    if committed is not None and committed.status == 200:
        return Outcome.SPENT
    sent(base_url, token, "void", {}, f"{hold}/void")
    return Outcome.NOT_SPENT


def gives_up(base_url: str, token: str, request: Mapping[str, str], read_data: ReadData) -> Outcome:
    """Raises instead of saying what it knows."""
    raise OSError("connection refused")


def read_if(outcome: Outcome, read_data: ReadData) -> Outcome:
    """Reads the data if it is paid for."""
    if outcome is Outcome.SPENT:
        read_data()
    return outcome
