"""Databases beside the main one, as an operator names them."""

import json
import re
from dataclasses import dataclass, fields

from accounting.ledger.homes import MAIN

_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}", re.ASCII)


@dataclass(frozen=True, slots=True)
class FurtherDatabase:
    """How to reach a database beside the main one.

    Attributes:
        url: As the schema's owner; None where somebody else migrates it.
        service_url: As a member of prv_service, where the owner may not create roles.
        recorder_url: As a member of prv_recorder, likewise.
    """

    url: str | None = None
    service_url: str | None = None
    recorder_url: str | None = None


def further_databases(text: str) -> dict[str, FurtherDatabase]:
    """The databases that a JSON object describes, by name.

    Raises:
        ValueError: If it does not; without what was given, which may hold passwords.
    """
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise ValueError("must be a JSON object: names, and for each an object with url")
    members = {field.name for field in fields(FurtherDatabase)}
    for name, addresses in given.items():
        if not _NAME.fullmatch(name) or name == MAIN:
            raise ValueError(
                f"{name!r} cannot be the name of a further database: a-z, 0-9 and _, beginning with a letter"
            )
        if not isinstance(addresses, dict) or not addresses or not addresses.keys() <= members:
            raise ValueError(f"{name} must have {', '.join(sorted(members))}, or some of them, and nothing else")
        if not all(isinstance(address, str) for address in addresses.values()):
            raise ValueError(f"{name} must have texts as addresses")
        if "url" not in addresses and len(addresses) < 2:
            raise ValueError(f"{name} needs url, or both service_url and recorder_url")
    return {name: FurtherDatabase(**addresses) for name, addresses in given.items()}
