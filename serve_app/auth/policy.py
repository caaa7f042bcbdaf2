"""Who may do what: one table from actions to roles. ``python -m serve_app.auth.policy`` prints it as docs/roles.md."""

import sys
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a token may do."""

    ADMIN = "admin"
    ENGINE = "engine"
    ANALYST = "analyst"
    VIEWER = "viewer"
    AUDITOR = "auditor"
    TASK = "task"
    """One task's process, which reports on that task and does nothing else. The service gives it its token."""


class Action(StrEnum):
    """What can be asked of the service. Health, public keys and the OpenAPI document are open to everybody."""

    ALLOCATE = "allocate"
    SETTLE = "settle"
    RELEASE = "release"
    PREVIEW = "preview"
    PLAN = "plan"
    ORDER_TRAINING = "order_training"
    CANCEL_TRAINING = "cancel_training"
    WORK_ON_TRAINING = "work_on_training"
    STORE_ROWS = "store_rows"
    SET_BUDGET = "set_budget"
    REGISTER_DATASET = "register_dataset"
    LEGAL_HOLD = "legal_hold"
    ADJUST = "adjust"
    READ_BUDGET = "read_budget"
    READ_ENTRIES = "read_entries"
    READ_LOG = "read_log"
    READ_PLANS = "read_plans"
    READ_PROOFS = "read_proofs"
    READ_LOSS = "read_loss"
    READ_ANALYTICS = "read_analytics"
    READ_TRAININGS = "read_trainings"
    READ_RESULTS = "read_results"
    READ_ROWS = "read_rows"
    READ_REPORTS = "read_reports"
    READ_DENIALS = "read_denials"
    READ_AUDIT = "read_audit"
    READ_TENANTS = "read_tenants"
    READ_ACCESS = "read_access"


class Kept(StrEnum):
    """Whether the audit log has a row of an action that succeeded. Of one that was refused it always has."""

    NO = "no"
    """It changes nothing, or the ledger says who did it already."""
    AFTER = "after the answer"
    BEFORE = "before the answer"


@dataclass(frozen=True, slots=True)
class Rule:
    """Of one action.

    Attributes:
        sentence: What it is.
        roles: Who may.
        across: Whose token for any tenant may do it for the tenant that the request names.
        kept: Whether its success is in the audit log.
    """

    sentence: str
    roles: frozenset[Role]
    across: frozenset[Role] = frozenset()
    kept: Kept = Kept.NO


_ADMINS = frozenset({Role.ADMIN})
_SPENDERS = frozenset({Role.ADMIN, Role.ENGINE, Role.ANALYST})
_AUDITORS = frozenset({Role.AUDITOR})
_READERS = frozenset(Role) - {Role.TASK}
_PLATFORM = frozenset({Role.ENGINE})

