"use strict";
// What the circuits of a page are at any K, without drawing anything: from the page's data to edges, boxes and fates.
const circuitModel = data => {
  const FATES = ["kept", "lost", "gained"];
  const edges = data.edges.map(([source, target, path]) => ({ source, target, path }));
  const spots = data.spots.map(([label, words, layer, kind, x, y, width, height, tie, shownBy, names]) =>
    ({ label, words, layer, kind, x, y, width, height, tie, shownBy, names }));
  // Of each node of the graph the boxes that have its edges, the one that stands for it first.
  const boxes = data.names.map(() => []);
  spots.forEach((spot, at) => spot.names.forEach(name => {
    boxes[name][spot.shownBy.includes(name) ? "unshift" : "push"](at);
  }));
  // An edge without a rank has the score 0: it is in no circuit.
  const panels = data.panels.map(panel => {
    const rows = panel.rows.map(([edge, before, scoreBefore, after, scoreAfter]) =>
      ({ edge, ranks: [before, after].map(rank => rank || Infinity), scores: [scoreBefore, scoreAfter] }));
    const top = [0, 1].map(side => Math.max(...rows.map(row => Math.abs(row.scores[side] ?? 0))) || 1);
    return { ...panel, rows, top };
  });

  const fateOf = (ranks, k) => {
    const [before, after] = ranks.map(rank => rank <= k);
    return before && after ? "kept" : before ? "lost" : after ? "gained" : "none";
  };
  const countsOf = (panel, k) => {
    const counts = { kept: 0, lost: 0, gained: 0, none: 0 };
    for (const row of panel.rows) counts[fateOf(row.ranks, k)] += 1;
    return counts;
  };
  // Magnitude relative to each model's largest edge, mean over the circuits that the edge is in.
  const weightOf = (panel, row, k) => {
    const inside = [0, 1].filter(side => row.ranks[side] <= k);
    return inside.reduce((sum, side) => sum + Math.abs(row.scores[side]) / panel.top[side], 0) / inside.length;
  };
  const rowsOf = (panel, names) =>
    panel.rows.filter(({ edge }) => names.includes(edges[edge].source) || names.includes(edges[edge].target));
  // A box is in a circuit as soon as one of its edges is.
  const bestOf = rows => [0, 1].map(side => Math.min(Infinity, ...rows.map(row => row.ranks[side])));

  const written = value => {  // a number as the page writes numbers
    if (value === null) return "–";
    const size = Math.abs(value);
    const text = size === 0 ? "0"
      : size < 0.0005 ? value.toExponential(1)
      : size >= 1000 ? Math.round(value).toLocaleString("en")
      : value.toFixed(size < 10 ? 3 : size < 100 ? 2 : 1);
    const [head, power] = text.replace(/^-/, "−").split("e");
    if (power === undefined) return head;
    return `${head} × 10${[...power].map(one => (one === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[one])).join("")}`;
  };
  const listed = counts => FATES.map(fate => `${counts[fate]} ${fate}`).join(", ");
  const within = rank => {
    const found = data.ks.filter(k => rank <= k);
    return `${found.length} of ${data.ks.length}${found.length ? ` (K ≥ ${found[0]})` : ""}`;
  };
  const wordsOf = name => spots[boxes[name][0]]?.words ?? data.names[name];

  const parts = { FATES, edges, spots, boxes, panels };
  return { ...parts, fateOf, countsOf, weightOf, rowsOf, bestOf, written, listed, within, wordsOf };
};
