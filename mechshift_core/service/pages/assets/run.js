/** A run as it goes on: progress and log by server-sent events, the rest of the page whenever something has changed. */
import { current, duration, say, visible } from "./common.js";

const MOST = 400000;
const PARTS = ["status", "verdicts", "report", "files"];
const status = () => document.getElementById("status");
const log = document.getElementById("log");
const encoder = new TextEncoder();
let source = null, known = "", attempt = 0, polling = 0, asked = -3000;

/** Put in what the server has now, part by part; a report that is shown stays as it is. */
async function update() {
  const fresh = await current();
  if (!fresh) return false;
  for (const id of PARTS) {
    const own = document.getElementById(id), next = fresh.getElementById(id);
    if (!own || !next || own.outerHTML === next.outerHTML) continue;
    if (id === "report" && own.querySelector("iframe") && next.querySelector("iframe") && !ended()) continue;
    const open = [...own.querySelectorAll("details")].map((one) => one.open);
    const focused = own.contains(document.activeElement) ? document.activeElement.textContent : null;
    const made = document.importNode(next, true);
    made.querySelectorAll("details").forEach((one, at) => (one.open = open[at] ?? false));
    own.replaceWith(made);
    if (focused !== null) {
      const again = [...made.querySelectorAll("a, button, summary")].find((one) => one.textContent === focused);
      (again ?? document.getElementById("main")).focus({ preventScroll: true });
    }
  }
  document.title = fresh.title;
  return true;
}

const ended = () => status().dataset.going === "no";

function show(run) {
  const box = document.querySelector("#progress .progress"), found = run.progress;
  if (box && found) {
    box.hidden = false;
    const bar = box.querySelector("progress");
    bar.max = found.total || 1;
    bar.value = found.done;
    say(box.querySelector(".what"), `${found.done} of ${found.total}${(found.seconds_left ?? 0) < 1 ? "" : `, about ${duration(found.seconds_left)} left`}`);
    failures();
    say(document.querySelector("#progress .now"), `Now: ${visible(found.what)}`);
  }
  say(document.getElementById("attempts"), String(run.attempts));
  const now = [run.state, run.attempts, run.supported, run.refuted, run.inconclusive, run.not_estimable].join();
  if (known && now !== known) update();
  known = now;
}

/** Which cells have failed so far is asked now and then, while progress is made. */
async function failures() {
  if (performance.now() - asked < 3000) return;
  asked = performance.now();
  const own = document.getElementById("failed"), next = (await current())?.getElementById("failed");
  if (own?.isConnected && next && own.outerHTML !== next.outerHTML) own.replaceWith(document.importNode(next, true));
}

function write(part) {
  if (!log) return;
  const begin = part.next - encoder.encode(part.text).length;
  if (begin <= 0 || part.attempt !== attempt) log.textContent = "";
  attempt = part.attempt;
  const below = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(visible(part.text));
  if (log.textContent.length > MOST) log.textContent = log.textContent.slice(-MOST / 2);
  if (below) log.scrollTop = log.scrollHeight;
  document.getElementById("log-none").hidden = true;
}

function watch() {
  source = new EventSource(`/api/v1/runs/${encodeURIComponent(status().dataset.run)}/events`);
  source.addEventListener("run", (event) => show(JSON.parse(event.data)));
  source.addEventListener("log", (event) => write(JSON.parse(event.data)));
  source.addEventListener("end", async () => {
    source.close();
    if (!(await update())) location.reload();
    else if (!ended()) poll();
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) poll(); // too many pages watch, or nobody is let in: ask now and then
  });
}

function poll() {
  clearTimeout(polling);
  polling = setTimeout(async () => {
    await update();
    if (!ended()) poll();
  }, 3000);
}

if (log) log.scrollTop = log.scrollHeight;
if (!ended()) {
  known = "";
  if (status().querySelector("#progress")) watch();
  else poll();
}
// A browser opens few connections to one server: pages that nobody looks at leave theirs to others.
document.addEventListener("visibilitychange", () => {
  if (ended() || !status().querySelector("#progress")) return;
  if (document.hidden) source?.close();
  else if (source?.readyState === EventSource.CLOSED) update().then(() => ended() || watch());
});
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (event) => event.persisted && location.reload());
