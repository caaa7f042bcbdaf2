// The way in: a token, pasted.

import { h } from "../dom.js";
import { enter } from "../session.js";

export function login(words, entered) {
  const wrong = h("p", { class: "wrong", id: "token-wrong", role: "alert" });
  const field = h("textarea", {
    id: "token", rows: 4, required: true, spellcheck: "false", autocomplete: "off", autocapitalize: "off",
    "aria-describedby": "token-hint token-wrong", onkeydown: (event) => event.key === "Enter" && (event.preventDefault(), form.requestSubmit()),
  });
  const button = h("button", { type: "submit", class: "main" }, "Log in");
  const form = h(
    "form",
    { class: "stack", novalidate: true, onsubmit: submit },
    h(
      "div",
      { class: "field" },
      h("label", { for: "token" }, "Token"),
      field,
      h("p", { class: "hint", id: "token-hint" }, "It stays in this tab and is forgotten when the tab is closed."),
      wrong,
    ),
    h("div", {}, button),
  );
  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    wrong.textContent = "";
    field.removeAttribute("aria-invalid");
    try {
      await enter(field.value.replace(/^Bearer\s+/i, "").replace(/\s/g, ""));
      entered();
    } catch (error) {
      wrong.textContent = error.message;
      field.setAttribute("aria-invalid", "true");
      field.focus();
    } finally {
      button.disabled = false;
    }
  }
  return h(
    "div",
    { class: "view login" },
    h("div", { class: "head" }, h("h1", { tabindex: "-1" }, "Log in"), h("p", {}, "See what was spent of a privacy budget, what is left, and why.")),
    words && h("div", { class: "note warn", role: "alert" }, h("p", {}, words)),
    h("section", { class: "sheet" }, form),
    h(
      "section",
      { class: "sheet" },
      h("h2", {}, "How to get a token"),
      h("p", {}, "On the machine that runs the service:"),
      h("pre", {}, "privacy-engine token --tenant acme ", h("span", { class: "whole" }, "--role viewer")),
      h("p", { class: "faint small" }, "Roles: viewer looks; analyst and engine also spend; admin also sets budgets; auditor sees refusals and the audit log, and with --tenant '*' all tenants. Elsewhere, ask whoever runs the service."),
    ),
  );
}
