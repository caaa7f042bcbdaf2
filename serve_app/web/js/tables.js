// Tables that stay tables: on a narrow screen each row is a card, and the roles still say what is what.

import { h } from "./dom.js";

// Columns: { title, cell(row), number?, head?, long? }. `options`: caption, key(row), mark(row).
export function table(columns, rows, { caption, mark = () => null, fresh = () => false, hideCaption = false }) {
  return h(
    "table",
    { class: "cards", role: "table" },
    h("caption", hideCaption ? { class: "unseen" } : {}, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map(heading))),
    h(
      "tbody",
      { role: "rowgroup" },
      rows.map((row) =>
        h("tr", { role: "row", class: [mark(row), fresh(row) && "fresh"].filter(Boolean).join(" ") || null }, columns.map((column) => cell(column, row))),
      ),
    ),
  );
}

const heading = (column) =>
  h("th", { role: "columnheader", scope: "col", class: column.number ? "number" : null }, column.title);

function cell(column, row) {
  const content = column.cell(row);
  if (column.head) return h("th", { role: "rowheader", scope: "row" }, content);
  const names = [column.number && "number", column.long && "long"].filter(Boolean).join(" ");
  return h("td", { role: "cell", class: names || null, "data-label": column.title }, content);
}
