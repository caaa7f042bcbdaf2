// What stands where data is not: on its way, refused, not there yet.

import { h } from "./dom.js";

export const waiting = () => h("p", { class: "waiting", role: "status" }, "Loading…");

export const empty = (title, words, ...more) => h("div", { class: "empty" }, h("h3", {}, title), h("p", {}, words), more);

const ADVICE = {
  0: "The page tries again when you press the button.",
  403: "Ask whoever gave you the token for one with the role that is named.",
  404: null,
  429: "Wait a moment, then try again.",
  503: "The service is busy or its ledger does not answer; nothing was charged. Try again in a moment.",
};

export function failed(error, again) {
  const advice = ADVICE[error.status] ?? null;
  return h(
    "div",
    { class: "note bad", role: "alert" },
    h("strong", {}, error.problem?.title ?? "That did not work"),
    h("p", {}, error.message),
    advice && h("p", {}, advice),
    again && h("div", {}, h("button", { type: "button", onclick: again }, "Try again")),
  );
}

export const notAvailable = (what) =>
  h("p", { class: "faint" }, `${what} are not available: this service has no analytics, or no record to make them of.`);

// An answer that a service without that part does not have: null instead of an error.
export const ifThere = (answer) => answer.catch((error) => (error.status === 404 ? null : Promise.reject(error)));
