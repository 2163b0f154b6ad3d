// Light, dark, or as the system is.

import { byId } from "./dom.js";
import { recall, remember } from "./memory.js";

const NEXT = { auto: "light", light: "dark", dark: "auto" };
const LABELS = { auto: "Auto", light: "Light", dark: "Dark" };

export function startTheme() {
  const button = byId("theme");
  let theme = recall("theme", "auto");
  const show = () => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = LABELS[theme];
    button.setAttribute("aria-label", `Theme: ${LABELS[theme]}`);
  };
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    remember("theme", theme);
    show();
  });
  show();
}
