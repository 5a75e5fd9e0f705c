"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  // Tables: a button in each heading sorts; what is no number goes last either way.
  const powers = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const number = text => {
    const plain = text.replace(/[−⁻]/g, "-").replace(/[⁰¹²³⁴-⁹]/g, c => powers.indexOf(c)).replace(/[,\s<>%]/g, "");
    const [head, power] = plain.split("×10");
    return head === "" ? NaN : Number(power === undefined ? head : `${head}e${power}`);
  };
  const sort = (table, column, heading) => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    const numeric = heading.classList.contains("n");
    const body = table.tBodies[0];
    const keyed = [...body.rows].map(row => {
      const text = row.cells[column].textContent.trim();
      const key = numeric ? number(text) : text;
      return { row, key, last: numeric ? Number.isNaN(key) : text === "–" };
    });
    keyed.sort((a, b) => {
      if (a.last || b.last) return a.last - b.last;
      const order = numeric ? a.key - b.key : a.key.localeCompare(b.key, "en", { numeric: true });
      return down ? -order : order;
    });
    body.append(...keyed.map(one => one.row));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  };
  for (const table of all("table.cells")) {
    if (table.tBodies[0].rows.length < 2) continue;
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = make("button", { type: "button" }, ...heading.childNodes);
      button.addEventListener("click", () => sort(table, column, heading));
      heading.append(button);
    });
  }

  // One task or pair: panels and rows of the others go away on the screen, not on paper.
  const filters = document.querySelector(".filters");
  if (filters) {
    const choices = all("select", filters);
    const choice = ["task", "pair"].map(kind => choices.find(one => one.name === kind));
    const names = choice.map(one => new Set(one ? [...one.options].slice(1).map(option => option.value) : []));
    const texts = element => all("bdi", element).map(one => one.textContent);
    const things = all(".panel").map(panel => {
      const [task, rest = ""] = texts(panel.querySelector("figcaption"));
      const pair = [...names[1]].find(name => rest === name || rest.startsWith(`${name}, `));
      return { element: panel, of: [names[0].has(task) ? task : null, pair ?? null] };
    });
    for (const table of all("table.cells")) {
      const headings = [...table.tHead.rows[0].cells].map(cell => cell.textContent.trim());
      const columns = ["task", "pair"].map(name => headings.indexOf(name));
      if (Math.max(...columns) < 0) continue;
      for (const row of table.tBodies[0].rows) {
        things.push({ element: row, of: columns.map(at => (at < 0 ? null : row.cells[at].textContent)) });
      }
    }
    const status = filters.querySelector("output");
    const filter = () => {
      const wanted = choice.map(one => one?.value);
      let away = 0;
      for (const { element, of } of things) {
        const hidden = of.some((name, at) => wanted[at] && name !== null && name !== wanted[at]);
        element.classList.toggle("away", hidden);
        away += hidden && element.classList.contains("panel");
      }
      if (wanted.some(Boolean)) for (const rest of all("details.rest")) rest.open = true;
      status.textContent = away ? `${away} panels hidden` : "";
    };
    choices.forEach(one => one.addEventListener("change", filter));
    filters.hidden = false;
    filter();
  }

  // Drawings: what the pointer is on, or the keyboard has reached, is said beside it.
  const tip = document.body.appendChild(make("div", { class: "tip control", "aria-hidden": "true", hidden: "" }));
  const live = document.body.appendChild(make("div", { class: "unseen", role: "status" }));
  const said = new WeakMap();
  for (const title of all(".panel svg title")) {
    said.set(title.parentNode, title.textContent);
    title.remove();
  }
  let marked = null;
  const hide = () => {
    tip.hidden = true;
    marked?.classList.remove("marked");
    marked = null;
  };
  const say = (element, text) => {
    hide();
    marked = element;
    element.classList.add("marked");
    tip.textContent = text;
    tip.hidden = false;
    const box = element.getBoundingClientRect();
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    const left = Math.max(Math.min(box.left + box.width / 2 - tip.offsetWidth / 2, room), 8);
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above > 0 ? above : box.bottom + 8) + scrollY}px`;
  };
  const marks = drawing => all("*", drawing).filter(one => said.has(one) && one.checkVisibility());
  for (const figure of all(".panels")) {
    const drawings = all("svg[role=img]", figure);
    drawings.forEach((drawing, at) => {
      let reached = -1;
      drawing.setAttribute("tabindex", at ? -1 : 0);
      drawing.setAttribute("aria-describedby", "keys");
      drawing.addEventListener("focus", () => {
        reached = -1;
        if (drawing.matches(":focus-visible")) say(drawing, drawing.getAttribute("aria-label"));
      });
      drawing.addEventListener("blur", hide);
      drawing.addEventListener("pointerover", event => {
        if (said.has(event.target)) say(event.target, said.get(event.target));
      });
      drawing.addEventListener("pointerout", hide);
      drawing.addEventListener("keydown", event => {
        const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
        if (!step) return;
        event.preventDefault();
        if (step[0]) {
          const seen = drawings.filter(one => one.checkVisibility());
          const next = seen[seen.indexOf(drawing) + step[0]];
          if (!next) return;
          drawing.setAttribute("tabindex", -1);
          next.setAttribute("tabindex", 0);
          next.focus();
        } else {
          const found = marks(drawing);
          if (!found.length) return;
          reached = (reached + step[1] + found.length + (reached < 0 && step[1] < 0)) % found.length;
          say(found[reached], said.get(found[reached]));
          live.textContent = tip.textContent;
        }
      });
    });
  }
  document.addEventListener("keydown", event => {
    if (event.key === "Escape") hide();
  });
  addEventListener("beforeprint", hide);
})();
