"""Reads server-sent events as the standard has it, for tests."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sent:
    """An event as a reader gets it.

    Attributes:
        event_id: The last id that was sent.
        name: Of the event.
        data: What it says.
    """

    event_id: str
    name: str
    data: Any


class SseReader:
    """A reader: takes lines, gives events, and knows the last id."""

    def __init__(self) -> None:
        self.last_id = ""
        self.comments = 0
        self.retry: int | None = None
        self._id = ""
        self._name = ""
        self._data: list[str] = []

    def lines(self, lines: Iterable[str]) -> Iterator[Sent]:
        """The events that the lines hold."""
        for line in lines:
            sent = self.line(line)
            if sent is not None:
                yield sent

    def line(self, line: str) -> Sent | None:
        """The event that this line completes, if it does."""
        if line == "":
            self.last_id = self._id
            name, data, self._name, self._data = self._name, self._data, "", []
            return Sent(self.last_id, name, json.loads("\n".join(data))) if data else None
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "":
            self.comments += 1
        elif field == "id":
            self._id = value
        elif field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "retry":
            self.retry = int(value)
        return None
