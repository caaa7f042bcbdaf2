"""A proof as a LaTeX document, for people.

The document needs nothing beyond a standard LaTeX installation (amsmath, amssymb, booktabs, longtable). Whatever
comes
from outside, job ids above all, is escaped character by character: nothing in a proof can become a command.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

from proofs.certificate import CURRENCIES, RULES, Certificate, Node, ProofBundle, parse_bundle
from proofs.render.sections import SECTIONS

_INSTANCES = 20
"""So many different instances of a rule are written out; the rest are left to the JSON document."""
_ROWS = 500
"""So many rows of the chain are shown."""
_ROUGH = Context(prec=8)
"""Digits of numbers that are shortened."""
_LONGEST = 18
"""Characters up to which a number is written in full."""
_LONGEST_IN_TABLE = 10

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
}

_PREAMBLE = r"""\documentclass[11pt,a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage{textcomp}
\usepackage[margin=20mm]{geometry}
\usepackage{amsmath,amssymb,booktabs,longtable}
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.6em}
\emergencystretch=3em
\begin{document}
"""

_SYMBOLS = {
    "sensitivity": r"\Delta",
    "scale": "b",
    "sigma": r"\sigma",
    "factor": "f",
    "probability": "p",
    "categories": "k",
    "sampling_probability": "q",
    "sample_size": "m",
    "population": "n",
    "count": "n",
    "counted": r"\text{counted}",
    "conversion_delta": r"\delta_c",
    "order": r"\alpha",
    "epsilon": r"\varepsilon",
    "renyi": r"D_\alpha",
    "rho": r"\rho",
    "mu_squared": r"\mu^2",
    "delta": r"\delta",
}
_MEMBERS = {"epsilon": "basic", "renyi": r"R\'enyi", "rho": "zCDP", "mu_squared": "Gaussian DP"}
"""What the filter that counts in a currency is called."""

_FILTER = r"""A budget promises some $(\varepsilon, \delta)$ and has one or more member filters, each with a cap and
a share $\delta_m$ of the promised delta, fixed in advance. Each member counts what every charge costs in its own
currency: the basic one $\varepsilon$ (Rogers, Roth, Ullman and Vadhan 2016), the others R\'enyi divergence at one
committed order (Feldman and Zrnic 2021, Theorem 4.3), $\rho$ (Whitehouse, Ramdas, Rogers and Wu 2023, Theorem 1) or
$\mu^2$ (Smith and Thakurta 2022), and the deltas of claims beside it. Each charge is chosen with full knowledge of
all earlier outputs. An analyst who is stopped before a member's sum would pass its cap is $(\varepsilon,
\delta_m)$-differentially private. A charge is admitted while any member holds after it. Let $S_m$ be those
transcripts in a set $S$ at whose end $m$ is the first member that holds. On $S_m$ the interaction is the one that
$m$ alone would have stopped, so
\begin{gather*}
P(S) = \sum_m P(S_m) \le \sum_m \bigl(e^{\varepsilon} Q(S_m) + \delta_m\bigr) \le e^{\varepsilon} Q(S) + \delta,
\qquad
\sum_m \delta_m \le \delta.
\end{gather*}
All that the budget admits keeps the promise: of a budget for all time the whole history; of a window what is charged in
it, with the holds that were open when it began; of a data set all that is done with it, where each member counts the
largest exposure of anyone whom an operation touches. For charges fixed in advance the sums themselves are a guarantee
(Dwork and Roth 2014, Theorem 3.16); for charges chosen on the way they say how much of the budget is used, and the
guarantee is the budget's. Every row of the table shows one balance of one member: before $+$ charge $=$ after, and
the cap. A member that is marked with a star does not hold."""

_LOG = r"""All tenants' entries stand in one log, in the order in which they became durable. Over it stands a Merkle
tree (RFC 6962), whose root the service signs and publishes. An entry whose place under such a head is proved cannot be
left out or changed later without contradicting that head. The JSON document has the signed head and the hashes."""

_TRUST = r"""\begin{itemize}
\item The key. The signature shows that the document is whole; whose it is, is known by comparing the key's name
with the keys that the service publishes at \texttt{/.well-known/jwks.json}.
\item The engine's statements: its claims, its sensitivities, what a privacy unit is, and, for a voided
allocation, that no data was read, or how many of the planned repetitions were run.
\item The operator's signed statement, for an adjusted allocation, that nothing was released.
\item The service's statements: an $\varepsilon$ that is marked as computed by its accountants, that partitions are
disjoint and do not depend on the data, and what was charged on other parts of a data set.
\item That the noise recorded here was really drawn and added.
\item That the job has no allocations that are left out here: the signature vouches for that, the mathematics
cannot.
\end{itemize}
Nothing else: the JSON document that comes with this one is checked offline by \texttt{privacy-engine verify},
which derives every number again, in exact or rigorous arithmetic, without the code that wrote it."""


def render_latex(bundle: Mapping[str, Any]) -> str:
    """The proof document as LaTeX source, complete and ready to compile.

    Args:
        bundle: A proof as `proofs.prover.prove_job` returns it, or the JSON of one, parsed.

    Raises:
        proofs.certificate.MalformedError: If it is not a proof. Whether it is a right one is not looked at.
    """
    proof = parse_bundle(bundle)
    parts = [_PREAMBLE, _title(proof), _claim_section(proof), *_derivations(proof), *_chain(proof), *_log(proof)]
    parts.append(_trust(proof))
    return "\n\n".join(parts) + "\n\n\\end{document}\n"


def escape(text: str, longest: int = 48) -> str:
    """Foreign text as LaTeX that prints it and does nothing else.

    Printable ASCII is printed as it is; any other character by its number, such as <U+00E9>. Text of more than
    `longest` characters loses its middle.
    """
    if len(text) > longest:
        kept = longest - 3
        head, tail = text[: kept - kept // 3], text[-(kept // 3) :]
        return f"{escape(head)}\\ldots{{}}{escape(tail)}"
    # Two hyphens would become a dash, and two commas a quotation mark.
    return re.sub(r"([-,])(?=\1)", r"\1{}", "".join(_escaped_character(character) for character in text))


def _escaped_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isascii() and character.isprintable():
        return character
    return rf"\textless{{}}U+{ord(character):04X}\textgreater{{}}"


def _title(proof: ProofBundle) -> str:
    return (
        "\\begin{center}\n{\\Large\\bfseries Proof of privacy loss}\\\\[0.5em]\n"
        f"job \\texttt{{{escape(proof.job_id)}}} of tenant \\texttt{{{escape(proof.tenant_id)}}}\n\\end{{center}}"
    )


def _claim_section(proof: ProofBundle) -> str:
    counts = Counter(certificate.standing for certificate in proof.certificates)
    standing = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()))
    return (
        "\\section*{Claim}\n"
        f"Allocations of this job: {len(proof.certificates)} ({standing}). What stands of them costs in sum\n"
        f"\\[ \\varepsilon {_equals(proof.epsilon)}, \\qquad \\delta {_equals(proof.delta)}. \\]\n"
        + "\n".join(_guarantees(proof))
        + "\nA number marked $\\approx$ is shortened for reading; the JSON document has it exactly."
    )


def _guarantees(proof: ProofBundle) -> Iterable[str]:
    """What each budget that was charged promises, with the positions of the charges; equal words are written once."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for certificate in proof.certificates:
        promises = [certificate.guarantee, *([certificate.dataset.guarantee] if certificate.dataset else [])]
        for promise in promises:
            found.setdefault(tuple(promise.items()), []).append(str(certificate.entry.seq))
    for words, positions in list(found.items())[:_INSTANCES]:
        if len(found) > 1:
            more = f" and {len(positions) - _INSTANCES} more" if len(positions) > _INSTANCES else ""
            yield f"Charged at position {', '.join(positions[:_INSTANCES])}{more}:"
        items = (f"\\item {escape(name.replace('_', ' '))}: {escape(text, longest=1000)}" for name, text in words)
        yield "\\begin{itemize}\n" + "\n".join(items) + "\n\\end{itemize}"
    if len(found) > _INSTANCES:
        yield f"{len(found) - _INSTANCES} more promises are in the JSON document."


