// The keyboard. Single keys work only outside of fields, and can be switched off.

import { focusQuery, sendQuery } from "./call.js";
import { byId } from "./dom.js";
import { move } from "./history.js";
import { chooseTab, replay } from "./job.js";
import { recall, remember } from "./memory.js";
import { go } from "./views.js";

const SINGLE = {
  e: () => { go("call"); focusQuery(); },
  f: () => { go("call"); byId("functions").querySelector("[aria-current=true], button")?.focus(); },
  j: () => move(1),
  k: () => move(-1),
  r: replay,
  "/": () => { go("jobs"); byId("filter").focus(); },
  "?": () => byId("keys").showModal(),
  1: () => chooseTab(0),
  2: () => chooseTab(1),
  3: () => chooseTab(2),
  4: () => chooseTab(3),
};

const isField = (element) => element.closest("input:not([type=radio], [type=checkbox]), textarea, select") !== null;

function pressed(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    sendQuery();
    return;
  }
  if (event.key === "Escape" && isField(event.target)) {
    event.target.blur();
    return;
  }
  const action = SINGLE[event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey || isField(event.target)) return;
  if (document.querySelector("dialog[open]") || !byId("single-keys").checked) return;
  event.preventDefault();
  action();
}

export function startKeys() {
  document.addEventListener("keydown", pressed);
  byId("help").addEventListener("click", () => byId("keys").showModal());
  byId("single-keys").checked = recall("single-keys", true);
  byId("single-keys").addEventListener("change", (event) => remember("single-keys", event.target.checked));
  if (/Mac|iPhone|iPad/.test(navigator.platform)) {
    for (const key of document.querySelectorAll(".mac-ctrl")) key.textContent = "⌘ ⏎";
  }
}
