// How fast a budget is spent, on what, and when it would be gone.

import { burnDown, dailyColumns, engineBars, figure } from "../chart.js";
import { h } from "../dom.js";
import { exact, exactly, left, rounded, spent } from "../numbers.js";
import { sheet } from "../parts.js";
import { go } from "../router.js";
import { empty, notAvailable } from "../states.js";
import { table } from "../tables.js";
import { dayText, onDay } from "../time.js";
import { several } from "../words.js";

export function burning(burn, standing, { query, links }) {
  if (burn === null) return sheet("Burn-down", notAvailable("Burn-down and forecast"));
  const wanted = query.get("dataset") ?? "";
  const scope = standing.datasets.find((one) => one.dataset_id === wanted) ?? standing;
  const choice = standing.datasets.length > 0 && scopes(standing, wanted, links);
  if (burn.daily.every((day) => day.epsilon === 0)) {
    return h("section", { class: "sheet" }, titled("Burn-down", choice), empty("Nothing was spent in these days", "As soon as an operation is charged, its day appears here with a forecast."));
  }
  return [
    h(
      "section",
      { class: "sheet" },
      titled("Burn-down and forecast", choice),
      figure("burn-down-table", 260, burnDown(burn.daily, scope.total_epsilon, burn.projection, Date.parse(burn.until)), sentenceOf(burn), dailyTable(burn)),
    ),
    h(
      "div",
      { class: "pair" },
      sheet("Spent each day", daily(burn)),
      sheet("Spent by engine", byEngine(burn)),
    ),
  ];
}

const titled = (title, choice) => h("div", { class: "row spread" }, h("h2", {}, title), choice);

function scopes(standing, wanted, links) {
  const chosen = (event) => go("budget", { ...links, dataset: event.target.value });
  const options = ["", ...standing.datasets.map((one) => one.dataset_id)];
  return h(
    "div",
    { class: "row" },
    h("label", { for: "scope", class: "unseen" }, "Budget to show"),
    h("select", { id: "scope", class: "narrow", onchange: chosen }, options.map((name) => h("option", { value: name, selected: name === wanted }, name || "The tenant's budget"))),
  );
}

export function forecast(burn) {
  const { projection } = burn;
  if (!projection?.exhausted_at) return h("p", { class: "note" }, burn.epsilon > 0 ? "There are too few days yet for a forecast." : "Nothing was spent in these days, so there is no end in sight.");
  const soon = !projection.renews_before;
  return h(
    "p",
    { class: soon ? "note warn" : "note" },
    h("span", {}, "At the present pace, ", spent(burn.epsilon_per_day, "ε a day"), ", it is exhausted about ", onDay(projection.exhausted_at), range(projection), projection.renews_before ? [", but a new window begins on ", onDay(projection.renews_at), " before that."] : "."),
  );
}

const range = ({ earliest, latest }) => (earliest && latest ? [" (between ", onDay(earliest), " and ", onDay(latest), ")"] : null);

function sentenceOf(burn) {
  const { projection, daily } = burn;
  const now = burn.remaining_epsilon;
  const past = `ε ${rounded(now, "down")} is left. In ${several(burn.known_days ?? daily.length, "day")} ${rounded(burn.epsilon, "up")} was spent, ${rounded(burn.epsilon_per_day, "up")} a day.`;
  if (!projection?.exhausted_at) return past;
  const span = projection.earliest && projection.latest ? `, between ${dayText(projection.earliest)} and ${dayText(projection.latest)}` : "";
  return `${past} The dashed line is the forecast: exhausted about ${dayText(projection.exhausted_at)}${span}.`;
}

const dailyTable = (burn) =>
  table(
    [
      { title: "Day (UTC)", head: true, cell: (day) => day.date },
      { title: "ε spent", number: true, cell: (day) => spent(exactly(day, "epsilon")) },
      { title: "Operations", number: true, cell: (day) => exact(day.operations) },
      { title: "ε left at its end", number: true, cell: (day) => left(day.remaining_epsilon) },
    ],
    burn.daily,
    { caption: "What was spent on each day and what remained" },
  );

function daily(burn) {
  const most = burn.daily.reduce((one, other) => (other.epsilon > one.epsilon ? other : one));
  const words = `Most was spent on ${dayText(`${most.date}T12:00:00`)}: ε ${rounded(exactly(most, "epsilon"), "up")} by ${several(rounded(most.operations, "exact"), "operation")}.`;
  return figure("daily-table", 200, dailyColumns(burn.daily), words, dailyTable(burn));
}

function byEngine(burn) {
  const label = (one) => `ε ${rounded(exactly(one, "epsilon"), "up")} · ${several(rounded(one.operations, "exact"), "operation")}`;
  const engines = [...burn.by_engine].sort((one, other) => other.epsilon - one.epsilon);
  const columns = [
    { title: "Engine", head: true, cell: (one) => one.source_engine ?? "none named" },
    { title: "ε spent", number: true, cell: (one) => spent(exactly(one, "epsilon")) },
    { title: "ε a day", number: true, cell: (one) => spent(one.epsilon_per_day) },
    { title: "Operations", number: true, cell: (one) => exact(one.operations) },
  ];
  const first = engines[0];
  const words = `${first.source_engine ?? "Operations without an engine"} spent most: ε ${rounded(exactly(first, "epsilon"), "up")}.`;
  return figure("engine-table", engines.length * 40, engineBars(engines, label), words, table(columns, engines, { caption: "What each engine spent in these days" }));
}
