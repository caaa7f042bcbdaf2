// Small parts that several views share.

import { h, svg } from "./dom.js";
import { status } from "./words.js";

export const view = (title, words, ...children) =>
  h("div", { class: "view" }, h("div", { class: "head" }, h("h1", { tabindex: "-1" }, title), words && h("p", {}, words)), children);

export const sheet = (title, ...children) =>
  h("section", { class: "sheet" }, title && h("div", { class: "head" }, h("h2", {}, title)), children);

export function tag(name) {
  const [words, tone] = status(name);
  return h("span", { class: `tag ${tone}` }, words);
}

export const facts = (pairs) =>
  h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

export const details = (id, title, ...children) => h("details", { id }, h("summary", {}, title), h("div", { class: "stack" }, children));

// What is spent and held of a whole, as a bar. It says nothing that does not stand beside it in words.
export function bar(total, spent, held = 0, slim = false) {
  const share = (part) => Math.max(0, Math.min(100, (Number(part) / Number(total)) * 100 || 0));
  const [one, two] = [share(spent), share(held)];
  return svg(
    "svg",
    { class: slim ? "bar slim" : "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", width: 100, height: 10 }),
    svg("rect", { class: "spent", width: one, height: 10 }),
    two > 0 && svg("rect", { class: "held", x: Math.max(0, one - two), width: Math.min(two, one), height: 10 }),
  );
}

export const swatch = (name) =>
  svg("svg", { class: "swatch", viewBox: "0 0 12 12", "aria-hidden": "true" }, svg("rect", { class: `box-${name}`, x: 0.5, y: 0.5, width: 11, height: 11, rx: 2 }));

export function download(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}

// A button that is busy while its work is done, and says what went wrong beside itself.
export function action(words, work, { main = false } = {}) {
  const wrong = h("span", { class: "small", role: "alert" });
  const button = h("button", { type: "button", class: main ? "main" : null, onclick: run }, words);
  async function run() {
    button.disabled = true;
    wrong.textContent = "";
    try {
      await work();
    } catch (error) {
      wrong.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  }
  return [button, wrong];
}
