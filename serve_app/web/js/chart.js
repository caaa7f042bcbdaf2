// Charts, drawn by hand in SVG at the width that they have. Each has a sentence and a table that say the same.

import { h, svg } from "./dom.js";
import { rounded } from "./numbers.js";
import { dayText } from "./time.js";

const DAY = 86_400_000;
const EDGE = { top: 22, right: 14, bottom: 26, left: 46 };

// A figure whose picture is drawn anew when its width changes.
export function figure(id, height, draw, sentence, asTable) {
  const place = h("div", { class: "chart" });
  let shown = 0;
  new ResizeObserver(([seen]) => {
    const width = Math.floor(seen.contentRect.width);
    if (width < 50 || width === shown) return;
    shown = width;
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": sentence });
    picture.append(...draw(width, height));
    place.replaceChildren(picture);
  }).observe(place);
  return h("figure", {}, place, h("figcaption", { class: "small faint" }, sentence), h("details", { id }, h("summary", { class: "small" }, "Show as table"), asTable));
}

// What remained at the end of each day, and where it goes at the present pace.
export function burnDown(daily, total, projection, until) {
  return (width, height) => {
    const points = daily.map((day) => [Date.parse(day.date) + DAY, day.remaining_epsilon]).filter(([, left]) => left !== null);
    if (points.length) points[points.length - 1][0] = until;
    const first = Date.parse(daily[0].date);
    const span = until - first;
    const far = Math.max(...["exhausted_at", "latest"].map((name) => Date.parse(projection?.[name] ?? "") || 0));
    // However far away the end is, what has been is at least a third of the picture.
    const last = Math.min(Math.max(until + span * 0.35, far + span * 0.08), until + span * 2);
    const x = scale(first, last, EDGE.left, width - EDGE.right);
    const y = scale(0, total || 1, height - EDGE.bottom, EDGE.top);
    return [
      ...levels(total, y, width),
      ...dates(first, last, x, height, width),
      ...ahead(points.at(-1), projection, x, y, last, height),
      svg("line", { class: "now", x1: x(until), x2: x(until), y1: EDGE.top, y2: height - EDGE.bottom }),
      svg("text", { class: "strong", x: x(until), y: 12, "text-anchor": "middle" }, "now"),
      svg("path", { class: "area", d: `${path(points, x, y)}L${x(points.at(-1)[0])},${y(0)}L${x(points[0][0])},${y(0)}Z` }),
      svg("path", { class: "line", d: path(points, x, y) }),
      ...points.map(([when, left]) => svg("circle", { class: "point", cx: x(when), cy: y(left), r: 2.5 })),
    ];
  };
}

function ahead(from, projection, x, y, last, height) {
  if (!from || !projection?.exhausted_at) return [];
  const ends = (name) => Math.min(Date.parse(projection[name]), last + DAY * 3650);
  const [end, early, late] = [ends("exhausted_at"), projection.earliest && ends("earliest"), projection.latest && ends("latest")];
  const clipped = (when) => {
    // Where the line leaves the picture.
    const share = Math.min(1, (last - from[0]) / (when - from[0] || 1));
    return [from[0] + (when - from[0]) * share, from[1] * (1 - share)];
  };
  const told = [];
  if (early && late) {
    const [a, b] = [clipped(early), clipped(late)];
    const corner = a[1] === 0 && b[1] > 0 ? `L${x(last)},${y(0)}` : "";
    told.push(svg("path", { class: "range", d: `M${x(from[0])},${y(from[1])}L${x(a[0])},${y(a[1])}${corner}L${x(b[0])},${y(b[1])}Z` }));
  }
  told.push(svg("path", { class: "ahead", d: path([from, clipped(end)], x, y) }));
  const renewal = Date.parse(projection.renews_at ?? "");
  if (renewal && renewal < last) {
    told.push(svg("line", { class: "renewal", x1: x(renewal), x2: x(renewal), y1: EDGE.top, y2: height - EDGE.bottom }));
    told.push(svg("text", { x: x(renewal), y: 12, "text-anchor": "middle" }, "renews"));
  }
  if (end <= last) {
    const beside = x(end) > x(last) - 90;
    told.push(svg("text", { class: "told", x: x(end) + (beside ? -40 : 6), y: y(0) - 8, "text-anchor": beside ? "end" : "start" }, `exhausted ${dayText(end)}`));
  }
  return told;
}

