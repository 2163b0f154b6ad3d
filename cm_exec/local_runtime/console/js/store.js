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
  });
  changed("functions", "worker", "queue", "breaches", "faults", "runtime");
}

async function hello({ run }) {
  if (state.run !== null && state.run !== run) {
    state.chosenJob = null;
    changed("job");
  }
  state.run = run;
  await Promise.all([loadState(), loadJobs()]);
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
  if (news.logs) noteLogs(news.logs);
}

function noteLogs(logs) {
  if (logs.some((line) => line.jobId === null)) changed("log");
  if (logs.some((line) => line.jobId === state.chosenJob)) changed("job-log");
}

/** Follow the runtime for as long as the page is open. */
export function follow() {
  const source = new EventSource("/events");
  let again = null;
  source.addEventListener("hello", (event) => {
    hello(JSON.parse(event.data)).catch(() => {});
  });
  source.addEventListener("update", (event) => update(JSON.parse(event.data)));
  source.onerror = async () => {
    if (again !== null) return;
    source.close();
    if (state.connection !== "denied") state.connection = "lost";
    changed("connection");
    again = setTimeout(reconnect, 1000);
  };
}

async function reconnect() {
  try {
    await getJson("/state"); // an EventSource does not say that it was refused for want of the token
    state.connection = "connecting";
    follow();
  } catch {
    changed("connection");
    setTimeout(reconnect, 1000);
  }
}

export function chooseFunction(name) {
  state.chosenFunction = name;
  changed("function");
}

export function chooseJob(id) {
  state.chosenJob = id;
  changed("job", "jobs");
}
