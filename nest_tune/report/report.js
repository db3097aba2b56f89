"use strict";
// Values of a chart by mouse, touch and arrow keys; tables sorted by a column. Without it, titles
// of the drawings show the values, and tables stand in their own order.
(() => {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);
  let shown = null;

  const hide = () => {
    tip.hidden = true;
    if (shown) shown.classList.remove("pointed");
    shown = null;
  };

  const show = (mark) => {
    hide();
    shown = mark;
    mark.classList.add("pointed");
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const box = mark.getBoundingClientRect();
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    const left = Math.max(8, Math.min(box.left + box.width / 2 - tip.offsetWidth / 2, room));
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 0 ? above : box.bottom + 8}px`;
  };

  for (const chart of document.querySelectorAll(".chart svg")) {
    const marks = [...chart.querySelectorAll("title")].map((title) => {
      const mark = title.parentElement;
      mark.dataset.tip = title.textContent;
      title.remove(); // one tip, not two
      return mark;
    });
    if (!marks.length) continue;
    const at = (mark) => mark.getBBox().x;
    let order = null;
    chart.setAttribute("tabindex", "0");
    chart.setAttribute("aria-describedby", "tip");
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const end = { Home: 0, End: marks.length - 1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step && end === undefined) return;
      event.preventDefault();
      order ??= marks.slice().sort((one, other) => at(one) - at(other));
      const last = order.indexOf(shown);
      const next = end ?? (last < 0 ? (step > 0 ? 0 : order.length - 1) : last + step);
      show(order[(next + order.length) % order.length]);
    });
    chart.addEventListener("blur", hide);
    for (const mark of marks) {
      for (const kind of ["pointerenter", "pointerdown"]) {
        mark.addEventListener(kind, () => show(mark));
      }
      mark.addEventListener("pointerleave", (event) => {
        if (event.pointerType === "mouse") hide();
      });
    }
  }
  window.addEventListener("scroll", hide, { passive: true });

  // A figure with what may stand behind it (unit, interval, note): names that begin with a digit
  // are none. Nothing and "–" have no value.
  const figure = /^[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?(?=\s|%|$)/i;
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim().replace(/\u2212/g, "-");
    const found = figure.exec(text);
    if (found) return parseFloat(found[0].replace(/,/g, ""));
    return text === "\u2013" ? "" : text;
  };
  // Figures before words; figures in words count as numbers, so that conv_10 follows conv_2.
  const compare = (one, other) => {
    if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
    if (typeof one === "number") return one - other;
    return one.localeCompare(other, undefined, { numeric: true });
  };

  // A graph wider than the page begins in its middle, where the trunk of most networks is.
  for (const plan of document.querySelectorAll(".plan")) {
    plan.scrollLeft = (plan.scrollWidth - plan.clientWidth) / 2;
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const sort = () => {
        const falls = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falls ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [value(row, column), row]);
        // Empty cells stay last in both directions.
        rows.sort(([one], [other]) =>
          one === "" || other === ""
            ? (one === "") - (other === "")
            : falls ? compare(other, one) : compare(one, other));
        body.append(...rows.map(([, row]) => row));
      };
      head.tabIndex = 0;
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        sort();
      });
    });
  }
})();