// What was spent on each day; stacked by engine where that is known.
export function dailyColumns(daily, engines) {
  return (width, height) => {
    const most = Math.max(...daily.map((day) => day.epsilon), 0) || 1;
    const y = scale(0, most * 1.1, height - EDGE.bottom, EDGE.top);
    const room = (width - EDGE.left - EDGE.right) / daily.length;
    const wide = Math.min(48, room * 0.64);
    const every = Math.ceil(44 / room);
    return [
      ...levels(most * 1.1, y, width),
      ...daily.flatMap((day, index) => {
        const middle = EDGE.left + room * (index + 0.5);
        let top = 0;
        const shares = engines ? engines.map((name) => day.by_engine?.[name] ?? 0) : [day.epsilon];
        const stack = shares.map((share, series) => {
          const part = svg("rect", { class: engines ? `series-${series % 6}` : "column", x: middle - wide / 2, y: y(top + share), width: wide, height: Math.max(0, y(top) - y(top + share)) });
          top += share;
          return part;
        });
        return [
          ...stack,
          day.epsilon > 0 && room > 34 && svg("text", { class: "strong", x: middle, y: y(day.epsilon) - 5, "text-anchor": "middle" }, rounded(day.epsilon, "up")),
          index % every === 0 && svg("text", { x: middle, y: height - 8, "text-anchor": "middle" }, dayText(`${day.date}T12:00:00`)),
        ].filter(Boolean);
      }),
    ];
  };
}

// One bar for each engine, with its name and its amount.
export function engineBars(engines, label) {
  return (width) => {
    const most = Math.max(...engines.map((one) => one.epsilon)) || 1;
    return engines.flatMap((one, row) => {
      const top = row * 40;
      return [
        svg("text", { class: "strong", x: 0, y: top + 12 }, one.source_engine ?? "no engine named"),
        svg("text", { x: width, y: top + 12, "text-anchor": "end" }, label(one)),
        svg("rect", { class: "track", x: 0, y: top + 18, width, height: 8, rx: 4 }),
        svg("rect", { class: "column", x: 0, y: top + 18, width: Math.max(2, (one.epsilon / most) * width), height: 8, rx: 4 }),
      ];
    });
  };
}

const scale = (from, to, start, end) => (value) => Math.round((start + ((value - from) / (to - from || 1)) * (end - start)) * 10) / 10;

const path = (points, x, y) => points.map(([when, left], index) => `${index ? "L" : "M"}${x(when)},${y(left)}`).join("");

function levels(most, y, width) {
  const step = pleasant(most / 4);
  const marks = [];
  for (let level = 0; level <= most + step * 1e-6; level += step) {
    marks.push(svg("line", { class: level ? "grid" : "axis", x1: EDGE.left, x2: width - EDGE.right, y1: y(level), y2: y(level) }));
    marks.push(svg("text", { x: EDGE.left - 8, y: y(level) + 4, "text-anchor": "end" }, rounded(level.toPrecision(6), "down")));
  }
  return [...marks, svg("text", { x: EDGE.left - 8, y: 10, "text-anchor": "end" }, "ε")];
}

function dates(first, last, x, height, width) {
  const most = Math.max(2, Math.floor((width - EDGE.left) / 64));
  const step = Math.max(1, Math.ceil((last - first) / DAY / most));
  const marks = [];
  for (let when = first; when <= last; when += step * DAY) {
    marks.push(svg("text", { x: x(when), y: height - 8, "text-anchor": "middle" }, dayText(when)));
  }
  return marks;
}

// The smallest of 1, 2, 5 times a power of ten that is not below.
function pleasant(least) {
  const power = 10 ** Math.floor(Math.log10(least || 1));
  return [1, 2, 5, 10].find((factor) => factor * power >= least * 0.999) * power;
}
