"""Names that callers choose: tenants, jobs, keys."""

import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}\Z")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,255}\Z")

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$"
TEXT_PATTERN = r"^[^\x00-\x1f\x7f]{1,255}$"
"""The same for the OpenAPI document, whose patterns are ECMAScript's: of whole characters, which no surrogate is."""

NAME_RULE = "must be 1 to 128 letters, digits or . _ : @ - and begin with a letter or digit"
TEXT_RULE = "must be 1 to 255 printable characters"


def valid_name(text: str) -> bool:
    """Whether the text can name a tenant: `NAME_RULE`."""
    return _NAME.match(text) is not None


def valid_text(text: str) -> bool:
    """Whether the text can be a job id or an idempotency key: `TEXT_RULE`."""
    return _PRINTABLE.match(text) is not None
