// One job: its result, its log, its query, its facts.

import { announce } from "./announce.js";
import { editQuery, followOwn } from "./call.js";
import { byId, copyButton, h, setText, tabList, throttled } from "./dom.js";
import { duration, exitOf, number, plain, preciseTime, size, STATES, troubleOf } from "./format.js";
import { parse } from "./json.js";
import { errorDetail, resultView, textView } from "./result.js";
import { chooseJob, getJson, on, putJobs, request, state } from "./store.js";
import { tree } from "./tree.js";

const LIVE_CHARACTERS = 100_000;
const STDERR_SHOWN = 40; // lines below a failure

let tab = "result";
let detail = null; // of the chosen job: its query, log and breaches
let log = [];
let logDropped = 0;
let loaded = ""; // the state of the job for which the detail was requested
let drawn = "";

const chosen = () => state.jobs.get(state.chosenJob) ?? null;

/** How many lines the job has written: its log may come after its end, and after the job's own news. */
const logLines = (job) => Math.max(job.logLines, detail?.id === job.id ? log.length + logDropped : 0);

function render() {
  const job = chosen();
  if (!job) {
    byId("job-head").replaceChildren(h("h2", null, "No job chosen"));
    delete byId("job-head").dataset.id; // the same job may come back
    byId("job-tabs").replaceChildren();
    byId("job-body").replaceChildren(h("p.faint", null, state.chosenJob ? "Waiting for the job, or it is not known any more." : "Call a function, or choose a job of the list."));
    loaded = drawn = "";
    return;
  }
  renderHead(job);
  tabList(byId("job-tabs"), [["result", "Result"], ["log", logLines(job) ? `Log ${number(logLines(job))}` : "Log"], ["query", "Query"], ["details", "Details"]], tab, showTab);
  const version = `${job.id} ${job.state} ${job.streaming}`;
  if (loaded !== `${version} ${job.breaches}`) {
    loaded = `${version} ${job.breaches}`;
    load(job);
  }
  const key = `${version} ${tab} ${tab === "query" && detail?.id === job.id}`;
  if (key !== drawn) {
    drawn = key;
    renderBody(job);
  }
}

function renderHead(job) {
  const times = job.runMs === null ? elapsed(job) : duration(job.runMs);
  const result = job.resultBytes === null ? job.ended === null && "…" : size(job.resultBytes);
  const facts = [times, `${size(job.queryBytes)}${result ? ` → ${result}` : ""}`];
  const exit = exitOf(job);
  if (exit && exit !== "0") facts.push(/^\d+$/.test(exit) ? `exit ${exit}` : exit);
  const head = byId("job-head");
  if (head.dataset.id !== job.id) {
    head.dataset.id = job.id;
    head.replaceChildren(
      h("h2", null, h("span.mono", null, job.function), h("span.faint", null, ` #${job.number}`)),
      h("p.facts", null, h("span.state"), h("span.rest")),
      h("div.row.tight", null,
        h("button", { type: "button", id: "replay", onclick: replay, title: "r" }, "Replay"),
        h("button.quiet", { type: "button", id: "edit", onclick: edit }, "Edit the query"),
        h("button.quiet", { type: "button", id: "cancel", onclick: () => act("cancel"), title: "Stop waiting. The worker is not notified, as on the platform" }, "Cancel"),
        h("button.quiet", { type: "button", id: "drop", onclick: () => act("drop"), title: "Free its slot, as a restart notification does" }, "Let go"),
        h("button.quiet", { type: "button", id: "save-test", onclick: saveTest, title: "A [[tests]] entry of this query and result" }, "Save as test"),
        h("span.saved", { id: "saved" })),
    );
  }
  byId("cancel").hidden = job.ended !== null;
  byId("drop").hidden = !job.inHand;
  byId("save-test").hidden = job.resultBytes === null;
  const badge = head.querySelector(".state");
  badge.dataset.state = job.state;
  setText(badge, STATES[job.state]);
  setText(head.querySelector(".rest"), facts.filter(Boolean).join("  ·  "));
}

const elapsed = (job) => (job.state === "running" ? `${((Date.now() - job.started) / 1000).toFixed(1)} s` : "");

async function act(what) {
  try {
    await request(`/jobs/${state.chosenJob}/${what}`, { method: "POST" });
  } catch (error) {
    byId("job-body").prepend(h("p.failure", null, error.message));
  }
}

async function saveTest() {
  try {
    const { test, savedIn } = await (await request(`/jobs/${state.chosenJob}/test`, { method: "POST" })).json();
    if (savedIn === null) await navigator.clipboard.writeText(test);
    const done = savedIn === null ? "Copied a [[tests]] entry" : `Saved in ${savedIn}`;
    setText(byId("saved"), done);
    announce(done);
  } catch (error) {
    setText(byId("saved"), error.message);
  }
}

function showTab(key) {
  tab = key;
  render();
}

export const chooseTab = (index) => chosen() && showTab(["result", "log", "query", "details"][index]);

