// The top line and the list of views.

import { h } from "./dom.js";
import { placed } from "./router.js";

const top = document.getElementById("top");
const nav = document.getElementById("nav");
const icon = document.querySelector('link[rel="icon"]').href;

const THEMES = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" };

export function headOf(me, tenant, liveness, leave) {
  const key = me === null ? "" : `${me.subject} ${tenant}`;
  if (top.dataset.of === key) return;
  top.dataset.of = key;
  top.classList.toggle("outside", me === null);
  const push = h("span", { class: "push" });
  top.replaceChildren(
    h("a", { class: "mark", href: "#/" }, h("img", { src: icon, alt: "" }), "Privacy engine"),
    ...(me === null
      ? [push, h("span", { class: "own" }, themes())]
      : [
          h("span", { class: "who" }, tenant ? h("strong", {}, tenant) : "all tenants", ` · ${me.subject} · ${me.roles.join(", ")}`),
          push,
          liveness.sign,
          h("span", { class: "own" }, themes(), h("button", { type: "button", class: "quiet", onclick: () => leave() }, "Log out")),
          menu(),
        ]),
  );
}

export function navOf(known, view, links) {
  nav.hidden = known.length === 0;
  nav.classList.remove("open");
  top.classList.remove("open");
  top.querySelector(".menu")?.setAttribute("aria-expanded", "false");
  nav.replaceChildren(
    h("ul", {}, known.map((one) => h("li", {}, h("a", { href: placed(one.name, one.name === "tenants" ? {} : links), "aria-current": one === view ? "page" : null }, one.title)))),
  );
}

function menu() {
  const button = h("button", { type: "button", class: "menu", "aria-expanded": "false", "aria-controls": "nav", onclick: toggle }, "Menu");
  function toggle() {
    const open = nav.classList.toggle("open");
    top.classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
  }
  return button;
}

function themes() {
  const root = document.documentElement;
  const button = h("button", { type: "button", class: "quiet", onclick: turn });
  const told = () => (button.textContent = THEMES[root.dataset.theme ?? "auto"]);
  function turn() {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(root.dataset.theme ?? "auto") + 1) % names.length];
    if (next === "auto") {
      delete root.dataset.theme;
      localStorage.removeItem("theme");
    } else {
      root.dataset.theme = next;
      localStorage.setItem("theme", next);
    }
    told();
  }
  told();
  return button;
}
