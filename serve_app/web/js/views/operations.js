// What was charged, newest first.

import { get } from "../api.js";
import { h } from "../dom.js";
import { exact, exactly, spent } from "../numbers.js";
import { sheet, tag, view } from "../parts.js";
import { placed } from "../router.js";
import { empty, ifThere, notAvailable } from "../states.js";
import { table } from "../tables.js";
import { at } from "../time.js";
import { eventName } from "../words.js";
import { ofOneTenant } from "./choose.js";

const PAGE = 25;

const columns = (links) => [
  { title: "When", cell: (one) => at(one.at) },
  {
    title: "Job",
    head: true,
    cell: (one) => h("span", {}, h("a", { href: placed("proofs", { ...links, allocation: one.allocation_id }), "aria-label": `Proof of ${one.job_id}` }, one.job_id ?? "–"), one.purpose && h("span", { class: "sub" }, one.purpose)),
  },
  { title: "ε", number: true, cell: (one) => spent(exactly(one, "epsilon")) },
  { title: "δ", number: true, cell: (one) => spent(exactly(one, "delta")) },
  { title: "State", cell: (one) => tag(one.status) },
  { title: "What", cell: (one) => eventName(one.event_kind) },
  { title: "Engine", cell: (one) => one.source_engine ?? "" },
  { title: "Data set", cell: (one) => one.dataset_id && h("span", {}, one.dataset_id, one.partition && h("span", { class: "sub" }, one.partition)) },
  { title: "Entry", number: true, cell: (one) => exact(one.seq) },
];

// What was on the page before, so that what is new can be told from it.
let seen = { tenant: null, last: Infinity };

export const operations = ofOneTenant({
  name: "operations",
  title: "Operations",
  live: ["ledger"],
  load: ({ tenant, query }) => ifThere(get("/analytics/operations", { tenant_id: tenant, before: query.get("before"), limit: PAGE })),
  render(data, { links, tenant, query }) {
    if (data === null) return view("Operations", null, sheet(null, notAvailable("Operations")));
    const known = seen.tenant === tenant ? seen.last : Infinity;
    if (query.get("before") === null) seen = { tenant, last: data.operations[0]?.seq ?? 0 };
    return view(
      "Operations",
      "Everything that was charged to the budget or held of it, the newest first. Each opens its proof.",
      data.operations.length === 0
        ? sheet(null, empty("Nothing was charged yet", "An operation appears here the moment an engine is admitted."))
        : sheet(null, table(columns(links), data.operations, { caption: "Operations, the newest first", hideCaption: true, fresh: (one) => one.seq > known })),
      h(
        "div",
        { class: "row" },
        query.get("before") && h("a", { class: "button", href: placed("operations", links) }, "Newest"),
        data.next && h("a", { class: "button", href: placed("operations", { ...links, before: data.next }) }, "Older"),
      ),
    );
  },
});