/** Fetch what a list does not contain. */
async function load(job) {
  if (detail?.id !== job.id) {
    detail = null;
    log = [];
  }
  try {
    const found = await getJson(`/jobs/${job.id}`);
    if (state.chosenJob !== job.id) return;
    detail = found;
    if (found.log.length >= log.length) {
      log = found.log;
      logDropped = Math.max(0, found.logLines - log.length);
    }
  } catch (error) {
    if (error.status !== 404) return;
    detail = { id: job.id, query: "", queryTruncated: false, breachList: [] };
  }
  render();
  renderLate();
}

const reloadLog = throttled(async () => {
  const job = chosen();
  if (!job) return;
  try {
    const found = await getJson(`/jobs/${job.id}/log`);
    if (state.chosenJob !== job.id) return;
    log = found.log;
    logDropped = found.dropped;
    render();
    renderLate();
  } catch {
    // It is forgotten, or the runtime is gone; the next change will show it.
  }
}, 300);

function renderBody(job) {
  const body = byId("job-body");
  body.setAttribute("aria-labelledby", `jobtab-${tab}`);
  body.replaceChildren(...({ result: resultTab, log: logTab, query: queryTab, details: detailsTab }[tab](job)));
  renderLate();
}

/** What comes after the job's own facts. Nothing else is drawn again, so what the user has opened stays open. */
function renderLate() {
  const breaches = document.getElementById("job-breaches");
  breaches?.replaceChildren(...(detail?.breachList ?? []).map((breach) => h("p.breach-note", null, h("strong", null, "Breach of the contract: "), breach.message)));
  const stderr = document.getElementById("job-stderr");
  if (stderr) stderr.hidden = !log.length;
  const text = document.getElementById("job-failure-text");
  if (text) text.hidden = log.length > 0;
  renderLog();
}

function resultTab(job) {
  const parts = [...troubles(job)];
  if (job.state === "queued") parts.push(h("p.faint", null, "Waiting for a worker with a free slot."));
  if (job.state === "running") {
    if (job.streaming) parts.push(h("p.faint.running", null, "The result comes:"), liveResult(job));
    else parts.push(h("p.faint.running", null, "Running. What it writes to stderr appears here."), logBox(true));
  }
  if (job.ended === null) return parts;
  const place = h("div");
  const show = () => resultView(job).then((view) => place.replaceChildren(view), (error) => place.replaceChildren(h("p.bad", null, error.message)));
  if (!job.failure) {
    show();
    return [...parts, place];
  }
  // The failure stands above. Its result says the same once more, for those who want to see it.
  const details = h("details.error-result", null, h("summary", null, `The error result, ${size(job.resultBytes)}`), place);
  details.addEventListener("toggle", () => details.open && !place.children.length && show());
  return [...parts, failureText(job), h("section", { id: "job-stderr" }, h("h3", null, "stderr"), logBox(true)), details];
}

/** What the error result has besides its message: a traceback, or the stderr of a job whose log is empty. */
function failureText(job) {
  const place = h("div", { id: "job-failure-text" });
  errorDetail(job).then((text) => text && place.replaceChildren(textView(text)), () => {});
  return place;
}

/** The result of a stream as it comes. */
function liveResult(job) {
  const pre = h("pre.mono.text", { id: "live-result", tabindex: "0", "aria-label": "The result so far" });
  (async () => {
    const decoder = new TextDecoder();
    let shown = 0;
    for await (const chunk of (await request(`/jobs/${job.id}/result`)).body) {
      if (!pre.isConnected || shown > LIVE_CHARACTERS) return; // which ends the request
      pre.append(decoder.decode(chunk, { stream: true }));
      shown += chunk.length;
    }
  })().catch(() => {}); // it broke off, or is not kept: the job's end says so
  return pre;
}

function troubles(job) {
  const parts = [h("div", { id: "job-breaches" })];
  if (job.state === "failed" || job.state === "lost") {
    const reason = job.failure?.reason;
    parts.push(h("p.failure", null, h("strong", null, reason ? `${reason}: ` : `${job.state}: `), troubleOf(job) ?? "the result says that it failed"));
  } else if (job.failure) {
    parts.push(h("p.failure", null, job.failure.message));
  }
  return parts;
}

function logTab() {
  return [h("div.row.tight", null, h("span.faint", { id: "log-count" }), h("span.space"), copyButton("Copy", () => log.map((line) => line.line).join("\n"))), logBox(false)];
}

const logBox = (isShort) => h("ol.log.mono", { id: "job-log", "data-short": isShort, "aria-live": "off", tabindex: "0", "aria-label": "Log of the job" });

function renderLog() {
  const box = document.getElementById("job-log");
  if (!box) return;
  const lines = box.dataset.short === "true" ? log.slice(-STDERR_SHOWN) : log;
  fillLog(box, lines);
  const count = document.getElementById("log-count");
  if (count) setText(count, log.length ? `${number(log.length)} lines${logDropped ? `; ${number(logDropped)} earlier ones are not kept` : ""}` : "It has written nothing to stderr.");
}

