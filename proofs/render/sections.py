"""What the LaTeX of a proof says of each pricing rule, in general."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from proofs.certificate import PRICING_RULES
from proofs.render.symbolic import conversion_steps, gaussian_steps, laplace_steps, pure_steps

_ENGINE = r"""\textbf{This is taken on the engine's word: nothing in this document proves it.}"""
_POISSON = r"""Each privacy unit takes part with probability $q$ on its own; """


class Section(NamedTuple):
    """How a rule is shown.

    Attributes:
        title: As LaTeX.
        text: What the rule says in general, and its source, as LaTeX.
        steps: The steps that lead there, where SymPy carries them out.
    """

    title: str
    text: str
    steps: Callable[[], Sequence[str]] | None = None


SECTIONS: Mapping[str, Section] = {
    "laplace": Section(
        "Laplace noise",
        r"""Laplace noise of scale $b$ is added to each coordinate of a statistic that one privacy unit changes by
at most $\Delta$ in the $L_1$ norm (Dwork, McSherry, Nissim and Smith 2006; Dwork and Roth 2014, Theorem 3.6); then
$\varepsilon = \Delta / b$. Its R\'enyi divergence at order $\alpha$ is (Mironov 2017, Proposition 6)
\[ \frac{1}{\alpha - 1} \ln\Bigl(\frac{\alpha}{2\alpha - 1} e^{(\alpha - 1)\Delta/b} +
\frac{\alpha - 1}{2\alpha - 1} e^{-\alpha\Delta/b}\Bigr). \]""",
        laplace_steps,
    ),
    "discrete_laplace": Section(
        "Discrete Laplace noise",
        r"""Noise on whole numbers with probability proportional to $e^{-|x|/b}$ is added to each coordinate of a
statistic of whole numbers that one privacy unit changes by at most $\Delta$ in the $L_1$ norm (Ghosh, Roughgarden
and Sundararajan 2009); then $\varepsilon = \Delta / b$ as for Laplace noise. The sum $\sum_x P(x)^\alpha Q(x)^{1 -
\alpha}$ is geometric on either side of both peaks, and between them.""",
    ),
    "gaussian": Section(
        "Gaussian noise",
        r"""Gaussian noise of standard deviation $\sigma$ is added to each coordinate of a statistic that one
privacy unit changes by at most $\Delta$ in the $L_2$ norm. By rotation, the two output distributions differ in one
coordinate only (Bun and Steinke 2016). It is $\mu$-Gaussian differentially private with $\mu = \Delta / \sigma$
(Dong, Roth and Su 2022).""",
        gaussian_steps,
    ),
    "discrete_gaussian": Section(
        "Discrete Gaussian noise",
        r"""Noise on a grid with probability proportional to $e^{-x^2 / 2\sigma^2}$ has the $\rho$ of Gaussian noise
(Canonne, Kamath and Steinke 2020, Theorem 4): $\rho = \Delta^2 / 2\sigma^2$.""",
    ),
    "exponential": Section(
        "Selection by noisy score",
        r"""Each score has sensitivity $\Delta$ and noise of scale $b$. One privacy unit moves the log-odds of any
two candidates by at most $\varepsilon = f \Delta / b$, where $f = 2$, or $f = 1$ if it moves all scores in the same
direction (McSherry and Talwar 2007; McKenna and Sheldon 2020). With Gumbel noise this is a bounded range, so that
$\rho = \varepsilon^2 / 8$ (Cesar and Rogers 2021, Lemma 3.4).""",
    ),
    "randomized_response": Section(
        "Randomized response",
        r"""One of $k$ answers is told truthfully with probability $p$, any other with probability $(1 - p) / (k -
1)$ (Warner 1965): $\varepsilon = \ln\bigl(p (k - 1) / (1 - p)\bigr)$.""",
    ),
    "poisson_laplace": Section(
        "Sampled Laplace noise",
        _POISSON
        + r"""then Laplace noise of scale $b$ is added (Li, Qardaji and Su 2012, Theorem 1): $\varepsilon = \ln\bigl(1
+ q (e^{\Delta/b} - 1)\bigr)$.""",
    ),
    "poisson_gaussian": Section(
        "Sampled Gaussian noise",
        _POISSON
        + r"""then Gaussian noise of standard deviation $\sigma$ is added (Mironov, Talwar and Zhang 2019, section
3.3):
\[ D_\alpha = \frac{1}{\alpha - 1} \ln \sum_{k=0}^{\alpha} \binom{\alpha}{k} (1 - q)^{\alpha - k} q^k
e^{(k^2 - k)\Delta^2 / 2\sigma^2}. \]""",
    ),
    "fixed_size_gaussian": Section(
        "Gaussian noise on a sample of fixed size",
        r"""A sample of $m$ among $n$ is drawn without replacement, then Gaussian noise of standard deviation
$\sigma$ is added (Wang, Balle and Kasiviswanathan 2019, Theorem 27):
\[ D_\alpha \le \frac{1}{\alpha - 1} \ln\Bigl(1 + \sum_{j=2}^{\alpha} \binom{\alpha}{j} \Bigl(\frac{m}{n}\Bigr)^j
\min\bigl(2 e^{(j^2 - j)\Delta^2 / 2\sigma^2},\ 4\sqrt{B(2\lfloor j/2\rfloor)\, B(2\lceil j/2\rceil)}\bigr)\Bigr), \]
where $B(i)$ is the $i$-th moment of the likelihood ratio less one.""",
    ),
    "self_composed": Section(
        "The same operation many times", r"""The costs of $n$ operations that are fixed in advance add up."""
    ),
    "composed": Section("Operations together", r"""The costs of operations that are fixed in advance add up."""),
    "parallel": Section(
        "Operations on disjoint partitions",
        r"""One privacy unit is in one partition, so the largest cost counts; where it may move to another one, the
two largest count. That the partitions are disjoint and do not depend on the data is the service's statement.""",
    ),
    "pure_to_renyi": Section(
        r"From $\varepsilon$ to R\'enyi divergence",
        r"""Randomized response is the worst of all mechanisms of that $\varepsilon$ (Kairouz, Oh and Viswanathan
2015); a $\delta$ stays beside it:
\[ D_\alpha = \frac{1}{\alpha - 1} \ln \frac{\cosh((\alpha - \frac12)\varepsilon)}{\cosh(\varepsilon / 2)}. \]""",
        pure_steps,
    ),
    "pure_to_rho": Section(
        r"From $\varepsilon$ to $\rho$",
        r"""Bun and Steinke 2016, Proposition 1.4: $\rho = \varepsilon^2 / 2$; a $\delta$ stays beside it.""",
    ),
    "pure_to_mu": Section(
        r"From $\varepsilon$ to $\mu$",
        r"""The trade-off of randomized response lies above that of the Gaussian with $\Phi(-\mu / 2) = 1 / (1 +
e^\varepsilon)$ (Dong, Roth and Su 2022); a $\delta$ stays beside it.""",
    ),
    "rho_to_renyi": Section(
        r"From $\rho$ to R\'enyi divergence",
        r"""At every order $D_\alpha \le \alpha\rho$ (Bun and Steinke 2016, Definition 1.1).""",
    ),
    "renyi_to_epsilon": Section(
        r"From R\'enyi divergence to $\varepsilon$",
        r"""Canonne, Kamath and Steinke 2020, Proposition 12, with $Z$ the privacy loss and $\delta_c$ the delta of
the conversion. Every order $\alpha > 1$ gives a valid bound.""",
        conversion_steps,
    ),
    "mu_to_epsilon": Section(
        r"From $\mu$ to $\varepsilon$",
        r"""Balle and Wang 2018, Theorem 8; Dong, Roth and Su 2022, Corollary 2.13, with $\delta_c$ the delta of the
conversion:
\[ \delta_c = \Phi\Bigl(\frac{\mu}{2} - \frac{\varepsilon}{\mu}\Bigr) -
e^\varepsilon\, \Phi\Bigl(-\frac{\mu}{2} - \frac{\varepsilon}{\mu}\Bigr). \]""",
    ),
    "accountant": Section(
        "Computed by the service",
        r"""Two accountants in the service computed the $\varepsilon$ of these operations, and agreed. \textbf{This
is taken on the service's word: nothing in this document derives it.}""",
    ),
    "claim": Section(
        "Engine's claims",
        r"""The engine states that its operation is $(\varepsilon, \delta)$-differentially private.
"""
        + _ENGINE,
    ),
    "zcdp": Section(
        "Engine's claims of concentration",
        r"""The engine states that its operation is $\rho$-zero-concentrated differentially private.
"""
        + _ENGINE,
    ),
}
assert SECTIONS.keys() == PRICING_RULES
