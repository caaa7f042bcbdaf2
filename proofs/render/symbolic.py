"""The symbolic steps behind the pricing rules, carried out and verified by SymPy rather than quoted.

Each function derives its steps, checks each with SymPy, and returns them as LaTeX. A step that SymPy cannot confirm
raises `DerivationError`: no document is better than one that shows a wrong formula. The work is done once per process.
"""

from functools import cache

import sympy
from sympy import Expr, Symbol


class DerivationError(RuntimeError):
    """SymPy did not confirm a step. A bug here or in SymPy, never a matter of the proof's numbers."""


@cache
def laplace_steps() -> tuple[str, ...]:
    """The likelihood ratio of two Laplace densities of scale b whose centres differ by d is at most exp(d / b)."""
    x, m = sympy.symbols("x m", real=True)
    b, d = sympy.symbols("b d", positive=True)
    s, t = sympy.symbols("s t", nonnegative=True)

    def log_density(centre: Expr) -> Expr:
        return -sympy.Abs(x - centre) / b - sympy.log(2 * b)

    log_ratio = log_density(m) - log_density(m + d)
    # The three places where x can be; between the centres, s + t = d.
    below = log_ratio.subs(x, m - t)
    between = log_ratio.subs(x, m + t).subs(d, s + t)
    above = log_ratio.subs(x, m + d + t)
    confirm_equal(below, d / b)
    confirm_not_negative((s + t) / b - between)
    confirm_not_negative(d / b - above)
    return (
        r"p_m(x) = \frac{1}{2b}\, e^{-|x - m| / b}, \qquad "
        r"\ln\frac{p_m(x)}{p_{m+d}(x)} = \frac{|x - m - d| - |x - m|}{b}, \qquad d > 0",
        rf"x \le m:\ {sympy.latex(sympy.simplify(below))}, \qquad x = m + t,\ d = s + t:\ "
        rf"{sympy.latex(sympy.simplify(between))}, \qquad x \ge m + d:\ {sympy.latex(sympy.simplify(above))}",
        r"\ln\frac{p_m(x)}{p_{m+d}(x)} \le \frac{|d|}{b} \text{ by symmetry}",
        r"\text{over all coordinates:}\quad \sum_i \frac{|d_i|}{b} \le \frac{\Delta_1}{b} \le \varepsilon",
    )


@cache
def gaussian_steps() -> tuple[str, ...]:
    """The Renyi divergence of order alpha of Gaussians of equal sigma at distance Delta, by completing the square."""
    x = Symbol("x", real=True)
    alpha = Symbol("alpha", positive=True)
    shift, sigma = sympy.symbols("Delta sigma", positive=True)
    exponent = -(alpha * (x - shift) ** 2 + (1 - alpha) * x**2) / (2 * sigma**2)
    square = -((x - alpha * shift) ** 2) / (2 * sigma**2)
    rest = alpha * (alpha - 1) * shift**2 / (2 * sigma**2)
    confirm_equal(exponent, square + rest)
    centre = Symbol("c", real=True)
    bell = sympy.exp(-((x - centre) ** 2) / (2 * sigma**2)) / (sigma * sympy.sqrt(2 * sympy.pi))
    confirm_equal(sympy.integrate(bell, (x, -sympy.oo, sympy.oo)), sympy.Integer(1))
    divergence = sympy.simplify(rest / (alpha - 1))
    rho = shift**2 / (2 * sigma**2)
    confirm_equal(divergence, alpha * rho)
    return (
        r"D_\alpha = \frac{1}{\alpha - 1} \ln \int \frac{1}{\sigma\sqrt{2\pi}}\, \exp\Bigl("
        rf"{sympy.latex(exponent)}\Bigr)\, dx",
        rf"{sympy.latex(exponent)} = {sympy.latex(square)} + {sympy.latex(rest)}",
        rf"\int \frac{{1}}{{\sigma\sqrt{{2\pi}}}}\, \exp\Bigl({sympy.latex(square)}\Bigr)\, dx = 1 "
        rf"\quad\Longrightarrow\quad D_\alpha = {sympy.latex(divergence)} = \alpha\rho, "
        rf"\qquad \rho = {sympy.latex(rho)}",
    )


