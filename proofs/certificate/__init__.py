"""The wire schema of a proof: what a proof document looks like, and a parser that accepts nothing else.

A proof document is the JSON of one `ProofBundle`: the certificates of a job's allocations, of one allocation or of all
in a tenant's history, or what a plan would cost; the sum; and an Ed25519 signature over the canonical JSON (RFC 8785)
of everything but the signature. Numbers are text, decimals or fractions, so that no reader can lose a digit of them.

This package is all that the prover and the checker share. It says which numbers a rule needs and in which words the
rule speaks; whether the numbers are right is the checker's business.
"""

from proofs.certificate.parse import (
    LARGEST_INTEGER,
    MAX_BYTES,
    MAX_DEPTH,
    checked_decimal,
    parse_bundle,
    parse_json,
    quoted,
)
from proofs.certificate.rules import (
    ADMISSION_RULES,
    CURRENCIES,
    EPSILON,
    FILTER_RULES,
    MU_SQUARED,
    PRICING_RULES,
    RENYI,
    RHO,
    RULES,
    Rule,
)
from proofs.certificate.schema import (
    ADJUSTED,
    ALLOCATION,
    DIVIDED,
    HISTORY,
    JOB,
    PLAN,
    STANDS,
    VERSION,
    VOIDED,
    Certificate,
    ChainEntry,
    DatasetProof,
    Inclusion,
    Log,
    MalformedError,
    Node,
    PlanProof,
    ProofBundle,
    Subject,
    node,
)
from proofs.certificate.words import ADJACENCIES, Window, dataset_guarantee, tenant_guarantee

__all__ = [
    "ADJACENCIES",
    "ADJUSTED",
    "ADMISSION_RULES",
    "ALLOCATION",
    "CURRENCIES",
    "DIVIDED",
    "EPSILON",
    "FILTER_RULES",
    "HISTORY",
    "JOB",
    "LARGEST_INTEGER",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MU_SQUARED",
    "PLAN",
    "PRICING_RULES",
    "RENYI",
    "RHO",
    "RULES",
    "STANDS",
    "VERSION",
    "VOIDED",
    "Certificate",
    "ChainEntry",
    "DatasetProof",
    "Inclusion",
    "Log",
    "MalformedError",
    "Node",
    "PlanProof",
    "ProofBundle",
    "Rule",
    "Subject",
    "Window",
    "checked_decimal",
    "dataset_guarantee",
    "node",
    "parse_bundle",
    "parse_json",
    "quoted",
    "tenant_guarantee",
]