RULES: dict[Action, Rule] = {
    Action.ALLOCATE: Rule("Spend budget or hold it.", _SPENDERS, _PLATFORM),
    Action.SETTLE: Rule("End an allocation: commit, void, expire.", _SPENDERS, _PLATFORM),
    Action.RELEASE: Rule("Release statistics with noise, and choose by private scores.", _SPENDERS, _PLATFORM),
    Action.PREVIEW: Rule("Price a release before it is charged.", _SPENDERS, _PLATFORM),
    Action.PLAN: Rule("Price a plan, and hold it if wished.", _SPENDERS, _PLATFORM, Kept.AFTER),
    Action.ORDER_TRAINING: Rule("Order a training or synthetic rows.", _SPENDERS, _PLATFORM, Kept.AFTER),
    Action.CANCEL_TRAINING: Rule("Stop a training.", _SPENDERS, _PLATFORM, Kept.AFTER),
    Action.WORK_ON_TRAINING: Rule(
        "Read what a training is to do, and report on it; a task its own alone.", _SPENDERS | {Role.TASK}, _PLATFORM
    ),
    Action.STORE_ROWS: Rule("Declare, store and delete the rows of a data set.", _SPENDERS, _PLATFORM, Kept.AFTER),
    Action.SET_BUDGET: Rule("Create or raise a budget, or change its windows.", _ADMINS, kept=Kept.BEFORE),
    Action.REGISTER_DATASET: Rule("Register a data set, or raise its budget.", _ADMINS, kept=Kept.BEFORE),
    Action.LEGAL_HOLD: Rule("Place or lift a legal hold.", _ADMINS, kept=Kept.BEFORE),
    Action.ADJUST: Rule("Take a charge back, with an operator's signed statement.", _ADMINS, kept=Kept.BEFORE),
    Action.READ_BUDGET: Rule("See a tenant's budget and data sets.", _READERS, _PLATFORM | _AUDITORS),
    Action.READ_ENTRIES: Rule("See a tenant's ledger entries and events.", _READERS, _AUDITORS),
    Action.READ_LOG: Rule("See the log's heads, proofs and health, which tell of no tenant.", _READERS, _AUDITORS),
    Action.READ_PLANS: Rule("See a plan that was priced before.", _READERS, _AUDITORS),
    Action.READ_PROOFS: Rule("Have the proof of a job, a plan or a history.", _READERS, _AUDITORS, Kept.AFTER),
    Action.READ_LOSS: Rule("See a tenant's loss over time.", _READERS, _AUDITORS),
    Action.READ_ANALYTICS: Rule("See what a tenant spends, on what and how fast.", _READERS, _AUDITORS),
    Action.READ_TRAININGS: Rule("See a tenant's trainings and their progress.", _READERS, _AUDITORS),
    Action.READ_RESULTS: Rule("Fetch a file that a training made.", _READERS, kept=Kept.AFTER),
    Action.READ_ROWS: Rule("See what is known of stored rows, not the rows.", _READERS),
    Action.READ_REPORTS: Rule("Have a privacy or evidence report, or an export.", _READERS, _AUDITORS, Kept.AFTER),
    Action.READ_DENIALS: Rule("See what charges were refused.", _ADMINS | _AUDITORS, _AUDITORS, Kept.AFTER),
    Action.READ_AUDIT: Rule("See who did what, and what was refused.", _ADMINS | _AUDITORS, _AUDITORS, Kept.AFTER),
    Action.READ_TENANTS: Rule("See all tenants side by side.", _AUDITORS, _AUDITORS),
    Action.READ_ACCESS: Rule("See one's own token, and this table.", _READERS, _READERS),
}
"""A row for each action: a test holds it."""


def actions_of(roles: frozenset[Role]) -> list[Action]:
    """What somebody with these roles may do, in the order of the table."""
    return [action for action, rule in RULES.items() if not rule.roles.isdisjoint(roles)]


def document() -> str:
    """The table for people, in Markdown."""
    heads = ["action", "what it is", *Role, "for any tenant", "success in the audit log"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for action, rule in RULES.items():
        may = ["yes" if role in rule.roles else "" for role in Role]
        across = "whoever may" if rule.across == rule.roles and len(rule.roles) > 1 else ", ".join(sorted(rule.across))
        lines.append(_line([f"`{action}`", rule.sentence, *may, across, rule.kept]))
    return _PREFACE + "\n".join(lines) + "\n"


_PREFACE = """# Who may do what

Made by `python -m serve_app.auth.policy` from the table that the service decides by; a test holds the two together.
A token names its roles in the claim `roles`. Whoever asks for more is answered 403 with the action and the roles
that may, before the request is looked at. `GET /api/v1/privacy/access/me` says what the token at hand may do.

A token belongs to one tenant. One with `tenant_id: "*"` speaks for the tenant that the request names, where the column
*for any tenant* has one of its roles: `engine` for the service token of a platform engine, `auditor` for an auditor of
all. What is refused is in the audit log; what succeeded is where the last column says so. `no` means that it changes
nothing, or that the ledger itself says who did it.

"""


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(document())
