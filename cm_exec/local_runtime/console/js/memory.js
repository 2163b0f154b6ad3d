// What the browser remembers of this console. A browser that keeps nothing is fine, too.

const PREFIX = "cm-exec.";
const LONGEST = 64 * 1024;

export function recall(key, otherwise = null) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(key, value) {
  try {
    const text = JSON.stringify(value);
    if (text.length <= LONGEST) localStorage.setItem(PREFIX + key, text);
  } catch {
    // Full, or forbidden.
  }
}