def _derivations(proof: ProofBundle) -> Iterable[str]:
    # Equal steps are written once: a dictionary keeps the first of each, in order.
    found: dict[str, dict[tuple[object, ...], Node]] = {}
    for certificate in proof.certificates:
        for derivation in certificate.derivations():
            for step in derivation.steps():
                key = (step.currency, *sorted(step.numbers.items()))
                found.setdefault(step.rule, {}).setdefault(key, step)
    for rule, section in SECTIONS.items():
        steps = list(found.get(rule, {}).values())
        if not steps:
            continue
        yield f"\\section*{{{section.title}}}\n{section.text}"
        if section.steps is not None:
            yield _gather(section.steps())
        yield "In this job:\n" + _gather([_instance(step) for step in steps[:_INSTANCES]])
        if len(steps) > _INSTANCES:
            yield f"and {len(steps) - _INSTANCES} more, in the JSON document."


def _instance(step: Node) -> str:
    """What a step says, in numbers: what it was given, what it rests on, what it concludes."""
    given = [f"{_SYMBOLS[name]} {_equals(step.numbers[name])}" for name in RULES[step.rule].numbers]
    if len(step.premises) == 1:
        given += _costs(step.premises[0])
    elif step.premises:
        given.append(rf"\text{{{len(step.premises)} costs}}")
    before, concluded = (r",\ ".join(part) for part in (given, _costs(step)))
    return rf"{before} \\ \Longrightarrow\ {concluded}" if given else concluded