@cache
def conversion_steps() -> tuple[str, ...]:
    """From a Renyi divergence tau of order alpha = 1 + a to (epsilon, delta).

    With Z the privacy loss, delta = E[max(0, 1 - exp(epsilon - Z))], and the integrand is at most c exp(a Z) for the
    constant c that makes the two touch. SymPy finds where they touch, and solves for epsilon.
    """
    y = Symbol("y", real=True)
    a, delta = sympy.symbols("a delta", positive=True)
    epsilon, tau = sympy.symbols("epsilon tau", real=True)
    excess = (1 - sympy.exp(-y)) * sympy.exp(-a * y)
    touching = sympy.log((1 + a) / a)
    slope = sympy.diff(excess, y)
    confirm_equal(slope.subs(y, touching), sympy.Integer(0))
    # exp((1 + a) y) times the slope falls strictly with y: the stationary point is the one maximum.
    confirm_equal(sympy.diff(sympy.expand(slope * sympy.exp((1 + a) * y)), y), -a * sympy.exp(y))
    height = (a / (1 + a)) ** a / (1 + a)
    confirm_equal(sympy.log(excess.subs(y, touching)), sympy.log(height))
    log_delta = sympy.log(height) + a * (tau - epsilon)
    converted = tau + sympy.log(1 - 1 / (1 + a)) - (sympy.log(delta) + sympy.log(1 + a)) / a
    confirm_equal(log_delta.subs(epsilon, converted), sympy.log(delta))
    return (
        r"\delta = \mathbb{E}\bigl[\max(0,\, 1 - e^{\varepsilon - Z})\bigr] \le "
        r"\max_y \bigl[(1 - e^{-y})\, e^{-(\alpha - 1) y}\bigr] \cdot e^{-(\alpha - 1)\varepsilon}\, "
        r"\mathbb{E}\bigl[e^{(\alpha - 1) Z}\bigr]",
        r"y = Z - \varepsilon: \qquad \frac{d}{dy}\bigl[(1 - e^{-y})\, e^{-(\alpha - 1) y}\bigr] = 0 "
        r"\iff y = \ln\frac{\alpha}{\alpha - 1}, \qquad "
        r"\max = \frac{1}{\alpha}\left(1 - \frac{1}{\alpha}\right)^{\alpha - 1}",
        r"\mathbb{E}\bigl[e^{(\alpha - 1) Z}\bigr] = e^{(\alpha - 1)\tau} \quad\Longrightarrow\quad "
        r"\varepsilon = \tau + \ln\Bigl(1 - \frac{1}{\alpha}\Bigr) "
        r"- \frac{\ln\delta + \ln\alpha}{\alpha - 1}, \qquad \tau = \alpha\rho",
    )


@cache
def order_steps() -> tuple[str, ...]:
    """The order at which a rho gives the smallest epsilon: where the conversion's derivative by the order is 0.

    With a = alpha - 1 the derivative has the sign of a^2 rho + ln(alpha delta), which grows with the order: from
    ln(delta), below 0, beyond every bound. So it is 0 once, and there the conversion is least.
    """
    a, rho, delta = sympy.symbols("a rho delta", positive=True)
    alpha = 1 + a
    converted = alpha * rho + sympy.log(1 - 1 / alpha) - (sympy.log(delta) + sympy.log(alpha)) / a
    sign = a**2 * rho + sympy.log(alpha) + sympy.log(delta)
    confirm_equal(sympy.diff(converted, a), sign / a**2)
    confirm_not_negative(sympy.diff(sign, a))
    confirm_equal(sign.subs(a, 0), sympy.log(delta))
    # At the best order ln(delta) + ln(alpha) = -a^2 rho.
    best = converted.subs(sympy.log(delta), -(a**2) * rho - sympy.log(alpha))
    confirm_equal(best, (2 * alpha - 1) * rho + sympy.log(1 - 1 / alpha))
    return (
        r"\frac{d\varepsilon}{d\alpha} = \rho + \frac{\ln(\alpha\delta)}{(\alpha - 1)^2} = 0 "
        r"\iff (\alpha - 1)^2 \rho = \ln\frac{1}{\alpha\delta}, \qquad "
        r"\frac{d}{d\alpha}\bigl[(\alpha - 1)^2 \rho + \ln(\alpha\delta)\bigr] = "
        r"2(\alpha - 1)\rho + \frac{1}{\alpha} > 0",
        r"\text{at the best order:}\quad \varepsilon = (2\alpha - 1)\rho + \ln\Bigl(1 - \frac{1}{\alpha}\Bigr)",
    )


@cache
def pure_steps() -> tuple[str, ...]:
    """The Renyi divergence of order alpha of randomized response that tells the truth with odds exp(epsilon)."""
    alpha, epsilon = sympy.symbols("alpha epsilon", positive=True)
    truth = sympy.exp(epsilon) / (1 + sympy.exp(epsilon))
    other = 1 / (1 + sympy.exp(epsilon))
    moment = truth * sympy.exp((alpha - 1) * epsilon) + other * sympy.exp(-(alpha - 1) * epsilon)
    closed = sympy.cosh((alpha - sympy.Rational(1, 2)) * epsilon) / sympy.cosh(epsilon / 2)
    confirm_equal((moment - closed).rewrite(sympy.exp), sympy.Integer(0))
    names = {epsilon: r"\varepsilon"}
    return (
        r"p = \frac{e^\varepsilon}{1 + e^\varepsilon}: \qquad "
        r"p^\alpha (1 - p)^{1 - \alpha} + (1 - p)^\alpha p^{1 - \alpha} "
        rf"= {sympy.latex(moment, symbol_names=names)} = {sympy.latex(closed, symbol_names=names)}",
    )


def confirm_equal(left: Expr, right: Expr) -> None:
    """Confirms that both sides are the same expression, for all values that their symbols admit.

    Raises:
        DerivationError: If SymPy does not find their difference to be 0.
    """
    difference = sympy.simplify(sympy.expand_log(sympy.expand(left - right), force=True))
    if difference != 0:
        raise DerivationError(f"{left} = {right} was not confirmed: {difference} is left")


def confirm_not_negative(value: Expr) -> None:
    """Confirms that the expression is at least 0 for all values that its symbols admit.

    Raises:
        DerivationError: If SymPy cannot tell from the signs of the symbols.
    """
    if not sympy.simplify(value).is_nonnegative:
        raise DerivationError(f"{value} >= 0 was not confirmed")
