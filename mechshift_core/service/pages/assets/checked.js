/** What a check with models found, as the page without a script shows it. */
import { duration, isolated, make } from "./common.js";

const fact = (name, text) => make("div", {}, make("dt", {}, name), make("dd", {}, text));

export function render(found) {
  const shown = [make("h2", {}, "What the check found")];
  shown.push(...found.warnings.map((one) => make("p", { className: "warning" }, isolated(one))));
  const { cost } = found;
  if (cost) {
    const left = cost.missing === cost.cells ? "" : `, ${cost.missing} to be computed`;
    const time = cost.seconds === null ? cost.text : duration(cost.seconds);
    shown.push(make("dl", { className: "facts" }, fact("Cells", `${cost.cells}${left}`),
      fact("Passes through models", cost.passes), fact("Expected time", cost.missing ? time : cost.text)));
  }
  if (found.tasks.length) shown.push(prompts(found.tasks));
  return shown;
}

function prompts(tasks) {
  const head = ["Task", "Asked for", "Found", "Aligned", "Read", "Left out"].map((name, at) =>
    make("th", { scope: "col", className: at > 0 && at < 5 ? "n" : "" }, name));
  const rows = tasks.map((one) => make("tr", {}, make("th", { scope: "row", className: "s" }, isolated(one.task)),
    ...["asked", "found", "aligned", "read"].map((name) => make("td", { className: "n" }, String(one[name]))),
    make("td", { className: "l" }, isolated(one.dropped.map(left).join("; ") || "–"))));
  const table = make("table", { className: "cells" }, make("caption", {}, "Prompts of each task"),
    make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  return make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Prompts of each task" }, table);
}

function left({ reason, count, lines }) {
  return `${count} × ${reason}${lines?.length ? ` (lines ${lines.join(", ")})` : ""}`;
}
