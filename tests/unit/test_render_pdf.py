"""The PDF form: by LaTeX where it is, within bounds; and plainly where it is not."""

import shutil
from pathlib import Path

import pytest
from reportlab.platypus import Flowable

from proofs.prover import prove_job
from proofs.render.content import document_of
from proofs.render.latex import render_latex
from proofs.render.pdf import RenderingError, compiled, render_pdf
from proofs.render.plain_math import inline_markup
from proofs.render.plain_pdf import plain_pdf_of, story_of
from tests.unit.proofs_helpers import CLAIM, SIGNER, Ledger, eventful_ledger, evidence_of, sample

LATEX = shutil.which("pdflatex")
needs_latex = pytest.mark.skipif(LATEX is None, reason="pdflatex is not installed here")


def script(folder: Path, text: str) -> str:
    """A program that stands where pdflatex would."""
    file = folder / "pdflatex"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def texts_of(story: list[Flowable]) -> str:
    """All words that ReportLab is given, tables' included."""
    found = []
    for part in story:
        if hasattr(part, "getPlainText"):
            found.append(part.getPlainText())
        for row in getattr(part, "_cellvalues", []):
            found += [cell.getPlainText() for cell in row if hasattr(cell, "getPlainText")]
        for item in getattr(part, "_flowables", []):
            found.append(texts_of([getattr(item, "_flowable", item)]))
    return "\n".join(found)


@needs_latex
def test_latex_makes_the_same_pdf_of_the_same_proof() -> None:
    """No date, no random identifier and no line that is too wide."""
    ledger = eventful_ledger()
    bundle = ledger.proof(evidence_of(ledger.entries))
    written = render_pdf(bundle)
    assert written.startswith(b"%PDF-")
    assert written == render_pdf(bundle)
    assert b"CreationDate" not in written


@needs_latex
def test_latex_reads_no_file_and_runs_no_command_for_a_job_id() -> None:
    """Whatever a job is called, LaTeX prints it; and a source that asks for files or commands does not get them."""
    hostile = "\\input{/etc/passwd}\\write18{touch x}%$&#_^~{}\n\x00é\\end{document}"
    ledger = Ledger()
    ledger.allocate(CLAIM, job_id=hostile)
    assert render_pdf(prove_job(ledger.job(hostile), SIGNER)).startswith(b"%PDF-")
    assert LATEX is not None
    body = "\\documentclass{article}\\begin{document}%s\\end{document}"
    with pytest.raises(RenderingError, match="status 1"):
        compiled(body % "\\input{/etc/passwd}", LATEX)
    with pytest.raises(RenderingError, match="status 1"):
        compiled(body % "\\immediate\\write18{echo x > made.tex}\\input{made.tex}", LATEX)


def test_a_failure_of_latex_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    """The last lines, which name the error."""
    command = script(tmp_path, "seq 1 50 > proof.log; echo '! Undefined control sequence.' >> proof.log; exit 1")
    with pytest.raises(RenderingError) as error:
        compiled("x", command)
    lines = str(error.value).splitlines()
    assert lines[0] == "LaTeX failed with status 1."
    assert lines[1] == "32"
    assert lines[-1] == "! Undefined control sequence."


def test_latex_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    """And leaves no folder behind."""
    command = script(tmp_path, f"pwd > {tmp_path}/folder; exec sleep 600")
    with pytest.raises(RenderingError, match=r"stopped after 2 s.\nIt wrote no log."):
        compiled("x", command, seconds=2)
    assert not Path((tmp_path / "folder").read_text().strip()).exists()


def test_latex_is_run_again_until_its_tables_are_settled(tmp_path: Path) -> None:
    """As long as the log asks for it, four times at most; with no secret of the service in its environment."""
    text = f"echo x >> {tmp_path}/runs; env > {tmp_path}/env; echo Rerun LaTeX. > proof.log; echo done > proof.pdf"
    assert compiled("x", script(tmp_path, text)) == b"done\n"
    assert (tmp_path / "runs").read_text().count("x") == 4
    names = {entry.partition("=")[0] for entry in (tmp_path / "env").read_text().splitlines()}
    assert names <= {"PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_", "openin_any", "openout_any"}


def test_without_latex_the_pdf_is_plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that has no LaTeX gets the same document, set by other means."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert render_pdf(sample()) == plain_pdf_of(document_of(sample()))


def test_the_plain_pdf_has_the_same_words_and_numbers() -> None:
    """Claim, derivations, chain, trust; numbers in tables and in lines of words."""
    ledger = eventful_ledger()
    told = texts_of(story_of(document_of(ledger.proof(evidence_of(ledger.entries)))))
    for part in (
        "Proof of privacy loss",
        "Allocations: 13 (adjusted: 3, divided: 1, stands: 8, voided: 1).",
        "the data set patients, for all time",
        "Laplace noise of scale b is added",
        "ρ = 25/648",
        "log 20",
        "What to trust",
        "privacy-engine verify",
        SIGNER.kid,
    ):
        assert part in told, part


def test_a_formula_in_a_line_of_words_becomes_letters() -> None:
    """Powers are raised, names slanted, signs set apart; what is not known is refused rather than left out."""
    assert inline_markup(r"\rho = \Delta^2 / 2") == ('<i>ρ</i> = Δ<super rise="40%" size="70%">2</super>/2')
    assert inline_markup(r"\approx 1.5 \cdot 10^{-7}") == '≈ 1.5 · 10<super rise="40%" size="70%">−7</super>'
    assert inline_markup(r"\text{and 3 more}") == "and 3 more"
    with pytest.raises(KeyError):
        inline_markup(r"\int x")


@needs_latex
def test_nothing_runs_out_of_the_page(tmp_path: Path) -> None:
    """LaTeX complains of no line, formula or table that is too wide, and lacks no font, whatever a job is called."""
    ledger = eventful_ledger()
    name = "\u05d0\u05d1" * 40 + "$\"'`|<>^~{}\\_"
    ledger.allocate(CLAIM, job_id=name)
    assert LATEX is not None
    kept = tmp_path / "log"
    command = script(tmp_path, f'{LATEX} "$@"; status=$?; cp proof.log {kept}; exit $status')
    for bundle in (ledger.proof(evidence_of(ledger.entries)), prove_job(ledger.job(name), SIGNER)):
        compiled(render_latex(bundle), command)
        log = kept.read_text(encoding="latin-1")
        assert "Overfull \\hbox" not in log
        assert "cmr10.pfb>" in log
        # A font that was drawn in dots for want of outlines.
        assert "pk>" not in log