/** Lines of a log; the end stays in sight when it was. */
export function fillLog(box, lines) {
  const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
  box.replaceChildren(...lines.map((line) => h(`li.by-${line.stream}`, null, h("time", null, preciseTime(line.at)), h("span", null, plain(line.line)))));
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function queryTab(job) {
  if (!detail) return [h("p.faint", null, "…")];
  const bar = h("div.row.tight", null, h("span.faint", null, size(job.queryBytes)), h("span.space"),
    copyButton("Copy", () => wholeQuery(job)), copyButton("Copy as curl", () => curl(job)),
    h("a.button.quiet", { href: `/jobs/${job.id}/query`, download: "" }, "Download"));
  const note = detail.queryTruncated ? h("p.faint", null, "Only its first 64 KiB are shown.") : null;
  return [bar, note, queryText()].filter(Boolean);
}

function queryText() {
  try {
    return tree(parse(detail.query));
  } catch {
    return textView(detail.query);
  }
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const authorization = () => `-H 'Authorization: Bearer ${state.token}'`;

/** A line for a shell. A query that the page has in part only is fetched by the line itself. */
function curl(job) {
  const address = `${location.origin}/functions/${encodeURIComponent(job.function)}`;
  if (!detail.queryTruncated) return `curl ${authorization()} ${address} -d ${quoted(detail.query)}`;
  return `curl -s ${authorization()} ${location.origin}/jobs/${job.id}/query | curl ${authorization()} ${address} --data-binary @-`;
}

const wholeQuery = async (job) => (detail.queryTruncated ? (await request(`/jobs/${job.id}/query`)).text() : detail.query);

function detailsTab(job) {
  const rows = [
    ["Job id", h("span.row.tight", null, h("code", null, job.id), copyButton("Copy", job.id))],
    ["State", STATES[job.state] + (job.reason ? `: ${job.reason}` : "")],
    ["Waited", duration(job.queueMs)],
    ["Ran", duration(job.runMs)],
    ["Query", size(job.queryBytes)],
    ["Result", job.resultBytes === null ? "" : `${size(job.resultBytes)}${job.streamed ? ", streamed" : ""}, ${job.result?.mediaType ?? ""}`],
    ["Content-Type", job.contentType],
    ["Exit status", exitOf(job)],
    ["Time-out", job.timeoutMs === null ? "none" : duration(job.timeoutMs)],
    ["Handed out", job.attempts > 1 ? `${job.attempts} times` : ""],
    ["In hand", job.inHand && job.ended !== null ? "yes: nobody waits, and it blocks a slot until it is answered" : ""],
    ["User", job.userId],
    ["Replay of", job.replayOf && h("button.link", { type: "button", onclick: () => chooseJob(job.replayOf) }, numberOf(job.replayOf))],
  ];
  return [...troubles(job), timeline(job), h("dl.facts-list", null, rows.filter(([, value]) => value).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))))];
}

/** The steps of the job's life, each with the time since the one before. */
function timeline(job) {
  const steps = [["queued", job.created], ["polled", job.started], ["first byte", job.firstByte], ["posted", job.resultBytes === null ? null : job.ended], ["ended", job.resultBytes === null ? job.ended : null]];
  let before = null;
  return h("ol.timeline.mono", { "aria-label": "Timeline" }, steps.filter(([, at]) => at !== null).map(([name, at]) => {
    const since = before === null ? "" : `+${duration(at - before)}`;
    before = at;
    return h("li", null, h("span.step", null, name), h("time", null, preciseTime(at)), h("span.since", null, since));
  }));
}

const numberOf = (id) => (state.jobs.has(id) ? `#${state.jobs.get(id).number}` : id);

export async function replay() {
  const job = chosen();
  if (!job) return;
  try {
    const { jobId } = await (await request(`/jobs/${job.id}/replay?wait=false`, { method: "POST" })).json();
    followOwn(jobId);
  } catch (error) {
    byId("job-body").prepend(h("p.failure", null, error.message));
  }
}

async function edit() {
  const job = chosen();
  if (!job) return;
  const text = detail ? await wholeQuery(job) : await (await request(`/jobs/${job.id}/query`)).text();
  editQuery(job, text);
}

/** A job of the address that no list has. */
async function fetchChosen() {
  if (state.chosenJob === null || chosen()) return;
  try {
    putJobs([await getJson(`/jobs/${state.chosenJob}`)]);
  } catch {
    // It is not known any more, and the page says so.
  }
}

export function startJob() {
  on("connection", fetchChosen);
  byId("job-tabs").dataset.prefix = "jobtab-";
  byId("job-tabs").dataset.panel = "job-body";
  on("job jobs", render);
  on("job-log", reloadLog);
  setInterval(() => chosen()?.state === "running" && renderHead(chosen()), 100);
}
