// Which part of the page a narrow screen shows, and which list stands below.

import { byId, tabList } from "./dom.js";
import { number } from "./format.js";
import { changed, on, state } from "./store.js";

let lower = "jobs";

/** Show a part: call, job, jobs, breaches, log or runtime. On a wide screen all but the lists are there anyway. */
export function go(view) {
  const isList = view !== "call" && view !== "job";
  if (isList) chooseLower(view);
  const body = document.body;
  body.dataset.view = isList ? (view === "jobs" ? "jobs" : "runtime") : view;
  for (const button of byId("views").children) {
    if (button.dataset.go === body.dataset.view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
}

function chooseLower(key) {
  lower = key;
  for (const name of ["jobs", "breaches", "log", "runtime"]) byId(`panel-${name}`).hidden = name !== key;
  render();
  changed(key === "jobs" ? "jobs" : key === "log" ? "log" : key);
}

export const shownLower = () => lower;

function render() {
  tabList(byId("lower-tabs"), [
    ["jobs", "Jobs"],
    ["breaches", state.breachCount ? `Breaches ${number(state.breachCount)}` : "Breaches"],
    ["log", "Worker’s log"],
    ["runtime", "Runtime and faults"],
  ], lower, go);
  byId("lower-tabs").querySelector("[data-key=breaches]").classList.toggle("bad", state.breachCount > 0);
}

export function startViews() {
  byId("lower-tabs").dataset.prefix = "tab-";
  byId("lower-tabs").dataset.panels = "panel-";
  on("breaches", render);
  byId("views").addEventListener("click", (event) => {
    const button = event.target.closest("[data-go]");
    if (button) go(button.dataset.go);
  });
  go("jobs");
  go("call");
}
