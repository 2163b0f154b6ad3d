// The list of functions, each with how fast it has been.

import { byId, h, setText } from "./dom.js";
import { duration, number, quantile } from "./format.js";
import { changed, chooseFunction, jobsNewestFirst, on, state } from "./store.js";
import { recall, remember } from "./memory.js";
import { spark } from "./chart.js";

const MEASURED = 200;

/** The last ended jobs of a function that ran, the oldest first. */
export function timesOf(name) {
  const found = [];
  for (const job of jobsNewestFirst()) {
    if (job.function === name && job.runMs !== null && job.ended !== null) found.push(job);
    if (found.length === MEASURED) break;
  }
  return found.reverse();
}

export function functionOf(name) {
  const known = state.functions.find((each) => each.name === name);
  return known ?? (name === null ? null : { name, schema: null, untyped: true, description: null });
}

const rows = new Map();
let drawn = null;

function render() {
  const list = byId("functions").querySelector("ul");
  const names = state.functions.map((each) => each.name);
  if (drawn !== names.join("\0")) {
    drawn = names.join("\0");
    for (const name of rows.keys()) if (!names.includes(name)) rows.delete(name);
    for (const name of names) if (!rows.has(name)) rows.set(name, row(name));
    list.replaceChildren(...(names.length ? names.map((name) => rows.get(name).element) : [nothing()]));
  }
  for (const each of state.functions) fill(rows.get(each.name), each);
  ensureChosen(names);
}

const nothing = () => h("li.faint.pad", null, "None is known yet. A worker publishes its functions when it starts, or none; then call them by name.");

function row(name) {
  const parts = { name: h("span.name.mono", null, name), speed: h("span.num"), calls: h("span.calls"), bad: h("span.bad"), spark: h("span.spark", { "aria-hidden": "true" }) };
  const button = h("button", { type: "button", onclick: () => chooseFunction(name) }, parts.name, parts.spark, parts.calls, parts.bad, parts.speed);
  button.addEventListener("keydown", step);
  return { ...parts, button, element: h("li", null, button) };
}

function step(event) {
  const move = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const next = move && event.currentTarget.parentElement[move]?.querySelector("button");
  if (!next) return;
  next.focus();
  event.preventDefault();
}

function fill(parts, each) {
  const jobs = timesOf(each.name);
  const sorted = jobs.map((job) => job.runMs).sort((a, b) => a - b);
  const bad = each.calls.failed + each.calls.lost;
  setText(parts.speed, sorted.length ? duration(quantile(sorted, 0.5)) : "");
  const calls = each.calls.done + bad;
  setText(parts.calls, calls ? `${number(calls)} call${calls === 1 ? "" : "s"}` : "");
  setText(parts.bad, bad ? `${number(bad)} ✕` : "");
  parts.button.title = `${number(each.calls.done)} done, ${number(each.calls.failed)} failed, ${number(each.calls.lost)} lost`
    + (sorted.length ? `; median ${duration(quantile(sorted, 0.5))}` : "");
  parts.button.setAttribute("aria-current", each.name === state.chosenFunction);
  const key = `${jobs.length}:${jobs.at(-1)?.number}`;
  if (parts.key !== key) {
    parts.key = key;
    parts.spark.replaceChildren(spark(jobs.slice(-40)));
  }
}

function ensureChosen(names) {
  if (state.chosenFunction !== null || !names.length) return;
  const last = recall("function");
  chooseFunction(names.includes(last) ? last : names[0], true);
}

export function startFunctions() {
  on("functions jobs function", render);
  byId("other-function").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = byId("other-name").value.trim();
    if (name === "") return;
    chooseFunction(name);
    byId("other-name").value = "";
    byId("query").focus();
  });
  on("function", () => {
    remember("function", state.chosenFunction);
    changed("jobs");
  });
}
