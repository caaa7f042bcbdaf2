// The page: who is looking, which view, and what makes it new.

import { onExpired } from "./api.js";
import { h } from "./dom.js";
import { headOf, navOf } from "./frame.js";
import { announce, Liveness } from "./liveness.js";
import { go, here } from "./router.js";
import { forAll, forget, resume, session, tenantOf } from "./session.js";
import { failed, waiting } from "./states.js";
import { login } from "./views/login.js";
import { VIEWS, viewsFor } from "./views/all.js";

const main = document.getElementById("main");
const liveness = new Liveness();
let turn = 0;
let shownData = null;
let shownPlace = null;

// Loudly where somebody goes, quietly where what is looked at has become new. A quiet one may overtake a loud one, whose
// view it then shows for the first time: what it leaves alone is what stands there of this very place, and no more.
async function show({ quietly = false } = {}) {
  const mine = ++turn;
  const { name, query } = here();
  if (session.me === null) return showLogin();
  const known = viewsFor(session.me);
  const view = known.find((one) => one.name === name) ?? null;
  if (view === null) {
    if (VIEWS.some((one) => one.name === name)) return replace(notForYou());
    return location.replace(`#/${known[0].name}`);
  }
  const tenant = tenantOf(session.me, query);
  // What a link to another view of the same tenant has to say.
  const links = forAll(session.me) && tenant ? { tenant } : {};
  const context = { me: session.me, query, tenant, links, again: () => show() };
  if (!quietly) {
    document.title = `${view.title} · Privacy engine`;
    headOf(session.me, tenant, liveness, leave);
    navOf(known, view, links);
    liveness.look(view, context, () => show({ quietly: true }));
    shownPlace = null;
    main.replaceChildren(waiting());
  }
  try {
    const data = view.load ? await view.load(context) : null;
    if (mine !== turn) return;
    const text = JSON.stringify(data);
    // Nothing new: nothing is touched, and nobody is disturbed.
    if (quietly && text === shownData && location.hash === shownPlace) return;
    shownData = text;
    replace(view.render(data, context));
  } catch (error) {
    if (mine !== turn || session.me === null) return;
    shownData = null;
    // What is there stays there when it could not be made new; the top line says that it is not live.
    if (quietly && location.hash === shownPlace) return;
    replace(h("div", { class: "view" }, h("h1", { tabindex: "-1" }, view.title), failed(error, () => show())));
  }
}

function replace(content) {
  const moved = location.hash !== shownPlace;
  const held = document.activeElement?.id;
  const open = [...main.querySelectorAll("details[open][id]")].map((one) => one.id);
  shownPlace = location.hash;
  main.replaceChildren(content);
  if (moved) return main.querySelector("h1")?.focus({ preventScroll: false });
  open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
  if (held) document.getElementById(held)?.focus();
}

const notForYou = () =>
  h("div", { class: "view" }, h("h1", { tabindex: "-1" }, "Not for this token"), h("p", {}, "The roles of your token do not include this view. Ask whoever gave it to you for another one."));

function showLogin(words) {
  liveness.stop();
  shownData = shownPlace = null;
  document.title = "Log in · Privacy engine";
  headOf(null);
  navOf([], null, {});
  main.replaceChildren(login(words, () => show()));
}

function leave(words = null) {
  forget();
  turn += 1;
  showLogin(words);
}

onExpired.addEventListener("expired", (event) => leave(`${event.detail} Log in with a new one.`));
addEventListener("hashchange", () => show());
document.getElementById("skip").addEventListener("click", (event) => {
  // The address's part after # names the view, so the link cannot name its target as well.
  event.preventDefault();
  main.focus();
});

try {
  await resume();
} catch (error) {
  forget();
  showLogin(error.status === 401 ? `${error.message} Log in with a new one.` : error.message);
}
if (session.me !== null) {
  announce("");
  if (here().name === "") go(viewsFor(session.me)[0].name);
  show();
} else if (main.querySelector(".login") === null) showLogin();
