// What is known of the runtime, kept up to date by its events.

import { throttled } from "./dom.js";

const QUEUED_KEPT = 500;

export const state = {
  connection: "connecting", // live | lost | denied
  run: null,
  runtime: null,
  worker: null,
  queue: null,
  functions: [],
  breaches: [],
  breachCount: 0,
  faults: [],
  environment: {},
  version: "",
  token: "",
  savesTests: false,
  jobs: new Map(),
  chosenFunction: null,
  chosenJob: null,
};

const listeners = new Map();
const pending = new Set();
let scheduled = false;

/** Call `listener` after one of these topics changed, once a frame at most. */
export function on(topics, listener) {
  for (const topic of topics.split(" ")) {
    if (!listeners.has(topic)) listeners.set(topic, new Set());
    listeners.get(topic).add(listener);
  }
}

export function changed(...topics) {
  for (const topic of topics) pending.add(topic);
  if (scheduled) return;
  scheduled = true;
  // A hidden page has no frames, but its title and its announcements go on.
  if (document.hidden) setTimeout(flush, 100);
  else requestAnimationFrame(flush);
}

function flush() {
  scheduled = false;
  const called = new Set();
  for (const topic of pending) for (const listener of listeners.get(topic) ?? []) called.add(listener);
  pending.clear();
  for (const listener of called) listener();
}

let sorted = null;

/** All known jobs, the newest first. */
export function jobsNewestFirst() {
  sorted ??= [...state.jobs.values()].sort((a, b) => b.number - a.number);
  return sorted;
}

export function putJobs(jobs) {
  for (const job of jobs) state.jobs.set(job.id, job);
  boundQueued();
  sorted = null;
  changed("jobs");
}

/** Ten thousand that wait are a number, and the newest of them rows. */
function boundQueued() {
  const queued = [...state.jobs.values()].filter((job) => job.state === "queued");
  if (queued.length <= QUEUED_KEPT * 2) return;
  queued.sort((a, b) => b.number - a.number);
  for (const job of queued.slice(QUEUED_KEPT)) state.jobs.delete(job.id);
}

/** A request to the runtime; its answer, or an Error with the runtime's sentence. */
export async function request(path, options) {
  const response = await fetch(path, options);
  if (response.ok) return response;
  if (response.status === 401) {
    state.connection = "denied";
    changed("connection");
  }
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error ?? message;
  } catch {
    // No JSON: the status has to do.
  }
  throw Object.assign(new Error(message), { status: response.status });
}

export const getJson = async (path) => (await request(path)).json();

async function loadJobs() {
  const [known, queued] = await Promise.all([
    getJson("/jobs?limit=1000&state=running,done,failed,lost"),
    getJson(`/jobs?limit=${QUEUED_KEPT}&state=queued`),
  ]);
  state.jobs = new Map([...known.jobs, ...queued.jobs].map((job) => [job.id, job]));
  sorted = null;
  changed("jobs");
}

const reloadJobs = throttled(() => loadJobs().catch(() => {}), 1000);

async function loadState() {
  const found = await getJson("/state");
  Object.assign(state, {
    runtime: found.runtime,
    worker: found.worker,
    queue: found.queue,
    functions: found.functions,
    breaches: found.breaches,
    breachCount: found.breachCount,
    faults: found.runtime.faults,
    environment: found.environment,
    version: found.version,
    token: found.token,
    savesTests: found.savesTests,
  });
  changed("functions", "worker", "queue", "breaches", "faults", "runtime");
}

async function hello({ run }) {
  const isAnother = state.run !== null && state.run !== run;
  state.run = run;
  await Promise.all([loadState(), loadJobs()]);
  if (isAnother && !state.jobs.has(state.chosenJob)) chooseJob(null);
  state.connection = "live";
  changed("connection");
}

function update(news) {
  if (news.jobs) putJobs(news.jobs);
  if (news.forgotten) {
    for (const id of news.forgotten) state.jobs.delete(id);
    sorted = null;
    changed("jobs");
  }
  if (news.jobsOmitted) reloadJobs();
  if (news.breaches) {
    state.breaches = [...state.breaches, ...news.breaches].slice(-100);
    state.breachCount = news.breachCount;
    changed("breaches");
  }
  for (const topic of ["queue", "worker", "functions", "faults"]) {
    if (news[topic]) {
      state[topic] = news[topic];
      changed(topic);
    }
  }
  if (news.calls) {
    for (const each of state.functions) each.calls = news.calls[each.name] ?? each.calls;
    changed("functions");
  }
  if (news.logs) noteLogs(news.logs);
}

function noteLogs(logs) {
  if (logs.some((line) => line.jobId === null)) changed("log");
  if (logs.some((line) => line.jobId === state.chosenJob)) changed("job-log");
}

/** Follow the runtime for as long as the page is open. */
export function follow() {
  if (!globalThis.SharedWorker) {
    followAlone();
    return;
  }
  const { port } = new SharedWorker("/events-worker.js");
  port.onmessage = ({ data }) => received(data.kind, data.data);
  addEventListener("pagehide", () => port.postMessage("closed"));
}

function received(kind, data) {
  if (kind === "hello") hello(JSON.parse(data)).catch(() => {});
  else if (kind === "update") update(JSON.parse(data));
  else {
    state.connection = kind;
    changed("connection");
  }
}

/** Without shared workers, as in some browsers of phones: closed while the page is hidden. */
function followAlone() {
  let source = null;
  const open = () => {
    if (document.hidden || source !== null) return;
    source = new EventSource("/events");
    for (const kind of ["hello", "update"]) source.addEventListener(kind, (event) => received(kind, event.data));
    source.onerror = () => {
      close();
      received("lost");
      setTimeout(open, 1000);
      request("/state").catch(() => {}); // says whether the token is missing
    };
  };
  const close = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  open();
}

export function chooseFunction(name, byItself = false) {
  state.chosenFunction = name;
  if (!byItself) showPlace();
  changed("function");
}

export function chooseJob(id) {
  state.chosenJob = id;
  showPlace();
  changed("job", "jobs");
}

/** Keep what is shown in the address, so that it can be reloaded, bookmarked and sent. */
function showPlace() {
  const place = new URLSearchParams();
  if (state.chosenFunction !== null) place.set("function", state.chosenFunction);
  if (state.chosenJob !== null) place.set("job", state.chosenJob);
  history.replaceState(null, "", `${location.pathname}${place.size ? `#${place}` : ""}`);
}

/** Take up what the address says. */
export function followPlace() {
  const place = new URLSearchParams(location.hash.slice(1));
  state.chosenFunction = place.get("function");
  state.chosenJob = place.get("job");
}
