"""What values may be, by the name that they have everywhere: of parameters and of members of bodies alike.

A name means one thing in this interface, so its rule stands here once. What cannot be told from a value alone (that a
budget holds a charge, that two members fit each other) is told by a problem document.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from accounting.datasets import MAX_PARTITIONS
from accounting.events import MAX_NAME
from accounting.values import MAX_EPSILON
from serve_app.identifiers import NAME_PATTERN, TEXT_PATTERN

Schema = dict[str, Any]

NAME: Schema = {"type": "string", "pattern": NAME_PATTERN, "minLength": 1, "maxLength": 128}
TEXT: Schema = {"type": "string", "pattern": TEXT_PATTERN, "minLength": 1, "maxLength": 255}
LABEL: Schema = {"type": "string", "pattern": TEXT_PATTERN.replace("255", str(MAX_NAME)), "maxLength": MAX_NAME}
LONG_TEXT: Schema = {"type": "string", "pattern": r"^[^\x00]*$", "maxLength": 2_000}
_DIGITS: Schema = {"type": "string", "pattern": r"^[0-9]{1,30}(\.[0-9]{1,30})?([eE]-?[0-9]{1,2})?$"}


def _amount(**limits: Any) -> Schema:  # noqa: ANN401 - JSON
    """An exact decimal: a number, or its digits as a string. Either way what is written is what counts."""
    return {"anyOf": [{"type": "number", **limits}, _DIGITS]}


_KEY = "Idempotency-Key"
_BATCH_KEY: Schema = {"type": "string", "pattern": TEXT_PATTERN.replace("255", "250"), "minLength": 1, "maxLength": 250}
_EPSILON = _amount(exclusiveMinimum=0, maximum=int(MAX_EPSILON))
_DELTA = _amount(minimum=0, exclusiveMaximum=1)
_SHARE = _amount(minimum=0, maximum=1)
_POSITIVE = _amount(exclusiveMinimum=0)

RULES: Mapping[str, Schema] = {
    **dict.fromkeys(("epsilon", "epsilon_requested", "requested_epsilon", "total_epsilon"), _EPSILON),
    **dict.fromkeys(("actual_epsilon_spent", "target_epsilon"), _EPSILON),
    **dict.fromkeys(("delta", "delta_requested", "requested_delta", "total_delta", "target_delta"), _DELTA),
    **dict.fromkeys(("delta_share", "conversion_share", "confidence"), _SHARE),
    **dict.fromkeys(("sensitivity", "scale", "epochs", "max_grad_norm"), _POSITIVE),
    "tenant_id": NAME,
    "dataset_id": LABEL,
    **dict.fromkeys(("job_id", "operation_id", _KEY), TEXT),
    **dict.fromkeys(("purpose", "query_description", "partition"), LONG_TEXT),
    "privacy_unit": LABEL,
    "partitions": {"type": "array", "maxItems": MAX_PARTITIONS, "uniqueItems": True, "items": LABEL},
    "ttl_seconds": {"type": "integer", "minimum": 1, "maximum": 30 * 86_400},
    "renewal_days": {"type": "integer", "minimum": 1, "maximum": 3_660},
    "steps": {"type": "integer", "minimum": 0},
}

RULES_OF_ONE: Mapping[tuple[str, str], Schema] = {
    ("AllocateBatchBody", "allocations"): {"type": "array", "minItems": 1, "maxItems": 1_000},
    ("ApplyBatchBody", "operations"): {"type": "array", "minItems": 1, "maxItems": 100},
    ("LegalHoldBody", "reason"): TEXT,
    # Files are named after these.
    ("generators", "dataset_id"): NAME,
    ("TrainingBody", "dataset_id"): NAME,
    ("tenants", "after"): {"type": "string", "pattern": f"^$|{NAME_PATTERN}", "maxLength": 128},
    # Each item's place comes behind it.
    **dict.fromkeys((("allocate_batch", _KEY), ("apply_batch", _KEY)), _BATCH_KEY),
    ("PlanBody", "steps"): {"type": "array", "minItems": 1},
    ("SelectBody", "scores"): {"type": "array", "minItems": 1},
}
"""Where a struct, an operation or a tag has a rule of its own."""


def refined(owners: Sequence[str], name: str, schema: Schema) -> Schema:
    """The schema of a member or parameter, with its rule.

    Args:
        owners: The struct; for a parameter its operation and that one's tag.
        name: Of the member or parameter.
        schema: What its type says.
    """
    own = (RULES_OF_ONE[owner, name] for owner in owners if (owner, name) in RULES_OF_ONE)
    rule = next(own, RULES.get(name))
    if rule is None:
        return schema
    if "anyOf" not in schema:
        return _one(schema, rule)
    branches: list[Schema] = []
    for branch in schema["anyOf"]:
        made = _one(branch, rule)
        branches += made["anyOf"] if "anyOf" in made else [made]
    return {**schema, "anyOf": branches}


def _one(branch: Schema, rule: Schema) -> Schema:
    """A branch of a type: replaced where it is a decimal, narrowed where it is of the rule's type, else as it is."""
    if branch.get("format") == "decimal" and "anyOf" in rule:
        rest = {key: value for key, value in branch.items() if key not in ("type", "format")}
        return {**rest, **rule}
    return {**branch, **rule} if branch.get("type") == rule.get("type", "") else branch


def refined_struct(name: str, schema: Schema) -> Schema:
    """A struct's schema, with the rules of its members and the whole."""
    properties = {member: refined((name,), member, one) for member, one in schema.get("properties", {}).items()}
    return {**schema, "properties": properties, **WHOLE.get(name, {})} if properties else schema


def _one_of(*names: str) -> Schema:
    """That one of these members is there, and none of the others but as null."""
    return {
        "oneOf": [
            {
                "required": [name],
                "properties": {each: {"not": _NULL} if each == name else _NULL for each in names},
            }
            for name in names
        ]
    }


def _held(when: Schema, *needed: str) -> Schema:
    """That a hold has what it needs, and that nothing else says how long it lasts."""
    nothing_held: Schema = {"not": when, "properties": {"ttl_seconds": _NULL}}
    stated: Schema = {"required": list(needed), "properties": {name: {"not": _NULL} for name in needed}}
    return {"anyOf": [nothing_held, {"allOf": [when, stated]}]}


_NULL: Schema = {"type": "null"}
_RESERVE: Schema = {"required": ["mode"], "properties": {"mode": {"const": "reserve"}}}
_HOLD: Schema = {"required": ["hold"], "properties": {"hold": {"const": True}}}
_SPELLINGS = ("epsilon", "epsilon_requested", "requested_epsilon")
WHOLE: Mapping[str, Schema] = {
    "AllocateBody": {"allOf": [_one_of(*_SPELLINGS, "event"), _held(_RESERVE)]},
    "ApplyBody": _one_of("epsilon", "scale"),
    "SelectBody": _one_of("epsilon", "scale"),
    "PreviewBody": _one_of("epsilon", "scale"),
    "PlanBody": {"allOf": [_one_of("steps", "event"), _held(_HOLD, "job_id")]},
}
"""What the members of a struct are bound to together."""
