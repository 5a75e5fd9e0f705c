/** Where in a YAML text a place is: the keys above it and what stands beside it. Tolerant, since people are typing. */

const KEY = /^("[^"]*"|'[^']*'|[\w.-]+)\s*:(?=\s|$)/;
const bare = (text) => text.trim().replace(/^(["'])(.*)\1$/, "$2");
const indentOf = (line) => line.length - line.trimStart().length;
const map = (indent, flow = false) => ({ kind: "map", indent, flow, key: null, values: {} });

/**
 * The frames around a place, the outermost first, and the word that stands before it.
 * A frame is a map (with its keys, and the one whose value holds the place) or a list.
 * Returns null within comments, block texts and quotes.
 */
export function placeAt(text, caret) {
  const lines = text.slice(0, caret).split("\n");
  const last = lines.length - 1;
  const state = { stack: [map(0)], token: "", block: -1, quoted: false, comment: false };
  for (let number = 0; number < last; number += 1) read(lines[number], state);
  const found = ending(lines[last], state);
  if (!found) return null;
  const top = found.frames.at(-1);
  if (top.kind === "map") Object.assign(top.values, top.flow ? flowAfter(text.slice(caret)) : blockAfter(text, caret, top.indent));
  return { ...found, start: caret - found.prefix.length };
}

const top = (state) => state.stack.at(-1);

function read(line, state) {
  if (top(state).flow) return void flow(line, state);
  const rest = line.trim();
  if (!rest || (state.block >= 0 && indentOf(line) > state.block)) return;
  state.block = -1;
  if (rest.startsWith("#")) return;
  block(line, state);
}

/** A line outside of braces: puts its frames on the stack, and returns what it says behind the last key or dash. */
function block(line, state) {
  const { stack } = state;
  let indent = indentOf(line), rest = line.trimStart(), dashed = false;
  while (stack.length > 1 && top(state).indent > indent) stack.pop();
  while (/^-(\s|$)/.test(rest)) {
    if (!(top(state).kind === "list" && top(state).indent === indent)) stack.push({ kind: "list", indent });
    const dash = /^-\s*/.exec(rest)[0];
    indent += dash.length;
    rest = rest.slice(dash.length);
    dashed = true;
  }
  while (!dashed && stack.length > 1 && top(state).kind === "list" && top(state).indent >= indent) stack.pop();
  const found = KEY.exec(rest);
  if (/^[{[]/.test(rest)) flow(rest, state);
  if (!found) return { rest, indent, keyed: false };
  if (!(top(state).kind === "map" && top(state).indent === indent)) stack.push(map(indent));
  const frame = top(state), value = rest.slice(found[0].length);
  frame.key = bare(found[1]);
  frame.values[frame.key] = bare(value.replace(/\s#.*$/, ""));
  if (/^\s*[{[]/.test(value)) flow(value, state);
  else if (/^\s+[|>]/.test(value)) state.block = frame.indent;
  return { rest: value, indent, keyed: true };
}

/** Text within braces and brackets. */
function flow(text, state) {
  const { stack } = state;
  const commit = () => {
    const frame = top(state);
    if (frame.kind === "map" && frame.key !== null) frame.values[frame.key] = bare(state.token);
    else if (frame.kind === "map" && state.token.trim()) frame.values[bare(state.token)] = "";
    state.token = "";
  };
  state.comment = false;
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at];
    if (state.quoted) {
      state.token += sign;
      if (sign === state.quoted) state.quoted = false;
    } else if (sign === "#" && (at === 0 || /\s/.test(text[at - 1]))) {
      state.comment = true;
      return;
    } else if ((sign === '"' || sign === "'") && !state.token.trim()) {
      state.quoted = sign;
      state.token += sign;
    } else if (sign === "{" || sign === "[") {
      state.token = "";
      stack.push(sign === "{" ? map(-1, true) : { kind: "list", indent: -1, flow: true });
    } else if (sign === "}" || sign === "]") {
      if (!top(state).flow) return;
      commit();
      stack.pop();
      if (!top(state).flow) return;
    } else if (sign === ",") {
      commit();
      if (top(state).kind === "map") top(state).key = null;
    } else if (sign === ":" && top(state).kind === "map" && top(state).key === null && /\s|^$/.test(text[at + 1] ?? "")) {
      top(state).key = bare(state.token);
      state.token = "";
    } else {
      state.token += sign;
    }
  }
  state.token += "\n";
}

/** The last line, up to the place. */
function ending(line, state) {
  if (top(state).flow) {
    flow(line, state);
  } else {
    if (state.block >= 0 && (indentOf(line) > state.block || !line.trim())) return null;
    if (/(^|\s)#/.test(line.replace(/"[^"]*"|'[^']*'/g, ""))) return null;
    const found = block(line.trim() ? line : `${line}x`, state);
    if (!top(state).flow) return inBlock(found, line, state);
  }
  if (state.quoted || state.comment) return null;
  const prefix = state.token.replace(/\n$/, "").replace(/^\s+/, "").split("\n").at(-1).trimStart();
  const frame = top(state);
  return { frames: state.stack, prefix, mode: frame.kind === "map" && frame.key === null ? "key" : "value" };
}

function inBlock({ rest, indent, keyed }, line, state) {
  if (keyed) {
    const value = rest.trimStart();
    if (!/^\s/.test(rest) || /^["'|>}\]]/.test(value)) return null;
    return { frames: state.stack, prefix: value, mode: "value" };
  }
  const prefix = line.trim() ? rest : "";
  if (/\s/.test(prefix)) return null;
  if (!(top(state).kind === "map" && top(state).indent === indent)) state.stack.push(map(indent));
  top(state).key = null;
  return { frames: state.stack, prefix, mode: "key" };
}

/** Keys that follow in the same braces. */
function flowAfter(text) {
  const found = {};
  let depth = 0, word = "";
  for (const sign of text.slice(0, 5000)) {
    if (sign === "{" || sign === "[") depth += 1;
    else if (sign === "}" || sign === "]") depth -= 1;
    else if (depth === 0 && sign === ",") word = "";
    else if (depth === 0 && sign === ":") found[bare(word)] = "";
    else word += sign;
    if (depth < 0) break;
  }
  const kind = /\bkind:\s*([\w.-]+)/.exec(text.split(/[}\]]/)[0]);
  if (kind) found.kind = kind[1];
  return found;
}

/** Keys that follow at the same indent. */
function blockAfter(text, caret, indent) {
  const found = {};
  for (const line of text.slice(caret).split("\n").slice(1)) {
    if (!line.trim() || line.trim().startsWith("#")) continue;
    if (indentOf(line) < indent) break;
    const key = indentOf(line) === indent ? KEY.exec(line.trim()) : null;
    if (key) found[bare(key[1])] = bare(line.trim().slice(key[0].length));
  }
  return found;
}
