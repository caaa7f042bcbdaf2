// The answer to a plan: its loss under every theorem, and whether it fits.

import { h } from "../dom.js";
import { exactly, left, rounded, spent } from "../numbers.js";
import { placed } from "../router.js";
import { table } from "../tables.js";
import { THEOREMS } from "../words.js";

export function priced(answer, links) {
  const best = answer.theorems.find((one) => one.name === answer.tightest) ?? null;
  return h(
    "section",
    { class: "sheet" },
    h("h2", { tabindex: "-1" }, best ? ["The plan costs ε ", spent(best.total_epsilon), " at δ ", spent(best.total_delta)] : "No theorem prices this plan within its δ"),
    h(
      "div",
      { class: answer.is_feasible ? "note" : "note bad" },
      h("strong", {}, answer.is_feasible ? "It fits." : "It does not fit."),
      h("p", {}, answer.feasibility_basis),
      answer.is_feasible && h("p", {}, "Left after it: ", left(exactly(answer, "remaining_epsilon_after"), "ε"), ", ", left(exactly(answer, "remaining_delta_after"), "δ"), "."),
    ),
    table(columnsOf(answer), answer.theorems, { caption: `${rounded(answer.num_steps, "exact")} operations under every theorem, stated with δ ${rounded(answer.delta, "up")}`, mark: (one) => (one === best ? "best" : null) }),
    best && h("p", {}, h("a", { href: placed("proofs", { ...links, plan: answer.plan_id }) }, "Proof of this price")),
  );
}

const columnsOf = (answer) => [
  {
    title: "Theorem",
    head: true,
    cell: (one) => h("span", {}, THEOREMS[one.name] ?? one.name, one.name === answer.tightest && [" ", h("span", { class: "tag good" }, "tightest valid")]),
  },
  { title: "ε", number: true, cell: (one) => (one.valid ? spent(one.total_epsilon) : h("span", { class: "faint" }, "no bound")) },
  { title: "δ", number: true, cell: (one) => (one.valid ? spent(one.total_delta) : h("span", { class: "faint" }, "–")) },
  { title: "Why", long: true, cell: (one) => h("span", { class: "small" }, one.theorem, one.note && h("span", { class: "sub" }, one.note)) },
];
