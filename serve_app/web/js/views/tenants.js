// All tenants, for an auditor of all.

import { get } from "../api.js";
import { h } from "../dom.js";
import { exact, exactly, left, percent, spent } from "../numbers.js";
import { bar, sheet, tag, view } from "../parts.js";
import { placed } from "../router.js";
import { empty, ifThere, notAvailable } from "../states.js";
import { table } from "../tables.js";
import { at, days } from "../time.js";

const PAGE = 50;
const LOW = 10;
const SOON = 7;

// What somebody should look at: a budget below a tenth, or one that does not last a week at this pace.
const alarm = (one) => (100 - one.epsilon_utilization_pct < LOW ? tag("low") : one.days_left !== null && one.days_left < SOON && tag("soon"));

const COLUMNS = [
  { title: "Tenant", head: true, cell: (one) => h("a", { href: placed("budget", { tenant: one.tenant_id }) }, one.tenant_id) },
  {
    title: "Used",
    cell: (one) => h("div", { class: "stack used" }, h("span", { class: "amount" }, percent(one.epsilon_utilization_pct), " of ", left(exactly(one, "total_epsilon"), "ε")), bar(one.total_epsilon, one.used_epsilon, 0, true)),
  },
  { title: "Left", number: true, cell: (one) => left(exactly(one, "remaining_epsilon"), "ε") },
  { title: "A day", number: true, cell: (one) => spent(one.epsilon_per_day, "ε") },
  { title: "Lasts", number: true, cell: (one) => days(one.days_left) ?? h("span", { class: "faint" }, one.epsilon_per_day > 0 ? "not known yet" : "not spending") },
  { title: "Note", cell: (one) => alarm(one) || "" },
  { title: "Operations", number: true, cell: (one) => exact(one.operations) },
  { title: "Last entry", cell: (one) => at(one.last_entry_at) },
];

export const tenants = {
  name: "tenants",
  title: "Tenants",
  live: ["ledger"],
  load: ({ query }) => ifThere(get("/analytics/tenants", { after: query.get("after"), limit: PAGE })),
  render(data, { query }) {
    if (data === null) return view("Tenants", null, sheet(null, notAvailable("All tenants together")));
    return view(
      "Tenants",
      "Every tenant's budget in its present window. What is spent a day is the mean of the last seven.",
      data.tenants.length === 0
        ? sheet(null, empty("No tenants yet", "A tenant appears here when its budget is created."))
        : sheet(null, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Tenants" }, table(COLUMNS, data.tenants, { caption: "Tenants and their budgets", hideCaption: true }))),
      h(
        "div",
        { class: "row" },
        query.get("after") && h("a", { class: "button", href: placed("tenants") }, "First page"),
        data.next && h("a", { class: "button", href: placed("tenants", { after: data.next }) }, "Next page"),
      ),
    );
  },
};
