"""A proof as a LaTeX document, for people.

The document needs nothing beyond a standard LaTeX installation (amsmath, amssymb, booktabs, longtable). Whatever comes
from outside, job ids above all, is escaped character by character: nothing in a proof can become a command.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

from proofs.certificate import STANDS, Certificate, Node, ProofBundle, parse_bundle
from proofs.render.symbolic import conversion_steps, gaussian_steps, laplace_steps

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

_LAPLACE = r"""Laplace noise of scale $b$ is added to each coordinate of a statistic that one privacy unit
changes by at most $\Delta_1$ in the $L_1$ norm (Dwork, McSherry, Nissim and Smith 2006; Dwork and Roth 2014,
Theorem 3.6)."""

_GAUSSIAN = r"""Gaussian noise of standard deviation $\sigma$ is added to each coordinate of a statistic that
one privacy unit changes by at most $\Delta$ in the $L_2$ norm. By rotation, the two output distributions differ
in one coordinate only (Bun and Steinke 2016)."""

_CONVERSION = r"""From the R\'enyi divergence at order $\alpha$ to $(\varepsilon, \delta)$ (Canonne, Kamath and
Steinke 2020, Proposition 12), with $Z$ the privacy loss. Every order $\alpha > 1$ gives a valid bound."""

_CLAIM = r"""The engine states that its operation is $(\varepsilon, \delta)$-differentially private.
\textbf{This is taken on the engine's word: nothing in this document proves it.}"""

_FILTER = r"""Let $(\varepsilon_i, \delta_i)$ be the charges in the order in which they were admitted, each
chosen with full knowledge of all earlier outputs. A charge is admitted only while
\begin{gather*}
\sum_i \varepsilon_i \le \varepsilon_{\mathrm{cap}}, \qquad \sum_i \delta_i \le \delta_{\mathrm{cap}},
\end{gather*}
and the whole history is then $(\varepsilon_{\mathrm{cap}}, \delta_{\mathrm{cap}})$-differentially private
(Rogers, Roth, Ullman and Vadhan 2016). For charges fixed in advance the sums themselves are a guarantee (Dwork
and Roth 2014, Theorem 3.16); for charges chosen on the way they say how much of the cap is used, and the
guarantee is the cap's. Every row of the table shows one balance: before $+$ charge $=$ after $\le$ cap."""

_TRUST = r"""\begin{itemize}
\item The key. The signature shows that the document is whole; whose it is, is known by comparing the key's name
with the keys that the service publishes at \texttt{/.well-known/jwks.json}.
\item The engine's statements: its claims, its sensitivities, what a privacy unit is, and, for a voided
allocation, that no data was read.
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
    parts = [_PREAMBLE, _title(proof), _claim_section(proof), *_derivations(proof), *_chain(proof), _trust(proof)]
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
    voided = sum(certificate.standing != STANDS for certificate in proof.certificates)
    guarantee = proof.certificates[0].guarantee
    words = "\n".join(
        f"\\item {escape(name.replace('_', ' '))}: {escape(text, longest=1000)}" for name, text in guarantee.items()
    )
    return (
        "\\section*{Claim}\n"
        f"Allocations of this job: {len(proof.certificates)}, of them voided: {voided}. They cost in sum\n"
        f"\\[ \\varepsilon {_equals(proof.epsilon)}, \\qquad \\delta {_equals(proof.delta)}. \\]\n"
        f"\\begin{{itemize}}\n{words}\n\\end{{itemize}}\n"
        "A number marked $\\approx$ is shortened for reading; the JSON document has it exactly."
    )


def _derivations(proof: ProofBundle) -> Iterable[str]:
    leaves = [certificate.derivation.premises[0] for certificate in proof.certificates]
    for rule in ("laplace", "gaussian", "claim"):
        # Equal events are written once: a dictionary keeps the first of each, in order.
        distinct = list({tuple(sorted(leaf.numbers.items())): leaf for leaf in leaves if leaf.rule == rule}.values())
        if not distinct:
            continue
        match rule:
            case "laplace":
                yield f"\\section*{{Laplace noise}}\n{_LAPLACE}\n{_gather(laplace_steps())}"
            case "gaussian":
                yield f"\\section*{{Gaussian noise}}\n{_GAUSSIAN}\n{_gather(gaussian_steps())}"
                yield f"{_CONVERSION}\n{_gather(conversion_steps())}"
            case _:
                yield f"\\section*{{Engine's claims}}\n{_CLAIM}"
        yield "In this job:\n" + _gather([_instance(leaf) for leaf in distinct[:_INSTANCES]])
        if len(distinct) > _INSTANCES:
            yield f"and {len(distinct) - _INSTANCES} more, in the JSON document."


def _instance(leaf: Node) -> str:
    numbers = leaf.numbers
    loss = rf"\varepsilon {_equals(numbers['epsilon'])},\ \delta {_equals(numbers['delta'])}"
    match leaf.rule:
        case "laplace":
            ratio = str(Fraction(numbers["sensitivity"]) / Fraction(numbers["scale"]))
            return (
                rf"\Delta_1 {_equals(numbers['sensitivity'])},\ b {_equals(numbers['scale'])},\ \frac{{\Delta_1}}{{b}} "
                rf"{_equals(ratio)} \le \varepsilon {_equals(numbers['epsilon'])},\ \delta {_equals(numbers['delta'])}"
            )
        case "gaussian":
            return (
                rf"\Delta {_equals(numbers['sensitivity'])},\ \sigma {_equals(numbers['sigma'])},\ "
                rf"\rho {_equals(numbers['rho'])},\ \alpha {_equals(numbers['order'])},\ "
                rf"\alpha\rho {_equals(numbers['renyi'])} \\ \Longrightarrow\ {loss}"
            )
        case _:
            return loss


def _chain(proof: ProofBundle) -> Iterable[str]:
    yield f"\\section*{{Balance and place in the ledger}}\n{_FILTER}"
    rows = [row for certificate in proof.certificates for row in _rows(certificate)]
    shown = "\n".join(rows[:_ROWS])
    yield (
        "{\\footnotesize\n\\begin{longtable}{rlllllll}\n\\toprule\n"
        "position & hash & rule & & before & charge & after & cap \\\\\n\\midrule\n\\endhead\n"
        f"{shown}\n\\bottomrule\n\\end{{longtable}}}}"
    )
    if len(rows) > _ROWS:
        yield f"{len(rows) - _ROWS} more rows are in the JSON document."


def _rows(certificate: Certificate) -> Iterable[str]:
    numbers = certificate.derivation.numbers
    rule = escape(certificate.derivation.premises[0].rule)
    columns = ("before", "charge", "after", "cap")
    epsilons, deltas = (
        " & ".join(f"${symbol} {_equals(numbers[f'{column}_{part}'], _LONGEST_IN_TABLE)}$" for column in columns)
        for symbol, part in ((r"\varepsilon", "epsilon"), (r"\delta", "delta"))
    )
    entry = certificate.entry
    yield f"{entry.seq} & {_hash(entry.hash)} & {rule} & {escape(certificate.standing)} & {epsilons} \\\\"
    yield f" & & & & {deltas} \\\\"
    for later in certificate.later:
        yield f"{later.seq} & {_hash(later.hash)} & & \\multicolumn{{5}}{{l}}{{ends position {entry.seq}}} \\\\"


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
