// Before the first paint, so that a dark console does not flash white.
"use strict";
try {
  const theme = JSON.parse(localStorage.getItem("cm-exec.theme"));
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // No storage in this browser: the system's theme.
}
