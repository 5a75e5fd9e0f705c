/** The editor of a spec: checked as one types, with suggestions, and nothing that is written is lost. */
import { render } from "./checked.js";
import { isolated, make, plural, say } from "./common.js";
import { Completion } from "./completion.js";
import * as drafts from "./drafts.js";
import { Files } from "./files.js";
import { Lines } from "./lines.js";

const PAUSE = 300, AGAIN = 5000;
const form = document.getElementById("editing");
const area = document.getElementById("spec");
const said = document.getElementById("said");
const list = document.getElementById("problems");
const refused = document.getElementById("refused");
const pane = document.querySelector(".pane");
const lines = new Lines(area, document.querySelector(".gutter"), pane);
const hint = make("span", { className: "unseen", role: "status" });
pane.append(hint);
const completion = new Completion(area, pane, (at) => lines.where(at), (text) => say(hint, text));
const files = new Files(() => (store(), check()));
const { origin, asked } = form.dataset;
let timer = 0, asking = null, shown = "", sent = { content: "", key: "" }, busy = false;

async function post(address, body, options = {}) {
  const headers = { "content-type": "application/json", accept: "application/json", ...options.headers };
  const answer = await fetch(address, { method: "POST", body: JSON.stringify(body), signal: options.signal, headers });
  return { status: answer.status, content: await answer.json() };
}

function problems(found) {
  const now = JSON.stringify(found);
  const count = found.length;
  say(said, count ? `${plural(count, "problem")}: the first ${found[0].line ? `is in line ${found[0].line}` : "stands below"}` : "No problem found.");
  said.className = count ? "is-wrong" : "is-right";
  if (count) area.setAttribute("aria-invalid", "true");
  else area.removeAttribute("aria-invalid");
  const at = new Map();
  found.filter((one) => one.line).forEach((one) => at.set(one.line, [...(at.get(one.line) ?? []), one.message]));
  lines.mark(at);
  if (now === shown) return;
  shown = now;
  list.replaceChildren(...(count ? [make("ol", { className: "problems" }, ...found.map(problem))] : []));
}

function problem({ line, column, message }) {
  if (!line) return make("li", {}, isolated(message));
  const link = make("a", { href: "#spec", "data-line": line, "data-column": column }, `Line ${line}`);
  return make("li", {}, link, ": ", isolated(message));
}

async function check() {
  clearTimeout(timer);
  asking?.abort();
  asking = new AbortController();
  try {
    const names = Object.fromEntries(Object.keys(files.all).map((name) => [name, ""])); // that they are there is enough
    const body = { spec: area.value, files: names };
    const { status, content } = await post("/api/v1/specs/validate", body, { signal: asking.signal });
    if (status === 200) return problems(content.problems);
    say(said, status === 401 ? "You are logged out. Log in in another tab; your text stays here." : `Not checked: ${content.error.message}`);
    if (status === 429 || status === 503) timer = setTimeout(check, AGAIN);
  } catch (error) {
    if (error.name === "AbortError") return;
    say(said, "The server does not answer. Your text stays here, and is checked when it does.");
    timer = setTimeout(check, AGAIN);
  }
}

function store(text = area.value) {
  const whole = drafts.keep({ origin, text, files: files.all, changed: text !== area.defaultValue });
  if (!whole) say(document.getElementById("kept"), "The files are too large to be kept when this page is loaded again.");
}

function refuse(text) {
  refused.replaceChildren(isolated(text));
  refused.hidden = !text;
}

async function full() {
  const box = document.getElementById("checked");
  box.replaceChildren(make("p", { className: "muted" }, "Models and data are read. This takes seconds to minutes."));
  const { status, content } = await post("/api/v1/specs/validate", { spec: area.value, files: files.all, full: true });
  box.replaceChildren();
  if (status !== 200) return refuse(content.error.message);
  problems(content.problems);
  if (content.ok) box.replaceChildren(...render(content));
  else list.querySelector("a")?.focus();
}

async function submit() {
  const body = { spec: area.value, files: files.all }, content = JSON.stringify(body);
  if (sent.content !== content) {
    const key = [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join("");
    sent = { content, key }; // the same text sent again, after a broken connection say, is the same run
  }
  const answer = await post("/api/v1/runs", body, { headers: { "idempotency-key": sent.key } });
  if (answer.status === 202 || answer.status === 200) {
    drafts.done();
    removeEventListener("pagehide", leaving);
    location.assign(`/runs/${encodeURIComponent(answer.content.name)}`);
    return;
  }
  const { error } = answer.content;
  if (error.problems.length) problems(error.problems);
  if (error.problems.length) list.querySelector("a")?.focus();
  else refuse(answer.status === 401 ? "You are logged out. Log in in another tab, then submit again; your text stays here." : error.message);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (busy) return;
  const wanted = event.submitter?.value ?? "check";
  busy = true;
  form.setAttribute("aria-busy", "true");
  refuse("");
  try {
    await { submit, full, check }[wanted]();
  } catch {
    refuse("The server does not answer. Your text stays here; try again.");
  }
  busy = false;
  form.removeAttribute("aria-busy");
});

area.addEventListener("input", () => {
  lines.update();
  completion.show();
  clearTimeout(timer);
  timer = setTimeout(() => (store(), check()), PAUSE);
});
list.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-line]");
  if (!link) return;
  event.preventDefault();
  lines.go(Number(link.dataset.line), Number(link.dataset.column));
});

function put(draft) {
  area.value = draft.text;
  files.set(draft.files);
  lines.update();
  store();
  check();
}

/** Say that an earlier text is there, with a button that changes the two. */
function offer(words, label, draft) {
  const button = make("button", { type: "button", className: "plain" }, label);
  button.addEventListener("click", () => {
    const now = { origin, text: area.value, files: files.all, changed: true };
    put(draft);
    offer("Done.", "Undo that", now);
    drafts.putAside(now);
    area.focus();
  });
  document.getElementById("kept").replaceChildren(`${words} `, button);
}

const leaving = () => store();
const before = drafts.kept();
if (origin && before?.changed) {
  const fresh = { origin, text: area.defaultValue, files: files.all };
  if (asked === "no" || before.origin === origin) {
    put(before);
    if (before.text !== fresh.text) offer("This is what you wrote before.", "Start afresh", fresh);
  } else {
    drafts.putAside(before);
    offer("What you wrote before is kept.", "Take it back", before);
  }
} else if (origin && drafts.aside()) {
  offer("What you wrote before is kept.", "Take it back", drafts.aside());
}
addEventListener("pagehide", leaving);
document.getElementById("keys").hidden = false;
fetch("/api/v1/specs/schema").then((answer) => answer.json()).then((schema) => (completion.schema = schema)).catch(() => {});
check();
