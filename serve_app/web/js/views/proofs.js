// The derivation of a charge to read, and the document that a stranger checks.

import { file } from "../api.js";
import { h } from "../dom.js";
import { action, details, download, sheet, view } from "../parts.js";
import { go } from "../router.js";
import { empty, failed } from "../states.js";
import { ofOneTenant } from "./choose.js";

const KINDS = { job: "Job", allocation: "Allocation", plan: "Plan", history: "Whole history" };

// What the address names: [kind, id], or null.
function asked(query) {
  const kind = Object.keys(KINDS).find((name) => query.get(name));
  return kind ? [kind, query.get(kind)] : null;
}

function request(kind, id, tenant, form) {
  const more = { tenant_id: tenant, format: form };
  if (kind === "job") return [`/proof/${encodeURIComponent(id)}`, more];
  return ["/proof/", { ...more, ...{ allocation: { allocation_id: id }, plan: { plan_id: id }, history: { history: true } }[kind] }];
}

export const proofs = ofOneTenant({
  name: "proofs",
  title: "Proofs",
  async load(context) {
    const wanted = asked(context.query);
    if (wanted === null) return { derivation: null };
    try {
      return { derivation: await (await file(...request(...wanted, context.tenant, "html"))).text() };
    } catch (error) {
      if (error.status !== 404 && error.status !== 413 && error.status !== 422) throw error;
      return { derivation: null, refused: { status: error.status, message: error.message, problem: error.problem } };
    }
  },
  render(data, context) {
    const wanted = asked(context.query);
    return view(
      "Proofs",
      "Every charge has a derivation that can be read, and a signed document that a stranger checks without trusting this service.",
      finder(wanted, context),
      data.refused && failed({ ...data.refused }),
      data.derivation !== null && shown(data.derivation, wanted, context),
      !data.refused && data.derivation === null && sheet(null, empty("No proof is open", "Name a job or an allocation, or open one from the operations.")),
    );
  },
});

function finder(wanted, { links }) {
  const [kind, id] = wanted ?? ["job", ""];
  const which = h("select", { id: "proof-kind", onchange: turned }, Object.entries(KINDS).map(([name, words]) => h("option", { value: name, selected: name === kind }, words)));
  const name = h("input", { id: "proof-id", value: kind === "history" ? "" : id, autocomplete: "off", spellcheck: "false" });
  const field = h("div", { class: "field", hidden: kind === "history" }, h("label", { for: "proof-id" }, "Name or id"), name);
  function turned() {
    field.hidden = which.value === "history";
  }
  function submit(event) {
    event.preventDefault();
    const given = which.value === "history" ? "true" : name.value.trim();
    if (given) go("proofs", { ...links, [which.value]: given });
    else name.focus();
  }
  return sheet(
    null,
    h("form", { class: "fields finder", onsubmit: submit }, h("div", { class: "field" }, h("label", { for: "proof-kind" }, "Proof of"), which), field, h("div", { class: "field end" }, h("button", { type: "submit", class: "main" }, "Show"))),
  );
}

function shown(derivation, [kind, id], context) {
  const fetched = async (form, type) => {
    const blob = await file(...request(kind, id, context.tenant, form));
    download(new Blob([blob], { type }), `proof-${kind === "history" ? context.tenant : id}.${form === "latex" ? "tex" : form}`.replace(/[^\w.-]/g, "_"));
  };
  return h(
    "section",
    { class: "sheet" },
    h(
      "div",
      { class: "row spread" },
      h("h2", {}, kind === "history" ? "Whole history" : `${KINDS[kind]} ${id}`),
      h("div", { class: "row" }, action("Download JSON", () => fetched("json", "application/json"), { main: true }), action("PDF", () => fetched("pdf", "application/pdf")), action("LaTeX", () => fetched("latex", "text/plain"))),
    ),
    paper(derivation),
    details(
      "how-to-verify",
      "How a stranger verifies it",
      h("p", {}, "Download the JSON document and give it to anybody. On any machine, without this service and without its code for making proofs, the command below computes every step again in exact arithmetic and checks the signature. Whoever wants to know that it is this service's signature takes the public keys from /.well-known/jwks.json."),
      h("pre", {}, "privacy-engine verify proof.json"),
    ),
  );
}

// The service's own document, in a frame that may run nothing and reach nothing.
function paper(derivation) {
  const address = URL.createObjectURL(new Blob([derivation], { type: "text/html;charset=utf-8" }));
  return h("iframe", { class: "paper", title: "The derivation", sandbox: "", src: address, onload: () => URL.revokeObjectURL(address) });
}
