// Who did what, and what was refused. Not made new by itself: to look is recorded as well.

import { get, PREFIX } from "../api.js";
import { h } from "../dom.js";
import { sheet, view } from "../parts.js";
import { placed } from "../router.js";
import { forAll } from "../session.js";
import { empty, ifThere } from "../states.js";
import { table } from "../tables.js";
import { at } from "../time.js";

const PAGE = 50;

const columns = (me) => [
  { title: "When", cell: (one) => at(one.at) },
  { title: "Who", head: true, cell: (one) => one.actor },
  { title: "Did", cell: (one) => h("span", {}, one.action.replaceAll("_", " "), one.count > 1 && h("span", { class: "sub" }, `${one.count} times`)) },
  { title: "To", long: true, cell: (one) => one.target && h("code", {}, one.target.replace(PREFIX, "")) },
  forAll(me) && { title: "Tenant", cell: (one) => one.tenant_id ?? "" },
  { title: "Outcome", cell: (one) => h("span", { class: `tag ${one.outcome === "done" ? "good" : "bad"}` }, one.outcome.replaceAll("_", " ")) },
  { title: "Request", cell: (one) => one.request_id && h("code", { class: "small" }, one.request_id) },
].filter(Boolean);

export const audit = {
  name: "audit",
  title: "Audit log",
  load: ({ tenant, query }) => ifThere(get("/audit", { tenant_id: tenant, after: query.get("after"), limit: PAGE })),
  render(data, { me, links, query, again }) {
    if (data === null) return view("Audit log", null, sheet(null, empty("No audit log", "This service keeps no audit log, or has none for you.")));
    return view(
      "Audit log",
      "Who did what and what was refused. Records are added and never changed.",
      data.records.length === 0
        ? sheet(null, empty("Nothing is recorded yet", "Changes of budgets, orders and refusals appear here."))
        : sheet(null, table(columns(me), data.records, { caption: "Records, the newest first", hideCaption: true })),
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", id: "audit-again", onclick: again }, "Look again"),
        query.get("after") && h("a", { class: "button", href: placed("audit", links) }, "Newest"),
        data.next && h("a", { class: "button", href: placed("audit", { ...links, after: data.next }) }, "Older"),
      ),
    );
  },
};
