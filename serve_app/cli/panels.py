"""Every command under its heading, with examples: what ``--help`` lists, and in which order."""

from collections.abc import Callable

from serve_app.cli import (
    acceptance,
    access,
    analytics,
    audit,
    audit_log,
    audit_training,
    auditing,
    datasets,
    deploying,
    evaluating,
    events,
    exporting,
    keys,
    node,
    operators,
    ordering,
    pictures,
    planning,
    proving,
    releasing,
    reports,
    rights,
    spending,
    starting,
    status,
    training,
)

Command = Callable[..., None]

PANELS: dict[str, dict[Command, str]] = {
    "Service": {
        starting.up: "privacy-engine up --detach --port 8000",
        starting.down: "privacy-engine down",
        status.status: "privacy-engine status\nprivacy-engine status --url https://privacy.example --json",
        access.token: "privacy-engine token --tenant acme --role engine --engine tabular\n"
        "export AUMOS_PRIVACY_TOKEN=$(privacy-engine token --tenant acme --role viewer)",
        rights.whoami: "privacy-engine whoami",
        rights.roles: "privacy-engine roles",
    },
    "Budgets": {
        spending.budget: "privacy-engine budget --tenant acme\n"
        "privacy-engine budget --tenant acme --set-epsilon 10 --set-delta 1e-5",
        analytics.summary: "privacy-engine summary --tenant acme",
        analytics.burn_rate: "privacy-engine burn-rate --tenant acme --days 30",
        analytics.operations: "privacy-engine operations --tenant acme --limit 5",
        spending.denials: "privacy-engine denials --tenant acme",
        analytics.tenants: "privacy-engine tenants --json",
        events.events: "privacy-engine events --tenant acme --json",
        pictures.picture: "privacy-engine picture --tenant acme -o loss.png",
        datasets.dataset: "privacy-engine dataset trial-7 --tenant acme\n"
        "privacy-engine dataset trial-7 --tenant acme --epsilon 2 --unit patient",
        datasets.datasets: "privacy-engine datasets --tenant acme",
        spending.legal_hold: "privacy-engine legal-hold --place --reason 'case 4711' --tenant acme",
    },
    "Releases": {
        planning.plan: "privacy-engine plan steps.json --tenant acme\n"
        'echo \'[{"step_name": "mean", "mechanism": "laplace", "epsilon": 0.1}]\' | privacy-engine plan -',
        spending.allocate: "privacy-engine allocate --epsilon 0.5 --job study --tenant acme\n"
        "privacy-engine allocate --epsilon 0.5 --job study --reserve --ttl 600 --json",
        spending.commit: "privacy-engine commit ALLOCATION --tenant acme",
        spending.void: "privacy-engine void ALLOCATION --tenant acme",
        releasing.preview: "privacy-engine preview --mechanism laplace --epsilon 0.5 --sensitivity 1",
        releasing.apply: "privacy-engine apply --mechanism laplace --epsilon 0.5 --sensitivity 1 --data 42 --integers",
        releasing.select: "privacy-engine select --scores 12,30 --candidates red,green --epsilon 0.5 --sensitivity 1",
    },
    "Training and rows": {
        training.rows: "privacy-engine rows people people.csv --schema schema.json --tenant acme",
        ordering.generate: "privacy-engine generate people --epsilon 1 -o synthetic.csv --tenant acme",
        ordering.train: "privacy-engine train people --kind logistic --target ill --epsilon 1 -o model --tenant acme",
        training.training: "privacy-engine training --tenant acme\nprivacy-engine training ID --watch --tenant acme",
        reports.report: "privacy-engine report ID --format html -o report.html --tenant acme",
        reports.compare: "privacy-engine compare ID ID --tenant acme",
        evaluating.evaluate: "privacy-engine evaluate --schema schema.json --real real.csv --synthetic synthetic.csv",
    },
    "Proofs and audits": {
        proving.proof: "privacy-engine proof study -o proof.json --tenant acme\n"
        "privacy-engine proof --history --format pdf -o history.pdf --tenant acme",
        proving.verify: "privacy-engine verify proof.json --keys keys.json",
        keys.keys: "privacy-engine keys -o keys.json",
        audit.audit: "privacy-engine audit --save log.jsonl\nprivacy-engine audit --file log.jsonl --keys keys.json",
        audit_log.audit_log: "privacy-engine audit-log --tenant acme",
        exporting.evidence: "privacy-engine evidence --framework gdpr --format html -o evidence.html --tenant acme",
        exporting.export: "privacy-engine export -o history.json --tenant acme",
        auditing.audit_mechanism: "privacy-engine audit-mechanism laplace --epsilon 1 --samples 100000",
        audit_training.audit_training: "privacy-engine audit-training --epsilon 3",
    },
    "Operators": {
        operators.adjust: "privacy-engine adjust ALLOCATION --reason 'job died before it read' --key operator.pem",
        keys.rotate_key: "privacy-engine rotate-key proofs",
        acceptance.accept_ledger: "privacy-engine accept-ledger --reason 'restored from the backup of Monday'",
        deploying.check_config: "privacy-engine check-config serve_config.yaml",
        deploying.deploy: "privacy-engine deploy serve_config.yaml",
        node.node: "privacy-engine node --head\nprivacy-engine node --join 10.0.0.1:6379",
    },
}

OPERATOR_KEY_EXAMPLE = "privacy-engine operator-key new -o operator.pem"
