/** Line numbers beside a text area, and marks at lines with something wrong. */
import { make } from "./common.js";

export class Lines {
  constructor(area, gutter, pane) {
    Object.assign(this, { area, gutter, count: 0, wrong: new Map() });
    this.numbers = make("div", { className: "numbers" });
    gutter.append(this.numbers);
    this.marks = make("div", { className: "marks", "aria-hidden": "true" });
    pane.prepend(this.marks);
    area.addEventListener("scroll", () => this.scroll());
    new ResizeObserver(() => this.measure()).observe(area);
    this.measure();
    this.update();
  }

  measure() {
    const style = getComputedStyle(this.area);
    this.height = parseFloat(style.lineHeight);
    this.above = parseFloat(style.paddingTop);
    this.before = parseFloat(style.paddingLeft);
    const probe = make("span", { className: "probe" }, "0".repeat(100));
    this.marks.append(probe);
    this.width = probe.getBoundingClientRect().width / 100;
    probe.remove();
    this.gutter.style.height = `${this.area.offsetHeight}px`;
  }

  update() {
    const count = this.area.value.split("\n").length;
    if (count !== this.count) {
      const numbers = this.numbers;
      while (numbers.childElementCount > count) numbers.lastElementChild.remove();
      while (numbers.childElementCount < count) numbers.append(make("div", {}, String(numbers.childElementCount + 1)));
      this.count = count;
    }
    this.scroll();
  }

  /** Mark lines: number -> what is wrong there. */
  mark(wrong) {
    for (const line of this.wrong.keys()) {
      const own = this.numbers.children[line - 1];
      if (own) {
        own.className = "";
        own.title = "";
      }
    }
    this.wrong = wrong;
    this.marks.replaceChildren(...[...wrong].map(([line, messages]) => {
      const own = this.numbers.children[line - 1];
      if (own) {
        own.className = "wrong";
        own.title = messages.join("\n");
      }
      const bar = make("div", { className: "bar" });
      bar.style.top = `${this.above + (line - 1) * this.height}px`;
      bar.style.height = `${this.height}px`;
      return bar;
    }));
  }

  scroll() {
    this.numbers.style.transform = `translateY(${-this.area.scrollTop}px)`;
    this.marks.style.transform = `translateY(${-this.area.scrollTop}px)`;
  }

  /** Point of the pane below a character. */
  where(at) {
    const lines = this.area.value.slice(0, at).split("\n");
    return {
      left: this.before + lines.at(-1).length * this.width - this.area.scrollLeft,
      top: this.above + lines.length * this.height - this.area.scrollTop,
    };
  }

  /** Go to a line, counted from 1. */
  go(line, column) {
    const { area } = this, lines = area.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    const from = start + Math.max(0, Math.min((column || 1) - 1, (lines[line - 1] ?? "").length));
    area.focus({ preventScroll: true });
    area.setSelectionRange(from, start + (lines[line - 1] ?? "").length);
    area.scrollTop = Math.max(0, (line - 1) * this.height - area.clientHeight / 3);
    area.scrollIntoView({ block: "nearest" });
  }
}
