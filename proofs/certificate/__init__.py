"""The wire schema of a proof: what a proof document looks like, and a parser that accepts nothing else.

A proof document is the JSON of one `ProofBundle`: the certificates of all allocations of one job, their sum, and an
Ed25519 signature over the canonical JSON (RFC 8785) of everything but the signature. Numbers are text, decimals or
fractions, so that no reader can lose a digit of them.

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
    DIVIDED,
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
    ProofBundle,
    node,
)
from proofs.certificate.words import ADJACENCIES, Window, dataset_guarantee, tenant_guarantee

__all__ = [
    "ADJACENCIES",
    "ADJUSTED",
    "ADMISSION_RULES",
    "CURRENCIES",
    "DIVIDED",
    "EPSILON",
    "FILTER_RULES",
    "LARGEST_INTEGER",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MU_SQUARED",
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
    "ProofBundle",
    "Rule",
    "Window",
    "checked_decimal",
    "dataset_guarantee",
    "node",
    "parse_bundle",
    "parse_json",
    "quoted",
    "tenant_guarantee",
]
