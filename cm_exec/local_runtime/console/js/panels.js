// The lists beside the jobs: breaches, the worker's log, the runtime and its faults; and the bar at the top.

import { byId, copyButton, h, setText, throttled } from "./dom.js";
import { duration, number, preciseTime, time } from "./format.js";
import { showState } from "./history.js";
import { fillLog } from "./job.js";
import { chooseJob, getJson, on, request, state } from "./store.js";
import { go, shownLower } from "./views.js";

// The bar

const COUNTS = ["queued", "running", "done", "failed", "lost"];

function renderWorker() {
  const { worker, connection } = state;
  const chip = byId("worker");
  const isGone = connection === "lost" || connection === "denied";
  if (!worker && !isGone) return;
  const [look, text] = isGone ? ["bad", connection === "lost" ? "runtime is gone" : "no access"] : workerWords(worker);
  chip.dataset.look = look;
  setText(chip.querySelector("span"), text);
}

function workerWords({ state: seen, process }) {
  if (process?.state === "restarting") return ["wait", "worker restarts"];
  if (process?.state === "none" && seen === "absent") return ["wait", "no worker yet"];
  if (process?.state === "exited") return ["bad", `worker ended${process.exitCode === null ? "" : `: ${process.exitCode}`}`];
  const own = process?.pid ? ` · ${process.pid}` : "";
  if (seen === "ready") return ["good", `worker ready${own}`];
  if (seen === "busy") return ["good", `worker busy${own}`];
  if (seen === "silent") return ["bad", "worker polls no more"];
  return process?.state === "running" ? ["wait", "worker starts"] : ["wait", "no worker yet"];
}

function renderQueue() {
  const box = byId("queue");
  if (!box.children.length) {
    box.replaceChildren(...COUNTS.map((key) => h("div", { "data-state": key }, h("dt", null, key), h("dd"))));
    box.addEventListener("click", (event) => {
      const key = event.target.closest("[data-state]")?.dataset.state;
      if (!key) return;
      go("jobs");
      showState(key);
    });
  }
  for (const row of box.children) {
    const count = state.queue?.[row.dataset.state] ?? 0;
    setText(row.lastElementChild, number(count));
    row.classList.toggle("zero", count === 0);
  }
  document.title = state.queue?.running ? `(${state.queue.running}) cm-exec dev` : "cm-exec dev";
}

function badge(id, count, text) {
  const button = byId(id);
  button.hidden = count === 0;
  setText(button, text);
}

// Notices

function renderNotices() {
  const notices = [];
  if (state.connection === "denied") notices.push(h("p.notice.bad", null, "This page has no access any more: open the address that cm-exec dev printed."));
  if (state.connection === "lost") notices.push(h("p.notice.bad", null, "The runtime does not answer. Is cm-exec dev running? Trying again…"));
  const wrong = state.worker?.configurationError;
  if (wrong) notices.push(h("div.notice.bad", { id: "configuration-error" }, h("strong", null, "cm.toml is wrong; the worker goes on as it was."), h("pre.mono", null, wrong)));
  const box = byId("notices");
  const key = notices.map((each) => each.textContent).join("\0");
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(...notices);
}

// Breaches

function renderBreaches() {
  badge("breaches-badge", state.breachCount, `${number(state.breachCount)} breach${state.breachCount === 1 ? "" : "es"}`);
  const panel = byId("panel-breaches");
  if (panel.hidden) return;
  if (!state.breaches.length) {
    panel.replaceChildren(h("p.faint.pad", null, "The worker has kept the contract: every job answered once, in time, as its schema says."));
    return;
  }
  panel.replaceChildren(h("ul.breaches", null, [...state.breaches].reverse().map((breach) =>
    h("li", null, h("time.mono", null, time(breach.at)), h("code", null, breach.kind), h("span", null, breach.message),
      breach.jobId && h("button.link", { type: "button", onclick: () => showJob(breach.jobId) }, jobName(breach.jobId))))));
}

function showJob(id) {
  chooseJob(id);
  go("job");
}

const jobName = (id) => (state.jobs.has(id) ? `#${state.jobs.get(id).number}` : "the job");

// The worker's log

const loadLog = throttled(async () => {
  if (shownLower() !== "log") return;
  try {
    const { log, dropped } = await getJson("/log");
    const panel = byId("panel-log");
    if (!panel.firstElementChild) {
      panel.append(h("p.faint.pad", { id: "worker-log-count" }), h("ol.log.mono", { id: "worker-log", tabindex: "0", "aria-label": "Log of the worker" }));
    }
    setText(byId("worker-log-count"), log.length ? `Lines that belong to no job${dropped ? `; ${number(dropped)} earlier ones are not kept` : ""}` : "The worker has written nothing.");
    fillLog(byId("worker-log"), log);
  } catch {
    // The runtime is gone; a notice says so.
  }
}, 400);

