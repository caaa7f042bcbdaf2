"""What a rendered proof says of each pricing rule, in general."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from proofs.certificate import PRICING_RULES
from proofs.render.document import Block, Display, Line, blocks, line
from proofs.render.symbolic import conversion_steps, gaussian_steps, laplace_steps, order_steps, pure_steps

_ENGINE = "**This is taken on the engine's word: nothing in this document proves it.**"
_POISSON = r"Each privacy unit takes part with probability $q$ on its own; "

Part = str | Callable[[], Sequence[str]]
"""Words as `document.blocks` reads them, or steps that SymPy carries out."""


class Rule(NamedTuple):
    """How a rule is shown.

    Attributes:
        title: As `document.line` reads it.
        parts: What the rule says in general, and its source; and the steps that lead there.
    """

    title: str
    parts: tuple[Part, ...]

    @property
    def heading(self) -> Line:
        """The title, ready to be shown."""
        return line(self.title)

    def blocks(self) -> tuple[Block, ...]:
        """What it says, ready to be shown."""
        found: list[Block] = []
        for part in self.parts:
            found += blocks(part) if isinstance(part, str) else [Display(tuple(part()))]
        return tuple(found)


def _rule(title: str, *parts: Part) -> Rule:
    return Rule(title, parts)


SECTIONS: Mapping[str, Rule] = {
    "laplace": _rule(
        "Laplace noise",
        r"""Laplace noise of scale $b$ is added to each coordinate of a statistic that one privacy unit changes by
at most $\Delta$ in the $L_1$ norm (Dwork, McSherry, Nissim and Smith 2006; Dwork and Roth 2014, Theorem 3.6); then
$\varepsilon = \Delta / b$:""",
        laplace_steps,
        r"""Its Rényi divergence at order $\alpha$ is (Mironov 2017, Proposition 6)
\[ \frac{1}{\alpha - 1} \ln\Bigl(\frac{\alpha}{2\alpha - 1} e^{(\alpha - 1)\Delta/b} +
\frac{\alpha - 1}{2\alpha - 1} e^{-\alpha\Delta/b}\Bigr). \]""",
    ),
    "discrete_laplace": _rule(
        "Discrete Laplace noise",
        r"""Noise on whole numbers with probability proportional to $e^{-|x|/b}$ is added to each coordinate of a
statistic of whole numbers that one privacy unit changes by at most $\Delta$ in the $L_1$ norm (Ghosh, Roughgarden
and Sundararajan 2009); then $\varepsilon = \Delta / b$ as for Laplace noise. The sum $\sum_x P(x)^\alpha Q(x)^{1 -
\alpha}$ is geometric on either side of both peaks, and between them.""",
    ),
    "gaussian": _rule(
        "Gaussian noise",
        r"""Gaussian noise of standard deviation $\sigma$ is added to each coordinate of a statistic that one
privacy unit changes by at most $\Delta$ in the $L_2$ norm. By rotation, the two output distributions differ in one
coordinate only (Bun and Steinke 2016). It is $\mu$-Gaussian differentially private with $\mu = \Delta / \sigma$
(Dong, Roth and Su 2022). Its Rényi divergence follows by completing the square:""",
        gaussian_steps,
    ),
    "discrete_gaussian": _rule(
        "Discrete Gaussian noise",
        r"""Noise on a grid with probability proportional to $e^{-x^2 / 2\sigma^2}$ has the $\rho$ of Gaussian noise
(Canonne, Kamath and Steinke 2020, Theorem 4): $\rho = \Delta^2 / 2\sigma^2$.""",
    ),
    "exponential": _rule(
        "Selection by noisy score",
        r"""Each score has sensitivity $\Delta$ and noise of scale $b$. One privacy unit moves the log-odds of any
two candidates by at most $\varepsilon = f \Delta / b$, where $f = 2$, or $f = 1$ if it moves all scores in the same
direction (McSherry and Talwar 2007; McKenna and Sheldon 2020). With Gumbel noise this is a bounded range, so that
$\rho = \varepsilon^2 / 8$ (Cesar and Rogers 2021, Lemma 3.4).""",
    ),
    "randomized_response": _rule(
        "Randomized response",
        r"""One of $k$ answers is told truthfully with probability $p$, any other with probability
$(1 - p) / (k - 1)$ (Warner 1965): $\varepsilon = \ln\bigl(p (k - 1) / (1 - p)\bigr)$.""",
    ),
    "poisson_laplace": _rule(
        "Sampled Laplace noise",
        _POISSON
        + r"""then Laplace noise of scale $b$ is added (Li, Qardaji and Su 2012, Theorem 1):
