// What was refused, and why. Refusals are no ledger entries, so no event tells of them. Their number is asked for again
// and again; they themselves only when it has changed, for whoever reads them is recorded.

import { get } from "../api.js";
import { h } from "../dom.js";
import { exact } from "../numbers.js";
import { sheet, view } from "../parts.js";
import { empty } from "../states.js";
import { table } from "../tables.js";
import { at } from "../time.js";
import { scopeName, why } from "../words.js";
import { ofOneTenant } from "./choose.js";

const LATEST = 100;

const COLUMNS = [
  { title: "When", cell: (one) => at(one.at) },
  { title: "Why", head: true, long: true, cell: (one) => h("span", {}, why(one.outcome), one.scope && h("span", { class: "sub" }, `Refused by ${scopeName(one.scope)}`)) },
  { title: "Asked for", number: true, cell: (one) => h("span", {}, exact(one.epsilon, "ε"), one.delta !== "0" && h("span", { class: "sub" }, exact(one.delta, "δ"))) },
  { title: "Job", cell: (one) => one.job_id ?? "" },
  { title: "Engine", cell: (one) => one.source_engine ?? "" },
  { title: "Who", cell: (one) => one.actor },
  { title: "After entry", number: true, cell: (one) => exact(one.ledger_seq) },
];

export const denials = ofOneTenant({
  name: "denials",
  title: "Refusals",
  pulse: async (tenant) => (await get("/analytics/budget-summary", { tenant_id: tenant })).operations.denied_last_7_days,
  load: ({ tenant }) => get(`/budget/${encodeURIComponent(tenant)}/denials`, { limit: LATEST }),
  render: (data) =>
    view(
      "Refusals",
      "What was asked for and refused. A refusal charges nothing, and may be followed by a smaller request.",
      data.denials.length === 0
        ? sheet(null, empty("Nothing was refused", "When a request does not fit a budget or breaks a rule, it appears here with the reason."))
        : sheet(null, table(COLUMNS, data.denials, { caption: `The latest refusals, at most ${LATEST}`, hideCaption: data.denials.length < LATEST })),
    ),
});
