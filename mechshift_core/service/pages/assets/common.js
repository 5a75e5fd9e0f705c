/** Small helpers that the pages share. */

const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** Text with control characters made visible, so that none acts unseen. */
export function visible(text) {
  return text.replace(/\r\n/g, "\n").replace(CONTROLS, (one) =>
    `⟨U+${one.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/** An element with properties and children; text is text, never markup. */
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("data-") || name.startsWith("aria-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.map((child) => (typeof child === "string" ? visible(child) : child)));
  return made;
}

/** Text whose direction is its own. */
export function isolated(text) {
  return make("bdi", {}, text);
}

/** This page as the server has it now; null where it can't be had. */
export async function current(address = location.href) {
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" }, redirect: "error", cache: "no-store" });
    return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  } catch {
    return null;
  }
}

/** `1 run`, `2 runs`. */
export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** Seconds in words, as the server says them. */
export function duration(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const left = Math.max(0, Math.round(seconds));
  for (let at = 0; at < units.length; at += 1) {
    const [size, name] = units[at];
    if (left >= size) {
      const next = units[at + 1];
      const rest = next ? Math.floor((left % size) / next[0]) : 0;
      return `${Math.floor(left / size)} ${name}${rest ? ` ${rest} ${next[1]}` : ""}`;
    }
  }
  return "less than 1 s";
}

/** Set a text only where it is another one, so that nothing is announced twice. */
export function say(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}