$\varepsilon = \ln\bigl(1 + q (e^{\Delta/b} - 1)\bigr)$.""",
    ),
    "poisson_gaussian": _rule(
        "Sampled Gaussian noise",
        _POISSON
        + r"""then Gaussian noise of standard deviation $\sigma$ is added (Mironov, Talwar and Zhang 2019, section
3.3):
\[ D_\alpha = \frac{1}{\alpha - 1} \ln \sum_{k=0}^{\alpha} \binom{\alpha}{k} (1 - q)^{\alpha - k} q^k
e^{(k^2 - k)\Delta^2 / 2\sigma^2}. \]""",
    ),
    "fixed_size_gaussian": _rule(
        "Gaussian noise on a sample of fixed size",
        r"""A sample of $m$ among $n$ is drawn without replacement, then Gaussian noise of standard deviation
$\sigma$ is added (Wang, Balle and Kasiviswanathan 2019, Theorem 27):
\[ D_\alpha \le \frac{1}{\alpha - 1} \ln\Bigl(1 + \sum_{j=2}^{\alpha} \binom{\alpha}{j} \left(\frac{m}{n}\right)^j
\min\bigl(2 e^{(j^2 - j)\Delta^2 / 2\sigma^2},\ 4\sqrt{B(2\lfloor j/2\rfloor)\, B(2\lceil j/2\rceil)}\bigr)\Bigr), \]
where $B(i)$ is the $i$-th moment of the likelihood ratio less one.""",
    ),
    "self_composed": _rule(
        "The same operation many times", r"The costs of $n$ operations that are fixed in advance add up."
    ),
    "composed": _rule("Operations together", "The costs of operations that are fixed in advance add up."),
    "parallel": _rule(
        "Operations on disjoint partitions",
        """One privacy unit is in one partition, so the largest cost counts; where it may move to another one, the
two largest count. That the partitions are disjoint and do not depend on the data is the service's statement.""",
    ),
    "pure_to_renyi": _rule(
        r"From $\varepsilon$ to Rényi divergence",
        r"""Randomized response is the worst of all mechanisms of that $\varepsilon$ (Kairouz, Oh and Viswanathan
2015); a $\delta$ stays beside it:
\[ D_\alpha = \frac{1}{\alpha - 1} \ln \frac{\cosh((\alpha - \frac{1}{2})\varepsilon)}{\cosh(\varepsilon / 2)}, \]
because""",
        pure_steps,
    ),
    "pure_to_rho": _rule(
        r"From $\varepsilon$ to $\rho$",
        r"Bun and Steinke 2016, Proposition 1.4: $\rho = \varepsilon^2 / 2$; a $\delta$ stays beside it.",
    ),
    "pure_to_mu": _rule(
        r"From $\varepsilon$ to $\mu$",
        r"""The trade-off of randomized response lies above that of the Gaussian with
$\Phi(-\mu / 2) = 1 / (1 + e^\varepsilon)$ (Dong, Roth and Su 2022); a $\delta$ stays beside it.""",
    ),
    "rho_to_renyi": _rule(
        r"From $\rho$ to Rényi divergence",
        r"At every order $D_\alpha \le \alpha\rho$ (Bun and Steinke 2016, Definition 1.1).",
    ),
    "renyi_to_epsilon": _rule(
        r"From Rényi divergence to $\varepsilon$",
        r"""Canonne, Kamath and Steinke 2020, Proposition 12, with $Z$ the privacy loss, $\tau$ the divergence and
$\delta$ the delta of the conversion, below called $\delta_c$. Every order $\alpha > 1$ gives a valid bound.""",
        conversion_steps,
        r"""Where the divergence is $\tau = \alpha\rho$, one order is the best:""",
        order_steps,
        r"""The derivative is negative below that order and positive above it. The order that the prover takes is near
it; that it is not exactly the best makes the bound larger, never wrong.""",
    ),
    "mu_to_epsilon": _rule(
        r"From $\mu$ to $\varepsilon$",
        r"""Balle and Wang 2018, Theorem 8; Dong, Roth and Su 2022, Corollary 2.13, with $\delta_c$ the delta of the
conversion:
\[ \delta_c = \Phi\Bigl(\frac{\mu}{2} - \frac{\varepsilon}{\mu}\Bigr) -
e^\varepsilon\, \Phi\Bigl(-\frac{\mu}{2} - \frac{\varepsilon}{\mu}\Bigr). \]""",
    ),
    "accountant": _rule(
        "Computed by the service",
        r"""Two accountants in the service computed the $\varepsilon$ of these operations, and agreed. **This is taken
on the service's word: nothing in this document derives it.**""",
    ),
    "accountant_bounded": _rule(
        "Computed by the service, with a bound that is derived",
        r"""Two accountants in the service computed the $\varepsilon$ of these operations, and agreed. **This is taken
on the service's word.** What each rests on is derived: the larger $\varepsilon$ of the step from Rényi divergence.""",
    ),
    "claim": _rule(
        "Engine's claims",
        r"The engine states that its operation is $(\varepsilon, \delta)$-differentially private. " + _ENGINE,
    ),
    "zcdp": _rule(
        "Engine's claims of concentration",
        r"The engine states that its operation is $\rho$-zero-concentrated differentially private. " + _ENGINE,
    ),
}
assert SECTIONS.keys() == PRICING_RULES
