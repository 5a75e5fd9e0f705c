/** Files that go along with a spec: read here, shown with their size. */
import { isolated, make } from "./common.js";

export class Files {
  constructor(changed) {
    this.contents = new Map();
    this.changed = changed;
    this.list = document.getElementById("files");
    const given = [...this.list.querySelectorAll(".file")];
    this.spare = given.pop();
    for (const item of given) {
      const name = item.querySelector("input").value.trim();
      if (name) this.contents.set(name, item.querySelector("textarea").value);
      item.remove();
    }
    this.note = make("p", { className: "refusal", role: "alert", hidden: true });
    this.list.after(this.note);
    this.paste();
    document.querySelector(".with-script").hidden = false;
    document.getElementById("upload").addEventListener("change", (event) => this.upload(event.target));
    this.show();
  }

  /** The place for pasted text, folded. */
  paste() {
    const add = make("button", { type: "button" }, "Add this text");
    const fold = make("details", {}, make("summary", {}, "Paste a file"), ...this.spare.children, add);
    this.spare.remove();
    this.list.after(fold);
    const [name, text] = [fold.querySelector("input"), fold.querySelector("textarea")];
    name.removeAttribute("name");
    text.removeAttribute("name");
    add.addEventListener("click", () => {
      if (!name.value.trim()) return void name.focus();
      this.contents.set(name.value.trim(), text.value);
      name.value = text.value = "";
      fold.open = false;
      this.show();
      this.changed();
    });
  }

  async upload(input) {
    const refused = [];
    for (const file of input.files) {
      const text = await file.text();
      if (/[\u0000\ufffd]/.test(text)) refused.push(file.name);
      else this.contents.set(file.name, text);
    }
    input.value = "";
    this.note.hidden = refused.length === 0;
    this.note.replaceChildren(...refused.flatMap((name) => [isolated(name), " is no text in UTF-8. "]));
    this.show();
    this.changed();
  }

  show() {
    this.list.replaceChildren(...[...this.contents].map(([name, text]) => {
      const remove = make("button", { type: "button", className: "plain", "aria-label": `Remove ${name}` }, "Remove");
      remove.addEventListener("click", () => {
        this.contents.delete(name);
        this.show();
        this.changed();
        document.getElementById("upload").focus();
      });
      const size = `${new Blob([text]).size.toLocaleString("en")} bytes`;
      return make("li", { className: "taken" }, isolated(name), make("span", { className: "muted" }, size), remove);
    }));
  }

  set(contents) {
    this.contents = new Map(Object.entries(contents));
    this.show();
  }

  get all() {
    return Object.fromEntries(this.contents);
  }
}
