// What a view about one tenant shows to whoever may see all and has named none.

import { h } from "../dom.js";
import { go, here, placed } from "../router.js";
import { sheet, view } from "../parts.js";

export function choose(title) {
  const field = h("input", { id: "which", required: true, autocomplete: "off" });
  const submit = (event) => {
    event.preventDefault();
    go(here().name, { tenant: field.value.trim() });
  };
  return view(
    title,
    "Your token is for all tenants, and this view is about one.",
    sheet(
      "Which tenant?",
      h("form", { class: "row", onsubmit: submit }, h("div", { class: "field" }, h("label", { for: "which" }, "Tenant"), field), h("button", { type: "submit", class: "main" }, "Show")),
      h("p", {}, h("a", { href: placed("tenants") }, "See all tenants")),
    ),
  );
}

// A view that needs a tenant: asks for one first where none is named.
export const ofOneTenant = (made) => ({
  ...made,
  load: (context) => (context.tenant === null || !made.load ? null : made.load(context)),
  render: (data, context) => (context.tenant === null ? choose(made.title) : made.render(data, context)),
});
