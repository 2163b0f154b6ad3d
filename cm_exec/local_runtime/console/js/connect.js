// How to connect a worker, while none is there; why one that tries does not get through, and why dev's own one does not.

import { byId, copyButton, h, setText, throttled } from "./dom.js";
import { time } from "./format.js";
import { fillLog } from "./job.js";
import { getJson, on, state } from "./store.js";

const SHOWN = 3;
const LOG_SHOWN = 12;
const PATIENCE = 3000; // milliseconds in which a worker of dev's own may start
const KINDS = new Set(["connection", "unauthorized"]);

const exports = () => Object.entries(state.environment).map(([name, value]) => `export ${name}='${value}'\n`).join("");

let look = null;

function render() {
  const { worker } = state;
  const isNameless = state.chosenFunction === null;
  byId("call-form").hidden = isNameless;
  byId("call-head").hidden = isNameless;
  const process = worker?.process;
  const isOwn = Boolean(process) && process.state !== "none";
  const box = byId("connect");
  box.hidden = !worker || worker.state !== "absent" || state.jobs.size > 0 || (isOwn && !isLate(process));
  if (box.hidden) return;
  setText(byId("connect-title"), isOwn ? trouble(process, worker.services) : "Connect a worker");
  for (const [id, hidden] of [["connect-how", isOwn], ["connect-variables", isOwn], ["connect-own", !isOwn]]) byId(id).hidden = hidden;
  if (isOwn) renderOwn(process);
  else if (!byId("connect-variables").children.length) {
    byId("connect-variables").append(copyButton("Copy", exports), h("pre.mono.text", { tabindex: "0" }, exports()));
  }
  const problems = state.breaches.filter((breach) => KINDS.has(breach.kind)).slice(-SHOWN);
  byId("connect-problems").replaceChildren(...problems.map((breach) =>
    h("li", null, h("time.mono", null, time(breach.at)), h("span", null, breach.message))));
}

/** Whether it has ended, or had its time; otherwise look again then. */
function isLate({ state: seen, since }) {
  if (seen !== "running") return seen === "exited";
  const rest = since + PATIENCE - Date.now();
  clearTimeout(look);
  if (rest > 0) look = setTimeout(render, rest);
  return rest <= 0;
}

function trouble({ state: seen, exitCode }, services) {
  if (seen === "exited") return exitCode === null ? "The worker cannot be started" : exitCode < 0 ? `The worker was killed by signal ${-exitCode}` : `The worker ended with exit status ${exitCode}`;
  const waiting = services.filter((each) => each.state !== "ready").map((each) => each.name);
  return waiting.length ? `The worker waits for ${waiting.join(", ")}` : "The worker runs, and has not polled yet";
}

function renderOwn(process) {
  setText(byId("connect-own").firstElementChild, process.command ?? "");
  loadLog();
}

const loadLog = throttled(async () => {
  if (byId("connect").hidden || byId("connect-own").hidden) return;
  try {
    const { log } = await getJson("/log");
    const list = byId("connect-own").lastElementChild;
    list.hidden = !log.length;
    fillLog(list, log.slice(-LOG_SHOWN));
  } catch {
    // The runtime is gone; a notice says so.
  }
}, 400);

export function startConnect() {
  on("worker runtime breaches jobs functions function", render);
  on("log", loadLog);
}
