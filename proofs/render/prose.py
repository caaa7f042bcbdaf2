"""What every rendered proof says in words, whatever its numbers are. Written as `document.blocks` reads it."""

MEANING = r"""In words, for charges that were fixed in advance: take any two data sets that are neighbours. Whatever
these operations may show, the probability that they show it differs between the two by a factor of at most
$e^\varepsilon$, but for a probability of $\delta$. Where a charge was chosen after seeing an earlier output, the sum
says how much was used, and the guarantee is that of the budgets below."""

PLANNED = r"""In words: take any two data sets that are neighbours. Whatever the plan may show, the probability that it
shows it differs between the two by a factor of at most $e^\varepsilon$, but for a probability of $\delta$. Nothing has
been charged: whether a budget has room for the plan is decided when it is run."""

SHORTENED = r"""A number behind $\approx$ is shortened for reading; the JSON document has it exactly. A derivation with
numbers in it is written once, however many operations share it."""

FILTER = r"""A budget promises some $(\varepsilon, \delta)$ and has one or more member filters, each with a cap and
a share $\delta_m$ of the promised delta, fixed in advance. Each member counts what every charge costs in its own
currency: the basic one $\varepsilon$ (Rogers, Roth, Ullman and Vadhan 2016), the others Rényi divergence at one
committed order (Feldman and Zrnic 2021, Theorem 4.3), $\rho$ (Whitehouse, Ramdas, Rogers and Wu 2023, Theorem 1) or
$\mu^2$ (Smith and Thakurta 2022), and the deltas of claims beside it. Each charge is chosen with full knowledge of
all earlier outputs. An analyst who is stopped before a member's sum would pass its cap is
$(\varepsilon, \delta_m)$-differentially private. A charge is admitted while any member holds after it. Let $S_m$ be
those transcripts in a set $S$ at whose end $m$ is the first member that holds. On $S_m$ the interaction is the one that
$m$ alone would have stopped, so
\[ P(S) = \sum_m P(S_m) \le \sum_m \bigl(e^{\varepsilon} Q(S_m) + \delta_m\bigr) \le e^{\varepsilon} Q(S) + \delta,
\qquad \sum_m \delta_m \le \delta. \]
All that the budget admits keeps the promise: of a budget for all time the whole history; of a window what is charged in
it, with the holds that were open when it began; of a data set all that is done with it, where each member counts the
largest exposure of anyone whom an operation touches. For charges fixed in advance the sums themselves are a guarantee
(Dwork and Roth 2014, Theorem 3.16); for charges chosen on the way they say how much of the budget is used, and the
guarantee is the budget's."""

CHAIN = r"""Every row of the table shows one balance of one member: what it had counted before, this charge, the sum of
both, and the cap; a $\delta$ that is still 0 is left out. A member that is marked with a star does not hold. Each
position is an entry of the tenant's history; its hash covers the entry before it, so that none can be changed, left out
or put in without all later hashes changing."""

LOG = """All tenants' entries stand in one log, in the order in which they became durable. Over it stands a Merkle
tree (RFC 6962), whose root the service signs and publishes. An entry whose place under such a head is proved cannot be
left out or changed later without contradicting that head. The JSON document has the signed head and the hashes."""

TRUST = (
    "**The key.** The signature shows that the document is whole; whose it is, is known by comparing the key's name "
    "with the keys that the service publishes at `/.well-known/jwks.json`.",
    "**The engine's statements:** its claims, its sensitivities, what a privacy unit is, and, for a voided allocation, "
    "that no data was read, or how many of the planned repetitions were run.",
    "**The operator's signed statement,** for an adjusted allocation, that nothing was released.",
    r"**The service's statements:** an $\varepsilon$ that is marked as computed by its accountants, that partitions "
    "are disjoint and do not depend on the data, and what was charged on other parts of a data set.",
    "**The noise:** that what is recorded here was really drawn and added.",
    "**Completeness:** that no allocations are left out here that belong to what the document is about: the signature "
    "vouches for that, the mathematics cannot.",
)
CHECKED = """Nothing else: the JSON document that comes with this one is checked offline by
`privacy-engine verify`, which derives every number again, in exact or rigorous arithmetic, without the code that wrote
it."""
