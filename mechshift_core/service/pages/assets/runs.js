/** The list of runs keeps itself up to date; focus, selection and scroll stay where they are. */
import { current, say } from "./common.js";

const GOING = 1500;
const RESTING = 15000;
const table = () => document.querySelector("table.runs");
let timer = 0;

function patch(row, wanted) {
  [...wanted.cells].forEach((cell, at) => {
    const own = row.cells[at];
    if (cell.classList.contains("pick") || own.innerHTML === cell.innerHTML) return;
    const bar = own.querySelector("progress"), next = cell.querySelector("progress");
    if (bar && next && own.querySelectorAll("*").length === cell.querySelectorAll("*").length) {
      bar.max = next.max;
      bar.value = next.value;
      say(own.querySelector(".what"), cell.querySelector(".what").textContent);
      say(own.querySelector(".state"), cell.querySelector(".state").textContent);
      own.querySelector(".state").className = cell.querySelector(".state").className;
      return;
    }
    if (own.contains(document.activeElement)) return;
    own.replaceChildren(...[...cell.childNodes].map((node) => document.importNode(node, true)));
  });
}

async function refresh() {
  const fresh = await current();
  const own = table(), theirs = fresh?.querySelector("table.runs");
  if (own && theirs) {
    const rows = new Map([...own.tBodies[0].rows].map((row) => [row.dataset.name, row]));
    const focused = document.activeElement;
    let place = own.tBodies[0].firstElementChild;
    for (const wanted of theirs.tBodies[0].rows) {
      let row = rows.get(wanted.dataset.name);
      if (row) {
        rows.delete(wanted.dataset.name);
        patch(row, wanted);
      } else {
        row = document.importNode(wanted, true);
      }
      if (row === place) place = place.nextElementSibling;
      else own.tBodies[0].insertBefore(row, place);
    }
    rows.forEach((row) => row.remove());
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    own.dataset.going = theirs.dataset.going;
    say(document.getElementById("total"), fresh.getElementById("total").textContent);
    count();
  } else if (fresh && !own && theirs) {
    location.reload();
  }
  plan();
}

function plan() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, table()?.dataset.going === "yes" ? GOING : RESTING);
}

function count() {
  const chosen = document.querySelectorAll("table.runs input:checked").length;
  const button = document.getElementById("compare");
  if (button) say(button, chosen ? `Compare ${chosen} selected` : "Compare selected");
}

document.addEventListener("change", (event) => {
  if (event.target.name === "run") count();
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
count();
plan();
