/** A list of what may stand at the caret, to be chosen from with arrows and Enter; Escape closes it. */
import { make } from "./common.js";
import { suggest } from "./suggestions.js";
import { placeAt } from "./yaml_place.js";

const MOST = 60;

export class Completion {
  /** `where` says at which point of the pane the caret is. */
  constructor(area, pane, where, say) {
    Object.assign(this, { area, where, say, schema: null, found: [], active: -1, place: null });
    this.list = make("ul", { id: "suggestions", className: "suggestions", role: "listbox", hidden: true, "aria-label": "What may stand here" });
    pane.append(this.list);
    area.setAttribute("aria-autocomplete", "list");
    area.setAttribute("aria-controls", "suggestions");
    area.addEventListener("keydown", (event) => this.key(event));
    area.addEventListener("blur", () => this.close());
    area.addEventListener("scroll", () => this.close());
    area.addEventListener("click", () => this.close());
    this.list.addEventListener("mousedown", (event) => {
      event.preventDefault();
      const chosen = event.target.closest("li");
      if (chosen) this.take(Number(chosen.dataset.at));
    });
  }

  get open() {
    return !this.list.hidden;
  }

  /** Show what fits; unless asked for, only while a word or a value is typed. */
  show(asked = false) {
    const { area } = this;
    if (!this.schema || area.selectionStart !== area.selectionEnd) return this.close();
    const text = area.value, caret = area.selectionStart;
    const place = /[\w.-]/.test(text[caret] ?? "") ? null : placeAt(text, caret);
    if (!place || (!asked && !place.prefix && place.mode === "key")) return this.close();
    const found = suggest(this.schema, place, text).slice(0, MOST);
    if (!found.length || (found.length === 1 && found[0].text === place.prefix && !asked)) return this.close();
    this.place = place;
    this.found = found;
    this.list.replaceChildren(...found.map((one, at) =>
      make("li", { id: `suggestion-${at}`, role: "option", "data-at": at, "aria-selected": "false" },
        make("span", { className: "word" }, one.text), make("span", { className: "detail" }, one.detail ?? ""))));
    this.list.hidden = false;
    const { left, top } = this.where(place.start);
    this.list.style.left = `${Math.max(0, Math.min(left, this.list.parentElement.clientWidth - this.list.offsetWidth - 4))}px`;
    this.list.style.top = `${top}px`;
    this.mark(asked || place.prefix ? 0 : -1);
    this.say(`${found.length} may stand here; arrows choose, Enter takes`);
  }

  close() {
    this.list.hidden = true;
    this.area.removeAttribute("aria-activedescendant");
  }

  mark(at) {
    this.list.children[this.active]?.setAttribute("aria-selected", "false");
    this.active = at;
    const chosen = this.list.children[at];
    if (!chosen) return void this.area.removeAttribute("aria-activedescendant");
    chosen.setAttribute("aria-selected", "true");
    this.list.scrollTop = Math.min(chosen.offsetTop, Math.max(this.list.scrollTop, chosen.offsetTop + chosen.offsetHeight - this.list.clientHeight));
    this.area.setAttribute("aria-activedescendant", chosen.id);
  }

  key(event) {
    if (event.isComposing) return;
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      return this.show(true);
    }
    if (!this.open) return;
    const count = this.found.length;
    if (event.key === "ArrowDown") this.mark((this.active + 1) % count);
    else if (event.key === "ArrowUp") this.mark((this.active + count - (this.active < 0 ? 0 : 1)) % count);
    else if (event.key === "Escape") this.close();
    else if ((event.key === "Enter" || event.key === "Tab") && this.active >= 0) this.take(this.active);
    else {
      if (["ArrowLeft", "ArrowRight", "Home", "End", "Enter", "Tab"].includes(event.key)) this.close();
      return;
    }
    event.preventDefault();
  }

  take(at) {
    const { area, place } = this, one = this.found[at];
    const colon = one.key && !/^\s*:/.test(area.value.slice(area.selectionStart)) ? ": " : "";
    area.focus();
    area.setSelectionRange(place.start, area.selectionStart);
    this.close();
    if (!document.execCommand("insertText", false, one.text + colon)) {
      area.setRangeText(one.text + colon, place.start, area.selectionEnd, "end");
      area.dispatchEvent(new Event("input"));
    }
    if (colon) this.show();
  }
}
