"""The codes of problem documents."""

from serve_app.problems import Code, Problem
from serve_app.reference.markdown import code, table

_WHAT_TO_DO = {
    Code.INVALID_REQUEST: "Nothing was charged. `field` names what is wrong; correct it.",
    Code.IDEMPOTENCY_MISMATCH: "Nothing was charged now. A new operation needs a new key.",
    Code.BUDGET_EXHAUSTED: "Nothing was charged. Read no data; `scope` says which budget refused, `largest_charge` "
    "what would fit.",
    Code.OPERATION_LIMIT: "Nothing was charged. More noise, or several operations.",
    Code.UNKNOWN_TENANT: "An administrator opens a budget first (`privacy-engine budget --set-epsilon`).",
    Code.NOT_FOUND: "Look at the id and the address.",
    Code.CONFLICT: "The allocation, plan or task is in another state; look at it before you publish anything.",
    Code.FORBIDDEN: "Nothing was charged. `action` and `roles` say which token is needed.",
    Code.UNAUTHENTICATED: "Nothing was charged. A new token, the same key.",
    Code.TOO_LARGE: "Nothing was charged. Send less, or several requests.",
    Code.RATE_LIMITED: "Nothing was charged. Wait as long as `Retry-After` says, then repeat with the same key.",
    Code.UNAVAILABLE: "**It may have been charged**, unless `detail` says that it was not. Repeat with the same key.",
    Code.METHOD_NOT_ALLOWED: "`/openapi.json` lists the methods.",
    Code.INTERNAL: "**It may have been charged.** Repeat with the same key; the operator finds more in the log.",
}


def errors_page() -> str:
    """Every code with its status, title, and what to do."""
    rows = []
    for each in Code:
        problem = Problem(each, "")
        rows.append((code(each.value), str(problem.status), problem.document()["title"], _WHAT_TO_DO[each]))
    return (
        "Every refusal and every failure is a problem document (RFC 9457, `application/problem+json`) with `type`,\n"
        "`title`, `status`, `detail`, and a `code` that never changes its meaning; `error_code` is the same in\n"
        "capitals. `detail` is for people and may be worded anew. Further members stand beside them where they\n"
        "help.\n\n" + table(("code", "status", "title", "what to do"), rows)
    )
