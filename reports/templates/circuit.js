// The circuits to explore: one drawing at a time at any K, whose nodes and edges can be pointed at and pinned.
// Where things are, and how an edge runs, comes from the page; what is drawn follows from ranks and K alone. Every
// text is set as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("circuit-data").textContent);
  const home = document.querySelector(".circuits");
  if (!home) return;
  const SVG = "http://www.w3.org/2000/svg";
  const model = circuitModel(data);
  const { FATES, edges, spots, boxes, panels, fateOf, countsOf, rowsOf, bestOf } = model;
  const { written, listed, within, wordsOf } = model;
  const LISTED = 12;  // edges of a node that the panel lists
  const HINT = "Point at a node or an edge. A click or a tap holds it; a second one, or Escape, lets it go. "
    + "By keyboard: Tab goes from layer to layer, arrows to neighbours; Enter holds, again goes on to the edges.";
  const SAID = { kept: "in both circuits", lost: "only before", gained: "only after", none: "in neither circuit" };
  const fill = (made, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const draw = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  // What is looked at. A thing is "e3" (the edge 3) or "s5" (the spot 5).
  const state = { panel: 0, k: data.k, view: "overlaid", pinned: null, pointed: null };
  const panel = () => panels[state.panel];
  let drawn = [];  // {thing, element} of the drawing

  // Controls
  const live = make("div", { class: "unseen", role: "status" });
  const slider = make("input", { type: "range", id: "edges", min: 1, max: data.largest, list: "edge-stops" });
  const shown = make("output", { for: "edges" });
  const stops = [...new Set([...data.ks, data.k])].sort((a, b) => a - b);
  const marks = stops.map(k => make("button", { type: "button", value: k, "aria-label": `K = ${k}` }, String(k)));
  const beyond = data.left.length ? `The page has no room for K = ${data.left.join(", ")}: see the table edges.` : "";
  const sliderRow = make("div", { class: "slider" },
    make("label", { for: "edges" }, "Edges of each model (K)"), slider, shown,
    make("datalist", { id: "edge-stops" }, ...stops.map(k => make("option", { value: k, label: k }))),
    make("div", { class: "stops", role: "group", "aria-label": "K to go to" }, ...marks), beyond);
  const VIEWS = [["overlaid", "both models overlaid"], ["beside", "side by side"], ["all", "all drawings"]];
  const views = make("fieldset", { class: "switch views" }, make("legend", {}, "View"), ...VIEWS.map(([value, words]) =>
    make("label", {}, make("input", { type: "radio", name: "circuit-view", value, autocomplete: "off" }), words)));
  const picks = make("div", { class: "picks", role: "group", "aria-label": "Circuits to choose from" });
  const stage = make("div", { class: "stage", role: "group" });
  const facts = make("div", { class: "facts", role: "region", "aria-label": "What is pointed at", tabindex: 0 });
  const explorer = make("div", { class: "explorer control" }, views, picks, sliderRow, stage, facts, live);

  const tasks = [...new Set(panels.map(one => one.task))];
  const pairs = [...new Set(panels.map(one => one.pair))];
  const choices = panels.map((one, at) => {
    const parts = FATES.map(fate => make("span", { class: fate }));
    const share = make("span", { class: "share", "aria-hidden": "true" }, ...parts);
    const button = make("button", { type: "button" }, make("span"), share);
    button.addEventListener("click", () => choose({ panel: at }));
    return { button, share };
  });
  picks.append(make("table", {},
    make("thead", {}, make("tr", {}, make("td"), ...pairs.map(pair => make("th", { scope: "col" }, pair)))),
    make("tbody", {}, ...tasks.map(task => make("tr", {}, make("th", { scope: "row" }, task), ...pairs.map(pair => {
      const at = panels.findIndex(one => one.task === task && one.pair === pair);
      return make("td", {}, at < 0 ? "–" : choices[at].button);
    }))))));

  // The drawing
  const edgeOf = (row, fate, k) => {
    const step = 1 + Math.min(5, Math.floor(6 * model.weightOf(panel(), row, k)));
    const path = draw("path", { d: edges[row.edge].path, class: `edge ${fate} w${step}` });
    drawn.push({ thing: `e${row.edge}`, element: path });
    return path;
  };
  const boxOf = (at, fate) => {
    const { label, words, kind, x, y, width, height } = spots[at];
    const small = data.dense || kind === "port";
    const box = draw("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: kind === "head" ? 6 : 2.5 });
    const text = draw("text", { x, y: y + (small ? 3 : 3.7), class: small && kind !== "bar" ? "small" : "" }, label);
    const named = { role: "button", tabindex: -1, "aria-label": `${words}: ${SAID[fate]}`, "aria-pressed": false };
    const made = draw("g", { class: `node ${kind} ${fate}`, ...named }, box, text);
    drawn.push({ thing: `s${at}`, element: made });
    return made;
  };
  const picture = (side, title) => {
    const k = state.k;
    const rows = panel().rows.map(row => ({ row, fate: fateOf(row.ranks, k) }))
      .filter(({ row, fate }) => (side === null ? fate !== "none" : row.ranks[side] <= k) && edges[row.edge].path)
      .reverse();
    rows.sort((a, b) => FATES.indexOf(b.fate) - FATES.indexOf(a.fate));
    const used = rows.map(one => one.row);
    const ties = [], nodes = [];
    spots.forEach((spot, at) => {
      const touches = ({ edge }) => [edges[edge].source, edges[edge].target].some(name => spot.shownBy.includes(name));
      if (!used.some(touches)) return;
      if (spot.tie) ties.push(draw("path", { d: spot.tie, class: "tie" }));
      nodes.push(boxOf(at, fateOf(bestOf(rowsOf(panel(), spot.shownBy)), k)));
    });
    const viewBox = `0 0 ${data.width} ${data.height}`;
    const svg = draw("svg", { class: "circuit", role: "group", "aria-label": title, viewBox },
      draw("use", { href: "#circuit-frame" }), ...ties, ...rows.map(({ row, fate }) => edgeOf(row, fate, k)), ...nodes);
    // As large as there is room for, but never so small that names cannot be read; a tall one goes beyond the window.
    const abreast = side === null ? 1 : 2;
    const room = (stage.clientWidth - 6 - 16 * (abreast - 1)) / abreast / data.width;
    const largest = Math.min(1.35, Math.max(data.dense ? 1.25 : 1, 0.9 * innerHeight / data.height));
    const smallest = data.dense && abreast === 1 ? 0.85 : data.dense ? 0.72 : 0.6;
    svg.style.width = `${Math.max(Math.min(room, largest), smallest) * data.width}px`;
    return make("div", {}, make("h3", {}, title), svg);
  };
  const layers = () => {  // of each drawing, the boxes of each layer from left to right
    const found = new Map();
    for (const { thing, element } of drawn) {
      if (thing[0] !== "s") continue;
      const key = `${[...stage.children].indexOf(element.closest(".stage > div"))} ${spots[thing.slice(1)].layer}`;
      found.set(key, [...(found.get(key) ?? []), element]);
    }
    return [...found.values()];
  };
  const show = () => {
    const { k, view } = state;
    explorer.classList.toggle("one", view !== "all");
    home.classList.toggle("one", view !== "all");
    slider.value = k;
    const counts = countsOf(panel(), k);
    slider.setAttribute("aria-valuetext", `${k} edges of each model: ${listed(counts)}`);
    shown.textContent = k;
    marks.forEach(mark => mark.setAttribute("aria-pressed", Number(mark.value) === k));
    choices.forEach(({ button, share }, at) => {
      const all = countsOf(panels[at], k);
      button.setAttribute("aria-pressed", at === state.panel);
      button.setAttribute("aria-label", `${panels[at].task}, ${panels[at].pair}: ${listed(all)}`);
      button.firstChild.textContent = listed(all);
      [...share.children].forEach((part, place) => (part.style.flexGrow = all[FATES[place]]));
    });
    if (view === "all") return;
    drawn = [];
    const { task, pair, models } = panel();
    const name = `${task}, ${pair}`;
    stage.setAttribute("aria-label", `Circuit of ${name}: ${listed(counts)}`);
    stage.replaceChildren(...(view === "beside"
      ? [0, 1].map(side => picture(side, `${name}: ${["before", "after"][side]}, ${models[side]}`))
      : [picture(null, `${name}: ${models[0]} and ${models[1]}`)]));
    stage.classList.toggle("many", counts.kept + counts.lost + counts.gained > 250);
    for (const row of layers()) row[0].setAttribute("tabindex", 0);
    light();
  };

  // What is pointed at, or pinned, stands out; the panel beside the drawing says what it is.
  const near = thing => {
    const found = new Set([thing]);
    const place = thing.slice(1);
    const touching = thing[0] === "e" ? [{ edge: place }]
      : rowsOf(panel(), spots[place].names).filter(row => fateOf(row.ranks, state.k) !== "none");
    for (const { edge } of touching) {
      found.add(`e${edge}`);
      for (const name of [edges[edge].source, edges[edge].target]) found.add(`s${boxes[name][0]}`);
    }
    return found;
  };
  const light = () => {
    const thing = state.pinned ?? state.pointed;
    const lit = thing ? near(thing) : new Set();
    stage.classList.toggle("dim", thing !== null);
    for (const { thing: one, element } of drawn) {
      element.classList.toggle("lit", lit.has(one));
      element.classList.toggle("pinned", one === state.pinned);
      if (one[0] === "s") element.setAttribute("aria-pressed", one === state.pinned);
    }
    tell(state.pointed ?? state.pinned);
  };
  const nameOf = thing => {
    if (thing[0] === "s") return spots[thing.slice(1)].words;
    const { source, target } = edges[thing.slice(1)];
    return `${wordsOf(source)} → ${wordsOf(target)}`;
  };
  const button = (thing, text, fate = "") => {
    const label = [nameOf(thing), fate].filter(Boolean).join(", ");
    const made = make("button", { type: "button", class: fate, "aria-label": label }, text);
    const mark = on => drawn.forEach(one => one.element.classList.toggle("marked", on && one.thing === thing));
    made.addEventListener("click", () => pin(thing, true));
    made.addEventListener("pointerenter", () => mark(true));
    made.addEventListener("pointerleave", () => mark(false));
    return made;
  };
  const table = (caption, columns, rows) => make("table", {}, make("caption", {}, caption),
    make("thead", {}, make("tr", {}, make("td"), ...columns.map(one => make("th", { scope: "col", class: "n" }, one)))),
    make("tbody", {}, ...rows.map(([head, ...cells]) =>
      make("tr", {}, make("th", { scope: "row" }, head), ...cells.map(one => make("td", {}, one))))));
  const place = rank => (Number.isFinite(rank) && rank > 0 ? String(rank) : "–");
  const sides = (caption, scores, ranks, inside) => table(caption, ["score", "rank", "in chosen K"], [0, 1].map(side =>
    [["before", "after"][side], written(scores[side]), place(ranks[side]), within(inside[side])]));
  const neighbours = (title, rows, end) => {
    const found = rows.map(row => ({ row, fate: fateOf(row.ranks, state.k) })).filter(one => one.fate !== "none");
    found.sort((a, b) => Math.min(...a.row.ranks) - Math.min(...b.row.ranks));
    if (!found.length) return [];
    const more = found.length > LISTED ? [make("li", {}, `and ${found.length - LISTED} more`)] : [];
    return [make("h4", {}, `${title}: ${found.length}`), make("ul", {}, ...found.slice(0, LISTED).map(({ row, fate }) =>
      make("li", {}, button(`e${row.edge}`, data.names[edges[row.edge][end]], fate))), ...more)];
  };
  const aboutEdge = at => {
    const row = panel().rows.find(one => one.edge === at);
    if (!row) return ["none", [make("p", {}, `Not among the ${data.largest} largest of either model here.`)]];
    const { roles, edges: byRole } = panel().byRole;
    const split = byRole[at];
    const { source, target } = edges[at];
    return [fateOf(row.ranks, state.k), [
      sides("The edge's score", row.scores, row.ranks, row.ranks),
      ...(split ? [table("Score by token role", ["before", "after"], roles.map((role, place) =>
        [role, written(split[0][place]), written(split[1][place])]))] : []),
      make("h4", {}, "From and to"), make("ul", {}, ...[source, target].filter(name => boxes[name].length).map(name =>
        make("li", {}, button(`s${boxes[name][0]}`, data.names[name])))),
    ]];
  };
  const aboutSpot = at => {
    const spot = spots[at];
    const rows = rowsOf(panel(), spot.names);
    const writes = spot.names.map(name => panel().scores[data.names[name]]).find(Boolean);
    const inside = bestOf(rowsOf(panel(), spot.shownBy));
    return [fateOf(inside, state.k), [
      writes ? sides(`Sum of its outgoing edges' scores; rank among ${data.sources} heads, MLPs and input`,
        [writes[0], writes[2]], [writes[1], writes[3]], inside)
        : make("p", {}, `In chosen K: before ${within(inside[0])}, after ${within(inside[1])}.`),
      ...neighbours("Incoming edges", rows.filter(({ edge }) => spot.names.includes(edges[edge].target)), "source"),
      ...neighbours("Outgoing edges", rows.filter(({ edge }) => spot.names.includes(edges[edge].source)), "target"),
    ]];
  };
  const about = thing => (thing[0] === "e" ? aboutEdge : aboutSpot)(Number(thing.slice(1)));
  const summary = thing => {
    const [fate, parts] = about(thing);
    const counted = parts.filter(one => one.matches("h4")).map(one => one.textContent);
    return [nameOf(thing), fate === "none" ? SAID.none : `${fate}, ${SAID[fate]}`, ...counted];
  };
  const tell = thing => {
    facts.classList.toggle("held", state.pinned !== null);
    if (thing === null) {
      facts.replaceChildren(make("p", {}, HINT));
      return;
    }
    const [fate, parts] = about(thing);
    const word = fate === "none" ? "At this K" : fate[0].toUpperCase() + fate.slice(1);
    const { source, target } = edges[thing.slice(1)] ?? {};
    const names = thing[0] === "e" ? [source, target] : spots[thing.slice(1)].shownBy.slice(0, 1);
    facts.replaceChildren(make("h3", {}, nameOf(thing)),
      make("p", {}, make("code", {}, names.map(name => data.names[name]).join(" → "))),
      make("p", {}, make("strong", {}, word), `: ${SAID[fate]}${thing === state.pinned ? " · held" : ""}`), ...parts);
  };
  const pin = (thing, keep = false) => {
    const inside = facts.contains(document.activeElement);
    state.pinned = thing === state.pinned && !keep ? null : thing;
    state.pointed = null;
    light();
    live.textContent = state.pinned ? `Held: ${summary(state.pinned).join("; ")}.` : "Let go.";
    if (inside && state.pinned) (facts.querySelector("button") ?? facts).focus();  // its buttons have been replaced
  };
  const point = thing => {
    if (thing === state.pointed) return;
    state.pointed = thing;
    light();
  };

  // Pointer: an edge is thin, so what is nearest within a few pixels counts.
  const NEAR = [[0, 0], [0, -3], [3, 0], [0, 3], [-3, 0], [5, 5], [-5, 5], [5, -5], [-5, -5]];
  const thingAt = event => {
    for (const [dx, dy] of NEAR) {
      const under = document.elementFromPoint(event.clientX + dx, event.clientY + dy);
      const found = drawn.find(one => one.element === under?.closest(".stage .node, .stage .edge"));
      if (found) return found.thing;
    }
    return null;
  };
  stage.addEventListener("pointermove", event => event.pointerType !== "touch" && point(thingAt(event)));
  stage.addEventListener("pointerleave", () => point(null));
  stage.addEventListener("click", event => {
    const thing = thingAt(event);
    if (thing || state.pinned) pin(thing);
  });

  // Keyboard: each layer is one stop of the Tab key; arrows go along it and to the nearest box of the next one.
  let last = null;
  stage.addEventListener("focusin", ({ target }) => {
    last = target;
    const row = layers().find(boxesOfLayer => boxesOfLayer.includes(target)) ?? [];
    for (const one of row) one.setAttribute("tabindex", one === target ? 0 : -1);
    if (target.matches(":focus-visible")) point(drawn.find(one => one.element === target)?.thing ?? null);
  });
  stage.addEventListener("focusout", () => point(null));
  const step = (target, across, up) => {
    const all = layers();
    const at = all.findIndex(row => row.includes(target));
    if (across) return all[at][all[at].indexOf(target) + across];
    const next = all[at + up] ?? [];
    const middle = one => one.getBoundingClientRect().left + one.getBoundingClientRect().width / 2;
    const away = one => Math.abs(middle(one) - middle(target));
    return [...next].sort((a, b) => away(a) - away(b))[0];
  };
  stage.addEventListener("keydown", event => {
    const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!way && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    if (way) return void step(event.target, ...way)?.focus();
    const thing = drawn.find(one => one.element === event.target)?.thing;
    if (thing && thing === state.pinned) facts.querySelector("button")?.focus();
    else if (thing) pin(thing);
  });
  explorer.addEventListener("keydown", event => {
    if (event.key !== "Escape" || !state.pinned) return;
    const inside = facts.contains(event.target);
    pin(null);
    if (inside && last?.isConnected) last.focus();
  });

  const choose = change => {
    Object.assign(state, change);
    show();
  };
  slider.addEventListener("input", () => choose({ k: Number(slider.value) }));
  marks.forEach(mark => mark.addEventListener("click", () => choose({ k: Number(mark.value) })));
  views.addEventListener("change", event => choose({ view: event.target.value }));
  // The page's filters choose here too: other tasks and pairs go, and with them the drawing of one that has gone.
  const filters = [...document.querySelectorAll(".filters select")];
  const filter = () => {
    const wanted = name => filters.find(one => one.name === name)?.value;
    const away = (one, name) => Boolean(wanted(name)) && wanted(name) !== one;
    const rows = [...picks.querySelectorAll("tr")];
    rows.forEach((row, at) => {
      row.classList.toggle("away", at > 0 && away(tasks[at - 1], "task"));
      [...row.cells].slice(1).forEach((cell, column) => cell.classList.toggle("away", away(pairs[column], "pair")));
    });
    const stays = one => !away(one.task, "task") && !away(one.pair, "pair");
    if (!stays(panel())) state.panel = Math.max(0, panels.findIndex(stays));
    show();
  };
  filters.forEach(one => one.addEventListener("change", filter));
  addEventListener("resize", () => show());
  home.querySelector(".still").before(explorer);
  views.querySelector("input").checked = true;
  filter();
})();
