"""The independent checker of proof documents.

It shares nothing with the service but the wire schema (`proofs.certificate`): other arithmetic (fractions and rigorous
balls instead of decimals), another canonical JSON, no accounting code. `python -m proofs.checker FILE` runs it offline.
"""

from proofs.checker.verify import Report, verify_document

__all__ = ["Report", "verify_document"]
