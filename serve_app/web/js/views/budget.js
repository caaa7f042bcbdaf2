// What is left of a budget, what was spent of it and by whom, and how long it lasts.

import { get } from "../api.js";
import { h } from "../dom.js";
import { exact, exactly, left, percent, spent } from "../numbers.js";
import { bar, details, facts, sheet, swatch, view } from "../parts.js";
import { ifThere } from "../states.js";
import { table } from "../tables.js";
import { onDay } from "../time.js";
import { ADJACENCY, currency, THEOREMS } from "../words.js";
import { burning, forecast } from "./burning.js";
import { ofOneTenant } from "./choose.js";

const DAYS = 14;

export const budget = ofOneTenant({
  name: "budget",
  title: "Budget",
  live: ["ledger"],
  async load({ tenant, query }) {
    const dataset = query.get("dataset");
    const [standing, burn] = await Promise.all([
      get(`/budget/${encodeURIComponent(tenant)}`),
      ifThere(get("/analytics/burn-rate", { tenant_id: tenant, dataset_id: dataset, days: DAYS })),
    ]);
    return { standing, burn: burn && settled(burn) };
  },
  render: ({ standing, burn }, context) =>
    view(
      "Budget",
      windowOf(standing),
      standing.legal_hold && h("div", { class: "note warn" }, h("p", {}, "A legal hold is in force: nothing of this tenant is purged.")),
      h("div", { class: "pair" }, remaining(standing, context.query.get("dataset") ? null : burn), beside(standing)),
      burning(burn, standing, context),
      filters("Filters of the tenant's budget", "tenant-filters", standing.filters),
      standing.datasets.length > 0 && sheet("Data sets", h("p", { class: "faint" }, "Each has a budget of its own: the guarantee to the people in it. A charge has to fit this and the tenant's."), standing.datasets.map(dataset)),
    ),
});

// The moment of asking is in the answer, and is no news.
const settled = ({ until, ...burn }) => ({ ...burn, until: until.slice(0, 13) + ":00:00Z" });

function windowOf(standing) {
  if (standing.period_end === null) return "One budget for the whole lifetime of the data; it does not renew.";
  return h("span", {}, "Window from ", onDay(standing.period_start), " to ", onDay(standing.period_end), standing.auto_renew ? ", then a new one begins." : ".");
}

function remaining(standing, burn) {
  const held = exactly(standing, "held_epsilon");
  const some = Number(held) > 0;
  return sheet(
    "Left now",
    h("p", { class: "figure", id: "left-now" }, left(exactly(standing, "remaining_epsilon")), h("span", { class: "unit" }, " of ", left(exactly(standing, "total_epsilon"), "ε"))),
    bar(standing.total_epsilon, standing.used_epsilon, standing.held_epsilon),
    h(
      "ul",
      { class: "legend" },
      h("li", {}, swatch("spent"), h("span", {}, "Used ", spent(exactly(standing, "used_epsilon"), "ε"), ` (${percent(standing.epsilon_utilization_pct)})`)),
      some && h("li", {}, swatch("held"), h("span", {}, "of that held ", spent(held, "ε"))),
      h("li", {}, swatch("left"), h("span", {}, "Left ", left(exactly(standing, "remaining_epsilon"), "ε"))),
    ),
    h("p", { class: "faint small" }, "Left is the largest plain claim that would still be admitted; used is the rest."),
    burn && forecast(burn),
  );
}

function beside(standing) {
  const rows = [
    ["ε promised", left(exactly(standing, "total_epsilon")), "–"],
    ["ε used", spent(exactly(standing, "used_epsilon")), spent(exactly(standing, "lifetime_epsilon"))],
    ["ε left", left(exactly(standing, "remaining_epsilon")), "–"],
    ["δ promised", left(exactly(standing, "total_delta")), "–"],
    ["δ used", spent(exactly(standing, "used_delta")), spent(exactly(standing, "lifetime_delta"))],
    ["δ left", left(exactly(standing, "remaining_delta")), "–"],
  ];
  const columns = [
    { title: "Amount", head: true, cell: ([name]) => name },
    { title: "This window", number: true, cell: ([, inWindow]) => inWindow },
    { title: "Lifetime", number: true, cell: ([, , ever]) => ever },
  ];
  return sheet("This window and the lifetime", plainTable(columns, rows, "Loss of this window beside that of the whole lifetime, which no new window takes away"), facts([["Operations", exact(standing.allocation_count)], ["Last ledger entry", exact(standing.ledger_seq)]]));
}

// Few columns: they fit a narrow screen as they are.
function plainTable(columns, rows, caption) {
  const made = table(columns, rows, { caption });
  made.classList.remove("cards");
  return made;
}

function filters(title, id, standing) {
  const names = Object.keys(standing);
  return sheet(
    title,
    h("p", { class: "faint" }, names.length === 1 ? "A charge is admitted while this filter holds." : "Each filter counts every charge in its own currency. A charge is admitted while at least one of them still holds after it."),
    filterTable(standing, title),
    details(id, "Theorems", names.map((name) => h("p", { class: "small" }, h("strong", {}, THEOREMS[name] ?? name), `: ${standing[name].theorem}`))),
  );
}

function filterTable(standing, caption) {
  const counted = (cost) => Object.keys(cost).find((key) => key !== "delta");
  const amountOf = (cost, shown) => h("span", {}, shown(cost[counted(cost)]), h("span", { class: "sub" }, "δ ", shown(cost.delta)));
  const columns = [
    { title: "Filter", head: true, cell: ([name, one]) => h("span", {}, THEOREMS[name] ?? name, h("span", { class: "sub" }, `counts ${currency(counted(one.cap))}`, one.order && ` at order ${one.order}`, one.conversion_delta && [", converted at δ ", left(one.conversion_delta)])) },
    { title: "Cap", number: true, cell: ([, one]) => amountOf(one.cap, left) },
    { title: "Counted", number: true, cell: ([, one]) => amountOf(one.spent, spent) },
    { title: "Left", number: true, cell: ([, one]) => amountOf(one.remaining, left) },
    { title: "Stands", cell: ([, one]) => h("span", { class: `tag ${one.holds ? "good" : "bad"}` }, one.holds ? "holds" : "does not hold") },
  ];
  return table(columns, Object.entries(standing), { caption, hideCaption: true });
}

const dataset = (one) =>
  h(
    "article",
    { class: "stack", "aria-labelledby": `dataset-${one.dataset_id}` },
    h("div", { class: "row spread" }, h("h3", { id: `dataset-${one.dataset_id}` }, one.dataset_id), h("span", { class: "faint small" }, `protects a ${one.privacy_unit} · ${ADJACENCY[one.adjacency] ?? one.adjacency}`, one.partition_count > 0 && ` · ${one.partition_count} partitions`)),
    bar(one.total_epsilon, one.used_epsilon, 0, true),
    h("p", { class: "small" }, "Used ", spent(exactly(one, "used_epsilon")), " of ", left(exactly(one, "total_epsilon"), "ε"), ` (${percent(one.epsilon_utilization_pct)}), left `, left(exactly(one, "remaining_epsilon"), "ε"), "; δ used ", spent(exactly(one, "used_delta")), " of ", left(exactly(one, "total_delta"))),
    details(`filters-of-${one.dataset_id}`, "Its filters", filterTable(one.filters, `Filters of the data set ${one.dataset_id}`)),
  );