def _costs(step: Node) -> list[str]:
    names = CURRENCIES[step.currency].numbers
    return [
        f"{_SYMBOLS[name]} {_equals(step.numbers[name])}"
        for name in names
        # A delta of 0 beside another currency is none.
        if name != "delta" or step.currency == "epsilon" or step.numbers[name] != "0"
    ]


def _chain(proof: ProofBundle) -> Iterable[str]:
    yield f"\\section*{{Balance and place in the ledger}}\n{_FILTER}"
    rows = [row for certificate in proof.certificates for row in _rows(certificate)]
    shown = "\n".join(rows[:_ROWS])
    yield (
        "{\\footnotesize\\setlength{\\tabcolsep}{3.5pt}\n\\begin{longtable}{rllllll}\n\\toprule\n"
        "position & hash & filter & before & charge & after & cap \\\\\n\\midrule\n\\endhead\n"
        f"{shown}\n\\bottomrule\n\\end{{longtable}}}}"
    )
    if len(rows) > _ROWS:
        yield f"{len(rows) - _ROWS} more rows are in the JSON document."


def _rows(certificate: Certificate) -> Iterable[str]:
    entry, standing = certificate.entry, escape(certificate.standing)
    place = f"{entry.seq} & {_hash(entry.hash)}"
    for derivation in certificate.derivations():
        whose = "data set" if derivation.rule == "dataset_filter" else ""
        for step in derivation.premises:
            amounts, deltas = (_balance(step, part) for part in (step.currency, "delta"))
            yield f"{place} & {_MEMBERS[step.currency]}{_star(step)} & {amounts} \\\\"
            yield f" & {standing} & {whose} & {deltas} \\\\"
            place, standing = " &", ""
    for later in certificate.later:
        yield f"{later.seq} & {_hash(later.hash)} & & \\multicolumn{{4}}{{l}}{{ends position {entry.seq}}} \\\\"


def _log(proof: ProofBundle) -> Iterable[str]:
    yield f"\\section*{{Place in the log}}\n{_LOG}"
    if proof.log is None:
        yield "This document has no head of the log."
        return
    entries = [entry for certificate in proof.certificates for entry in (certificate.entry, *certificate.later)]
    places = [f"{entry.seq} at {entry.inclusion.position}" for entry in entries if entry.inclusion is not None]
    shown = "; ".join(places[:_ROWS]) + ("; and more in the JSON document" if len(places) > _ROWS else "")
    yield (
        f"Position in the history, and in the log: {shown or 'none yet'}. Entries in the log: {len(places)} of "
        f"{len(entries)}. The head is signed with the key \\texttt{{{escape(proof.log.key['kid'])}}}."
    )


def _balance(step: Node, part: str) -> str:
    return " & ".join(
        f"${_SYMBOLS[part]} {_equals(step.numbers[f'{column}_{part}'], _LONGEST_IN_TABLE)}$"
        for column in ("before", "charge", "after", "cap")
    )


def _star(step: Node) -> str:
    holds = all(
        Fraction(step.numbers[f"after_{part}"]) <= Fraction(step.numbers[f"cap_{part}"])
        for part in (step.currency, "delta")
    )
    return "" if holds else "*"


def _trust(proof: ProofBundle) -> str:
    keys = ", ".join(f"\\texttt{{{escape(key['kid'])}}}" for key in proof.keys)
    software = ", ".join(f"{escape(name)} {escape(text)}" for name, text in sorted(proof.software.items()))
    return f"\\section*{{What to trust}}\n{_TRUST}\n\nSigned with the key {keys}. Written by {software}."


def _gather(lines: Sequence[str]) -> str:
    return "\\begin{gather*}\n" + " \\\\\n".join(lines) + "\n\\end{gather*}"


def _hash(text: str) -> str:
    return f"\\texttt{{{escape(text, longest=15)}}}"


def _equals(number: str, longest: int = _LONGEST) -> str:
    return rf"= {_number(number)}" if len(number) <= longest else rf"\approx {_rough(number)}"


def _number(number: str) -> str:
    """A number as mathematics, in full."""
    numerator, _, denominator = number.partition("/")
    return rf"\tfrac{{{numerator}}}{{{denominator}}}" if denominator else number


def _rough(number: str) -> str:
    """A long number as mathematics, to eight significant digits."""
    value = Fraction(number)
    digits = _ROUGH.divide(Decimal(value.numerator), Decimal(value.denominator))
    mantissa, _, exponent = f"{digits:.7e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    if -5 < int(exponent) < 8:
        return format(digits, "f")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}"
