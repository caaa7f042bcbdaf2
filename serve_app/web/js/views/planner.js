// What operations would cost together, before anything is spent.

import { ask } from "../api.js";
import { h } from "../dom.js";
import { view } from "../parts.js";
import { failed } from "../states.js";
import { ofOneTenant } from "./choose.js";
import { priced } from "./priced.js";
import { blank, bodyOf, FORMS, KINDS } from "./steps.js";

// Kept while the page is open, so that looking at another view loses nothing.
const plan = { name: "My plan", delta: "", dataset: "", steps: [blank("gaussian")] };

export const planner = ofOneTenant({
  name: "plan",
  title: "Plan",
  render: (_, { tenant, links }) => {
    const answer = h("div", { id: "answer", "aria-live": "polite" });
    const list = h("ol", { class: "steps" });
    const button = h("button", { type: "submit", class: "main" }, "Price the plan");

    // Draws the steps anew, and puts the focus where the person goes on.
    function draw(focus) {
      list.replaceChildren(...plan.steps.map((step, index) => stepOf(step, index, draw)));
      if (focus) document.getElementById(focus)?.focus();
    }

    async function price(event) {
      event.preventDefault();
      button.disabled = true;
      try {
        answer.replaceChildren(priced(await ask("POST", "/composition/plan", { body: bodyOf(plan, tenant) }), links));
        answer.querySelector("h2").focus();
      } catch (error) {
        answer.replaceChildren(failed(error));
        const place = /^steps\[(\d+)\]/.exec(error.field ?? "");
        document.getElementById(place ? `step-${place[1]}-kind` : { delta: "plan-delta", dataset_id: "plan-dataset", name: "plan-name" }[error.field])?.focus();
      } finally {
        button.disabled = false;
      }
    }

    draw();
    return view(
      "Plan",
      "Put operations together and see what they would cost under every theorem. Nothing is spent and nothing is held.",
      h(
        "form",
        { class: "sheet", onsubmit: price, novalidate: true },
        h("div", { class: "fields" }, text("plan-name", "Name", plan, "name"), text("plan-delta", "δ of the whole plan", plan, "delta", "Leave empty for the steps' own, or the default."), text("plan-dataset", "Data set", plan, "dataset", "Leave empty for the tenant's budget alone.")),
        list,
        h(
          "div",
          { class: "row spread" },
          h("button", { type: "button", id: "add-step", onclick: () => (plan.steps.push(blank("gaussian")), draw(`step-${plan.steps.length - 1}-kind`)) }, "Add a step"),
          button,
        ),
      ),
      answer,
    );
  },
});

function stepOf(step, index, draw) {
  const id = `step-${index}`;
  const move = (by, name) => {
    plan.steps.splice(index + by, 0, ...plan.steps.splice(index, 1));
    const there = index + by;
    // The button that was pressed may be the last one's, which cannot go on.
    const still = there + by >= 0 && there + by < plan.steps.length;
    draw(`step-${there}-${still ? name : by < 0 ? "down" : "up"}`);
  };
  const remove = () => {
    plan.steps.splice(index, 1);
    draw(plan.steps.length ? `step-${Math.min(index, plan.steps.length - 1)}-kind` : "add-step");
  };
  const turned = (event) => {
    plan.steps[index] = { ...blank(event.target.value), count: step.count };
    draw(`${id}-kind`);
  };
  const tool = (name, words, sign, disabled, onclick) => h("button", { type: "button", id: `${id}-${name}`, "aria-label": `${words} step ${index + 1}`, title: words, disabled, onclick }, sign);
  return h(
    "li",
    { class: "step" },
    h(
      "fieldset",
      {},
      h("legend", { class: "unseen" }, `Step ${index + 1}`),
      h(
        "div",
        { class: "stack" },
        h(
          "div",
          { class: "row spread" },
          h("strong", { "aria-hidden": "true" }, `Step ${index + 1}`),
          h("div", { class: "tools" }, tool("up", "Move up", "↑", index === 0, () => move(-1, "up")), tool("down", "Move down", "↓", index === plan.steps.length - 1, () => move(1, "down")), tool("remove", "Remove", "×", false, remove)),
        ),
        h(
          "div",
          { class: "fields" },
          h("div", { class: "field wide" }, h("label", { for: `${id}-kind` }, "Mechanism"), h("select", { id: `${id}-kind`, onchange: turned }, Object.entries(KINDS).map(([name, words]) => h("option", { value: name, selected: name === step.kind }, words)))),
          FORMS[step.kind].map(([name, words, hint]) => text(`${id}-${name}`, words, step, name, hint)),
          text(`${id}-count`, "Times", step, "count"),
        ),
      ),
    ),
  );
}

function text(id, words, holder, name, hint) {
  const field = h("input", { id, value: holder[name], autocomplete: "off", spellcheck: "false", inputmode: ["name", "dataset"].includes(name) ? null : "decimal", "aria-describedby": hint ? `${id}-hint` : null, oninput: (event) => (holder[name] = event.target.value) });
  return h("div", { class: name === "name" ? "field wide" : "field" }, h("label", { for: id }, words), field, hint && h("p", { class: "hint", id: `${id}-hint` }, hint));
}
