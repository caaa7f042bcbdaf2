"""Settings, from the environment (prefix ``AUMOS_PRIVACY_``), checked when they are read."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from accounting.admission import Limits
from accounting.filters import Budget, budget_for_claims
from serve_app.auth.issuers import Issuer, issuers_from
from serve_app.further import FurtherDatabase, further_databases


class Settings(BaseSettings):
    """What an operator can choose; each field is an environment variable, as in ``AUMOS_PRIVACY_DEFAULT_EPSILON=5``."""

    # What is refused is told without what was given: it may hold a password.
    model_config = SettingsConfigDict(env_prefix="AUMOS_PRIVACY_", extra="ignore", hide_input_in_errors=True)

    home: Path = Field(default=Path("~/.privacy-engine"), description="Data folder: keys, the embedded database, logs.")
    host: str = Field(default="127.0.0.1", description="Name under which clients reach the service.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port of the HTTP interface.")
    database_url: SecretStr | None = Field(default=None, description="Postgres; absent, an embedded one.")
    database_service_url: SecretStr | None = Field(
        default=None, description="Postgres as a member of prv_service, where DATABASE_URL may not create roles."
    )
    database_recorder_url: SecretStr | None = Field(
        default=None, description="Postgres as a member of prv_recorder, where DATABASE_URL may not create roles."
    )
    more_databases: SecretStr | None = Field(
        default=None,
        description="Further databases, a JSON object by name: url, or service_url and recorder_url, or all three. A "
        "tenant lives in one of them or in DATABASE_URL, which is called main.",
    )
    databases_for_new: str = Field(
        default="", description="Databases that take new tenants, names separated by commas; absent, all of them."
    )
    budget_replicas: int = Field(default=1, ge=1, le=64, description="Processes that own budgets.")

    default_epsilon: Decimal = Field(default=Decimal(10), gt=0, description="Epsilon of a budget opened by default.")
    default_delta: Decimal = Field(
        default=Decimal("1e-5"), ge=0, lt=1, description="Delta that plain claims under it may sum to."
    )
    budget_renewal_days: int = Field(
        default=30, ge=1, le=3660, description="Days in a window of a budget that renews and says no length."
    )
    open_default_budget: bool = Field(default=True, description="Whether a tenant's first request opens a budget.")
    max_operation_epsilon: Decimal = Field(default=Decimal(2), gt=0, description="Largest epsilon of one operation.")
    healthcare_max_epsilon: Decimal = Field(default=Decimal("0.5"), gt=0, description="For healthcare.")

    token_issuer: str = Field(default="privacy-engine", description="`iss` that tokens must carry.")
    token_audience: str = Field(default="privacy-engine", description="`aud` that tokens must carry.")
    token_leeway_seconds: int = Field(default=10, ge=0, le=120, description="Clock skew allowed in tokens.")
    issuers: str = Field(
        default="[]",
        description="Outside issuers whose tokens are accepted, a JSON list of objects: issuer, audience, jwks (https "
        "address or file), algorithms (RS256, ES256, EdDSA); claims (their names for tenant_id, roles, engine), "
        "tenants (for whom their tokens may be; every one) and any_tenant (whether they may be for any tenant at once; "
        "false) may be left out.",
    )
    rate_per_tenant: float | None = Field(
        default=None, gt=0, description="Requests a second that a tenant's own tokens may send; absent, any number."
    )
    rate_per_token: float | None = Field(
        default=None, gt=0, description="Requests a second that one token may send; absent, any number."
    )
    rate_burst_seconds: float = Field(
        default=10, gt=0, le=3600, description="How many seconds' worth of requests may come at once, where limited."
    )

    kafka_brokers: str | None = Field(
        default=None, min_length=1, description="Kafka, host:port separated by commas; absent, events are streams only."
    )
    kafka_options: SecretStr | None = Field(
        default=None, description="More options of librdkafka as a JSON object, such as security.protocol."
    )

    operator_keys: Path | None = Field(
        default=None, description="JWK set of operators' public keys; absent, keys/operators.json in the data folder."
    )

    proof_key: SecretStr | None = Field(
        default=None, description="Private key for proofs, PEM; absent, keys/proof-signing-key.pem in the data folder."
    )
    head_key: SecretStr | None = Field(
        default=None, description="Private key for the log's heads, PEM; absent, likewise a file in the data folder."
    )

    files: Path | None = Field(
        default=None, description="Folder that service and training workers share; absent, files in the data folder."
    )
    modules: str = Field(
        default="", description="Modules that may be trained, package.module:Factory separated by commas; absent, none."
    )

    traces: str | None = Field(
        default=None, min_length=1, description="URL that takes traces, OTLP over HTTP; absent, none are made."
    )
    traces_ratio: float = Field(
        default=0.1, ge=0, le=1, description="Share of traces that are kept, where the caller has not decided that."
    )

    noop_route: bool = Field(default=False, description="Serve the benchmark's no-op route.")

    @field_validator("kafka_options")
    @classmethod
    def _is_an_object(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            _options(given)
        return given

    @field_validator("more_databases")
    @classmethod
    def _are_databases(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None:
            further_databases(given.get_secret_value())
        return given

    @field_validator("issuers")
    @classmethod
    def _are_issuers(cls, given: str) -> str:
        issuers_from(given)
        return given

    @model_validator(mode="after")
    def _only_we_are_the_token_issuer(self) -> Self:
        if any(one.issuer == self.token_issuer for one in self.outside_issuers):
            raise ValueError("issuers: none of them may be TOKEN_ISSUER, which is the service itself")
        return self

    @property
    def outside_issuers(self) -> tuple[Issuer, ...]:
        """The issuers that are trusted beside the service itself."""
        return issuers_from(self.issuers)

    @property
    def folder(self) -> Path:
        """The data folder, absolute."""
        return self.home.expanduser().absolute()

    @property
    def operator_keys_file(self) -> Path:
        """Where the operators' public keys are, if there are any."""
        return (self.operator_keys or self.folder / "keys" / "operators.json").expanduser().absolute()

    @property
    def files_folder(self) -> Path:
        """Where rows, checkpoints and results are."""
        return (self.files or self.folder / "files").expanduser().absolute()

    @property
    def allowed_modules(self) -> tuple[str, ...]:
        """The modules that may be trained, by their paths."""
        return tuple(name.strip() for name in self.modules.split(",") if name.strip())

    @property
    def base_url(self) -> str:
        """Where the service answers."""
        return f"http://{self.host}:{self.port}"

    def without_addresses(self) -> Self:
        """As replicas have them: they need neither an owner's password nor the way to make themselves a better role."""
        addresses = ("database_url", "database_service_url", "database_recorder_url", "more_databases")
        return self.model_copy(update=dict.fromkeys(addresses))

    @property
    def homes_for_new(self) -> list[str]:
        """Names of the databases that take new tenants; empty for all."""
        return [name.strip() for name in self.databases_for_new.split(",") if name.strip()]

    def further(self) -> dict[str, FurtherDatabase]:
        """The databases beside the main one, by name."""
        return {} if self.more_databases is None else further_databases(self.more_databases.get_secret_value())

    def kafka(self) -> dict[str, Any]:
        """Further options of librdkafka."""
        return {} if self.kafka_options is None else _options(self.kafka_options)

    def limits(self) -> Limits:
        """The per-operation limits."""
        return Limits(self.max_operation_epsilon, {"healthcare": self.healthcare_max_epsilon})

    def default_budget(self) -> Budget | None:
        """What a tenant without a budget is given at its first request, if anything."""
        return budget_for_claims(self.default_epsilon, self.default_delta) if self.open_default_budget else None


def revealed(secret: SecretStr | None) -> str | None:
    """The secret's text, if there is one."""
    return None if secret is None else secret.get_secret_value()


def _options(text: SecretStr) -> dict[str, Any]:
    try:
        options = json.loads(text.get_secret_value())
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise ValueError("must be a JSON object of librdkafka's options")
    return options
