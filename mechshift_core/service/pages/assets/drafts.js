/** What somebody wrote, kept in this tab: a reload, an error or another template loses nothing. */

const NOW = "mechshift-draft", BEFORE = "mechshift-draft-before";

function read(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name));
  } catch {
    return null;
  }
}

function write(name, draft) {
  try {
    sessionStorage.setItem(name, JSON.stringify(draft));
    return true;
  } catch {
    return false;
  }
}

/** Keep a draft; without its files where they are too large. Says whether all of it is kept. */
export function keep(draft) {
  return write(NOW, draft) || (write(NOW, { ...draft, files: {} }) && Object.keys(draft.files).length === 0);
}

export function kept() {
  return read(NOW);
}

/** Put a draft aside, to be had back. */
export function putAside(draft) {
  write(BEFORE, draft);
}

export function aside() {
  return read(BEFORE);
}

/** Nothing is to be had back any more: it was handed in. */
export function done() {
  sessionStorage.removeItem(NOW);
}
