// Moments for people, in their own time zone; the exact one in UTC shows when it is pointed at.

import { h } from "./dom.js";

const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const dayOfYear = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const moment = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });

const sameYear = (date) => date.getFullYear() === new Date().getFullYear();

export const dayText = (when) => {
  const date = new Date(when);
  return (sameYear(date) ? day : dayOfYear).format(date);
};

export function at(when) {
  if (!when) return h("span", { class: "faint" }, "–");
  return h("time", { datetime: when, title: when, class: "amount" }, moment.format(new Date(when)));
}

export const onDay = (when) => h("time", { datetime: when, title: when }, dayText(when));

export function duration(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.ceil(seconds / 60)} min`;
  return `${Math.ceil(seconds / 3600)} h`;
}

export function days(number) {
  if (number === null || number === undefined) return null;
  if (number < 1) return "less than a day";
  const whole = Math.floor(number);
  return whole === 1 ? "1 day" : `${whole} days`;
}
