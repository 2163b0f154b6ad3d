// What a screen reader says without being asked.

import { byId } from "./dom.js";

export function announce(text) {
  const region = byId("announce");
  region.textContent = "";
  setTimeout(() => { region.textContent = text; }, 50);
}