// Runtime and faults

const PRESETS = [["slow", "latency=0.5"], ["polls fail", "poll.503@0.2"], ["results reset", "result.reset@0.2"], ["answers lost", "result.lost@0.1"], ["too large", "result.413*1"]];

function renderRuntime() {
  const { runtime, worker } = state;
  const panel = byId("panel-runtime");
  if (panel.hidden || !runtime || !worker) return;
  if (!panel.firstElementChild) panel.append(h("dl.facts-list", { id: "runtime-facts" }), services(), faultForm(), environment());
  const rows = [
    ["Worker", `${workerWords(worker)[1]}${worker.process?.since ? `, since ${time(worker.process.since)}` : ""}`],
    ["Polls", `${number(worker.polls)}${worker.lastPoll ? `, the last at ${preciseTime(worker.lastPoll)}` : ""}`],
    ["Starts", number(worker.restarts)],
    ["Runtime", runtime.uri],
    ["Slots", `${runtime.maxConcurrentTasks} job${runtime.maxConcurrentTasks === 1 ? "" : "s"} at a time${runtime.strict ? "" : ", not enforced"}`],
    ["Long poll", duration(runtime.pollWaitMs)],
    ["Callers wait", runtime.callTimeoutMs === null ? "for ever" : duration(runtime.callTimeoutMs)],
    ["Version", `cm-exec ${state.version}`],
  ];
  byId("runtime-facts").replaceChildren(...rows.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
  renderServices(worker.services);
}

function services() {
  return h("section.services", { id: "services", "aria-labelledby": "services-title", hidden: true },
    h("h3", { id: "services-title" }, "Services"), h("ul"));
}

const SERVICE_LOOKS = { ready: "good", failed: "bad", starting: "wait" };

function renderServices(list) {
  const box = byId("services");
  box.hidden = !list.length;
  box.lastElementChild.replaceChildren(...list.map((service) => {
    const facts = [service.state, service.kind];
    if (service.processes !== null) facts.push(`${number(service.processes)} process${service.processes === 1 ? "" : "es"}`);
    facts.push(`${number(service.inHand)} job${service.inHand === 1 ? "" : "s"} in hand`, `since ${time(service.since)}`);
    return h("li", { "data-look": SERVICE_LOOKS[service.state] ?? "idle" }, h("i.lamp"),
      h("div", null, h("strong.mono", null, service.name), h("p", null, facts.join(" · ")),
        service.lastFailure && h("p.faint", null, `Last problem: ${service.lastFailure}`)));
  }));
}

function faultForm() {
  const text = h("textarea.mono", { id: "faults", rows: 3, spellcheck: "false", placeholder: "poll.503@0.1" });
  const problem = h("p.problem", { id: "faults-problem", "aria-live": "polite" });
  const set = async (faults) => {
    try {
      await request("/faults", { method: "PUT", body: JSON.stringify({ faults }), headers: { "Content-Type": "application/json" } });
      problem.textContent = "";
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  const lines = () => text.value.split("\n").map((line) => line.trim()).filter(Boolean);
  return h("form.faults", { onsubmit: (event) => { event.preventDefault(); set(lines()); } },
    h("h3", null, "Faults"),
    h("label.about", { for: "faults" }, "One a line: [poll. result. schemas. restart.] latency=SECONDS, a status, reset, drop, hang, lost, cut=BYTES; @0.1 every tenth, *3 three times."),
    text, problem,
    h("div.row.tight", null, h("button.primary", { type: "submit" }, "Apply"), h("button", { type: "button", onclick: () => set([]) }, "None"),
      h("span.faint", null, "Add:"), PRESETS.map(([label, fault]) =>
        h("button.quiet", { type: "button", title: fault, onclick: () => { text.value = [...lines(), fault].join("\n"); } }, label))));
}

function environment() {
  const text = () => Object.entries(state.environment).map(([name, value]) => `export ${name}='${value}'\n`).join("");
  return h("details.environment", null, h("summary", null, "The environment of a worker"), copyButton("Copy", text), h("pre.mono", null, text()));
}

function renderFaults() {
  badge("faults-badge", state.faults.length, `${number(state.faults.length)} fault${state.faults.length === 1 ? "" : "s"} injected`);
  const text = document.getElementById("faults");
  if (text && document.activeElement !== text) text.value = state.faults.join("\n");
}

export function startPanels() {
  on("worker connection", renderWorker);
  on("worker connection", renderNotices);
  on("queue", renderQueue);
  on("breaches jobs", renderBreaches);
  on("log", loadLog);
  on("runtime worker", renderRuntime);
  on("runtime faults", renderFaults);
  byId("worker").addEventListener("click", () => go("runtime"));
  byId("faults-badge").addEventListener("click", () => go("runtime"));
  byId("breaches-badge").addEventListener("click", () => go("breaches"));
}
