/** What may stand at a place of a spec, by its JSON Schema and by the names that the spec itself gives. */

const REFERENCES = { before: "models", after: "models", pair: "pairs", task: "tasks", of: "interventions" };

/** Suggestions at a place: `{text, detail, key}`, those that begin with the word first. */
export function suggest(schema, place, text) {
  const frames = place.frames;
  let nodes = [schema];
  for (const [number, frame] of frames.entries()) {
    nodes = nodes.flatMap((node) => expand(schema, node, frame.values ?? {}));
    const last = number === frames.length - 1;
    if (last && place.mode === "key") return matching(keys(schema, nodes, frame.values), place.prefix);
    if (frame.kind === "map") nodes = nodes.flatMap((node) => property(node, frame.key));
    else nodes = nodes.flatMap((node) => (node.items ? [node.items] : node.prefixItems ? [node.prefixItems[0]] : []));
  }
  const found = nodes.flatMap((node) => expand(schema, node, {})).flatMap(values);
  const section = REFERENCES[frames.at(-1).key ?? frames.at(-2)?.key];
  if (section) found.push(...named(text, section).map((name) => ({ text: name, detail: `of ${section}` })));
  return matching(unique(found), place.prefix);
}

/** A schema without references and alternatives: all that it may be, or the one that `kind` says. */
function expand(schema, node, beside) {
  if (node.$ref) return expand(schema, node.$ref.split("/").slice(1).reduce((at, step) => at[step], schema), beside);
  const several = node.anyOf ?? node.oneOf ?? node.allOf;
  if (!several) return [node];
  const { propertyName, mapping } = node.discriminator ?? {};
  const chosen = mapping?.[beside[propertyName]];
  return chosen ? expand(schema, { $ref: chosen }, beside) : several.flatMap((one) => expand(schema, one, beside));
}

function property(node, key) {
  const own = node.properties?.[key];
  if (own) return [own];
  const pattern = Object.entries(node.patternProperties ?? {}).find(([one]) => new RegExp(one).test(key ?? ""));
  if (pattern) return [pattern[1]];
  return typeof node.additionalProperties === "object" ? [node.additionalProperties] : [];
}

function keys(schema, nodes, there) {
  const found = nodes.flatMap((node) => [
    ...Object.entries(node.properties ?? {}).map(([name, one]) => ({
      text: name,
      key: true,
      detail: described(schema, one),
      needed: node.required?.includes(name) ?? false,
    })),
    ...(node.properties ? [] : values(node)),
  ]);
  return unique(found).filter((one) => !(one.text in there)).sort((a, b) => b.needed - a.needed);
}

function described(schema, node) {
  const text = node.description ?? (node.$ref ? expand(schema, node, {})[0]?.description : "") ?? "";
  return text.replace(/`/g, "").split(/(?<=\.)\s/)[0];
}

function values(node) {
  if (node.const !== undefined) return [{ text: String(node.const), detail: "" }];
  if (node.enum) return node.enum.filter((one) => one !== null).map((one) => ({ text: String(one), detail: "" }));
  return node.type === "boolean" ? [{ text: "true", detail: "" }, { text: "false", detail: "" }] : [];
}

function unique(found) {
  return [...new Map(found.toReversed().map((one) => [one.text, one])).values()].toReversed();
}

function matching(found, prefix) {
  const wanted = prefix.toLowerCase();
  const fits = found.filter((one) => one.text.toLowerCase().includes(wanted));
  return fits.sort((a, b) => b.text.toLowerCase().startsWith(wanted) - a.text.toLowerCase().startsWith(wanted));
}

/** The names that a section of the spec gives. */
function named(text, section) {
  const start = new RegExp(`^${section}:`, "m").exec(text);
  if (!start) return [];
  const body = text.slice(start.index + start[0].length).split(/\n(?=[a-z])/)[0];
  const pattern = section === "models" ? /(?:^|[{,])[ \t]*([\w.-]+):\s*(?=\{|\n)/gm : /\bname:\s*([\w.-]+)/g;
  return [...new Set([...body.matchAll(pattern)].map((one) => one[1]))];
}
