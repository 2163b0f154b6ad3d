// The jobs, newest first: only the rows that can be seen exist.

import { byId, h, setText } from "./dom.js";
import { duration, exitOf, number, size, STATES, time, troubleOf } from "./format.js";
import { chooseFunction, chooseJob, jobsNewestFirst, on, state } from "./store.js";
import { go } from "./views.js";

const MORE = 6; // rows above and below what is seen
const QUEUED_AS_ROWS = 20;

const list = byId("history");
const spacer = list.firstElementChild;
const shownRows = new Map();
let chosenState = "all";
let found = [];

const rowHeight = () => (matchMedia("(max-width: 720px)").matches ? 40 : 28);

function select() {
  const text = byId("filter").value.trim().toLowerCase();
  const only = byId("only-this").checked ? state.chosenFunction : null;
  const hidesQueued = chosenState === "all" && (state.queue?.queued ?? 0) > QUEUED_AS_ROWS;
  return jobsNewestFirst().filter((job) =>
    (chosenState === "all" ? !(hidesQueued && job.state === "queued") : job.state === chosenState)
    && (only === null || job.function === only)
    && (text === "" || matches(job, text)));
}

function matches(job, text) {
  if (text.startsWith("#")) return String(job.number).startsWith(text.slice(1));
  return job.function.toLowerCase().includes(text) || job.id.startsWith(text)
    || (troubleOf(job) ?? "").toLowerCase().includes(text);
}

function render() {
  if (byId("panel-jobs").hidden) return;
  found = select();
  renderQueued();
  renderRows();
}

function renderQueued() {
  const button = byId("queued-row");
  const queued = state.queue?.queued ?? 0;
  button.hidden = !(chosenState === "all" && queued > QUEUED_AS_ROWS);
  if (!button.hidden) setText(button, `${number(queued)} more jobs are queued`);
}

function renderRows() {
  const height = rowHeight();
  spacer.style.height = `${found.length * height}px`;
  const first = Math.max(0, Math.floor(list.scrollTop / height) - MORE);
  const last = Math.min(found.length, Math.ceil((list.scrollTop + list.clientHeight) / height) + MORE);
  const wanted = new Map(found.slice(first, last).map((job, index) => [job.id, [job, first + index]]));
  for (const [id, row] of shownRows) {
    if (wanted.has(id)) continue;
    row.element.remove();
    shownRows.delete(id);
  }
  let before = null; // in the document as on the screen, for those who hear it
  for (const [id, [job, index]] of wanted) {
    if (!shownRows.has(id)) shownRows.set(id, makeRow(job));
    const row = shownRows.get(id);
    const place = before ? before.nextSibling : spacer.firstChild;
    if (place !== row.element) spacer.insertBefore(row.element, place);
    before = row.element;
    fill(row, job, index, height);
  }
  const chosen = shownRows.get(state.chosenJob);
  if (chosen) list.setAttribute("aria-activedescendant", chosen.element.id);
  else list.removeAttribute("aria-activedescendant");
  list.classList.toggle("empty", found.length === 0);
  list.dataset.empty = state.jobs.size ? "No job fits the filter." : "No job yet. Call a function: here, with curl, or with cm-exec invoke --dev.";
}

const CELLS = ["number", "function", "state", "run", "query", "result", "exit", "at"];

function makeRow(job) {
  const cells = Object.fromEntries(CELLS.map((name) => [name, h(`span.${name}`)]));
  const element = h("div.job", { role: "option", id: `job-${job.number}`, "data-id": job.id }, Object.values(cells));
  return { element, cells, seen: null };
}

function fill(row, job, index, height) {
  const { element, cells } = row;
  element.style.transform = `translateY(${index * height}px)`;
  element.setAttribute("aria-posinset", index + 1);
  element.setAttribute("aria-setsize", found.length);
  element.setAttribute("aria-selected", job.id === state.chosenJob);
  if (row.seen === job) return;
  row.seen = job;
  element.dataset.state = job.state;
  setText(cells.number, `${job.number}`);
  setText(cells.function, `${job.replayOf ? "↻ " : ""}${job.function}`);
  setText(cells.state, STATES[job.state]);
  cells.state.classList.toggle("breach", job.breaches > 0);
  cells.state.title = job.breaches ? `${job.breaches} breaches of the contract` : troubleOf(job) ?? "";
  setText(cells.run, duration(job.runMs));
  setText(cells.query, size(job.queryBytes));
  setText(cells.result, size(job.resultBytes));
  setText(cells.exit, exitOf(job));
  setText(cells.at, time(job.created));
}

function choose(id) {
  chooseJob(id);
  const job = state.jobs.get(id);
  if (job && job.function !== state.chosenFunction && state.functions.some((each) => each.name === job.function)) {
    if (!byId("only-this").checked) chooseFunction(job.function);
  }
}

/** Go up or down the list. */
export function move(step) {
  if (!found.length) return;
  const at = found.findIndex((job) => job.id === state.chosenJob);
  const index = at < 0 ? 0 : Math.min(found.length - 1, Math.max(0, at + step));
  const height = rowHeight();
  if (index * height < list.scrollTop) list.scrollTop = index * height;
  else if ((index + 1) * height > list.scrollTop + list.clientHeight) list.scrollTop = (index + 1) * height - list.clientHeight;
  choose(found[index].id);
}

function startStates() {
  byId("states").replaceChildren(...["all", "running", "done", "failed", "lost", "queued"].map((key) =>
    h("label", { "data-state": key }, h("input", { type: "radio", name: "state", value: key, checked: key === "all" }), h("span", null, key))));
  byId("states").addEventListener("change", (event) => showState(event.target.value));
}

/** List only the jobs in a state. */
export function showState(key) {
  chosenState = key;
  byId("states").querySelector(`input[value=${key}]`).checked = true;
  list.scrollTop = 0;
  render();
}

export function startHistory() {
  startStates();
  on("jobs queue function", render);
  list.addEventListener("scroll", renderRows, { passive: true });
  new ResizeObserver(renderRows).observe(list);
  list.addEventListener("click", (event) => {
    const row = event.target.closest(".job");
    if (!row) return;
    choose(row.dataset.id);
    go("job");
  });
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / rowHeight()) - 1);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -found.length, End: found.length }[event.key];
    if (event.key === "Enter" && state.chosenJob) go("job");
    if (step === undefined) return;
    event.preventDefault();
    move(step);
  });
  byId("filter").addEventListener("input", () => {
    list.scrollTop = 0;
    render();
  });
  byId("only-this").addEventListener("change", render);
  byId("queued-row").addEventListener("click", () => showState("queued"));
}
