"use strict";
(() => {
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent.trim();
  };

  // Numbers by size, words by alphabet, undefined entries last whichever way the column is sorted.
  const compare = (a, b, sign) => {
    const missing = (key) => key === "" || key === "–";
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    const difference = Number(a) - Number(b);
    return sign * (Number.isNaN(difference) ? a.localeCompare(b, undefined, { numeric: true }) : difference);
  };

  const sortBy = (table, heading) => {
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const column = heading.cellIndex;
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => compare(keyOf(a, column), keyOf(b, column), ascending ? 1 : -1));
    body.append(...rows);
  };

  for (const table of document.querySelectorAll("table[data-sortable]")) {
    for (const heading of table.tHead.rows[0].cells) {
      heading.querySelector("button").addEventListener("click", () => sortBy(table, heading));
    }
  }

  for (const field of document.querySelectorAll("input[data-filter]")) {
    const body = document.getElementById(field.dataset.filter).tBodies[0];
    const count = document.querySelector(`output[data-count="${field.dataset.filter}"]`);
    field.addEventListener("input", () => {
      const words = field.value.trim().toLowerCase();
      let shown = 0;
      for (const row of body.rows) {
        row.hidden = !row.textContent.toLowerCase().includes(words);
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = words ? `${shown} of ${body.rows.length} rows` : `${body.rows.length} rows`;
    });
  }

  // Paper has no disclosure triangles: what is folded on the screen is printed in full.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const part of folded) part.open = true;
  });
  addEventListener("afterprint", () => {
    for (const part of folded) part.open = false;
  });
})();
