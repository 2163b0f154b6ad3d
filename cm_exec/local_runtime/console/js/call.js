// The query editor: a form where inputs are declared, JSON always. It remembers what was sent.

import { announce } from "./announce.js";
import { byId, h, setText } from "./dom.js";
import { example, fieldSet, inputType, typeName } from "./fields.js";
import { functionOf } from "./functions.js";
import { JsonError, parse, pretty } from "./json.js";
import { recall, remember } from "./memory.js";
import { chooseFunction, chooseJob, on, request, state } from "./store.js";
import { go } from "./views.js";

const RECENT = 12;
const AT_ONCE = 16; // requests in flight when a query is sent many times

const query = byId("query");
let shown = null; // the function that is in the editor
let schemaShown = null;
let form = null; // the fields of its inputs, null where none are declared

const inputsOf = (each) => (each?.schema && !each.untyped ? each.schema.inputs ?? [] : []);
const mode = () => byId("edit-mode").querySelector("input:checked").value;

function render() {
  const each = functionOf(state.chosenFunction);
  if (!each) return;
  setText(byId("function-name"), each.name);
  setText(byId("signature"), signature(each));
  setText(byId("description"), [each.description, each.service && `Served by the service ${each.service}.`].filter(Boolean).join(" "));
  const schema = JSON.stringify(each.schema);
  if (shown === each.name && schema === schemaShown) return;
  const another = shown !== each.name;
  shown = each.name;
  schemaShown = schema;
  buildForm(inputsOf(each));
  if (another) load(each);
  setMode(form && recall(`mode.${shown}`, "form") === "form" ? "form" : "json");
}

function signature(each) {
  if (!each.schema || each.untyped) return "no inputs declared: any JSON";
  const inputs = each.schema.inputs.map((input) => `${input.name}${input.required ? "" : "?"}: ${inputType(input)}`);
  const output = each.schema.output?.single?.dataType;
  return `(${inputs.join(", ")}) → ${output ? typeName(output) : "nothing"}`;
}

function buildForm(inputs) {
  form = inputs.length ? fieldSet(inputs) : null;
  byId("fields").replaceChildren(...(form ? [form.element] : []));
  byId("edit-mode").hidden = !form;
}

function load(each) {
  const text = recall(`query.${each.name}`) ?? example(inputsOf(each));
  putQuery(text);
  showRecent();
}

function putQuery(text) {
  query.value = text;
  query.rows = Math.min(18, Math.max(6, text.split("\n").length + 1));
  check();
}

/** Say what is wrong with the text; whether nothing is. */
function check() {
  const problem = problemOf(query.value);
  setText(byId("query-problem"), problem ?? "");
  query.setAttribute("aria-invalid", problem !== null);
  return problem === null;
}

function problemOf(text) {
  if (text.trim() === "") return null; // an empty body is {}
  try {
    parse(text);
    return null;
  } catch (error) {
    return error.message;
  }
}

function setMode(wanted) {
  if (wanted === "form" && !fillForm()) wanted = "json";
  for (const input of byId("edit-mode").querySelectorAll("input")) input.checked = input.value === wanted;
  byId("fields").hidden = wanted !== "form";
  byId("editor").hidden = wanted === "form";
  byId("format").hidden = wanted === "form";
}

/** Put the JSON into the fields; whether it fits them. */
function fillForm() {
  if (!form) return false;
  try {
    const node = query.value.trim() === "" ? null : parse(query.value);
    if (node && node.kind !== "object") throw new Error("the form is for an object");
    form.put(node, query.value);
    setText(byId("query-problem"), "");
    return true;
  } catch (error) {
    setText(byId("query-problem"), error.message);
    return false;
  }
}

/** Take the fields' JSON into the editor; whether they are right. */
function takeForm() {
  try {
    const text = form.json() ?? "{}";
    query.value = pretty(parse(text), text);
    setText(byId("query-problem"), "");
    return true;
  } catch (error) {
    setText(byId("query-problem"), error instanceof JsonError ? error.message : "");
    return false;
  }
}

function edited() {
  if (mode() === "form" ? takeForm() : check()) remember(`query.${shown}`, query.value);
}

// Recent queries

function showRecent() {
  const recent = recall(`recent.${shown}`, []);
  const select = byId("recent");
  select.replaceChildren(h("option", { value: "" }, recent.length ? `${recent.length}` : "none"),
    ...recent.map((text, index) => h("option", { value: index }, text.replace(/\s+/g, " ").slice(0, 80))));
  select.disabled = recent.length === 0;
}

function noteRecent(text) {
  if (text.length > 4096) return;
  const recent = recall(`recent.${shown}`, []).filter((other) => other !== text);
  remember(`recent.${shown}`, [text, ...recent].slice(0, RECENT));
  showRecent();
}

// Sending

async function send() {
  if (shown === null || (mode() === "form" ? !takeForm() : !check())) {
    announce("The query is not right");
    (mode() === "form" ? byId("fields").querySelector(".problem:not(:empty)")?.parentElement.querySelector("input, textarea") : query)?.focus();
    return;
  }
  const text = query.value;
  remember(`query.${shown}`, text);
  noteRecent(text);
  const times = Math.min(10_000, Math.max(1, Math.floor(Number(byId("times").value)) || 1));
  const timeout = byId("timeout").value;
  try {
    await sendTimes(`/functions/${encodeURIComponent(shown)}?wait=false${timeout === "" ? "" : `&timeout=${Number(timeout)}`}`, text, times);
  } catch (error) {
    setText(byId("query-problem"), error.message);
  }
}

async function sendTimes(path, body, times) {
  const user = byId("user-id").value.trim();
  const headers = user === "" ? {} : { "X-User-Id": user };
  const first = await (await request(path, { method: "POST", body, headers })).json();
  followOwn(first.jobId);
  let left = times - 1;
  const sendOn = async () => {
    while (left > 0) {
      left -= 1;
      await request(path, { method: "POST", body, headers });
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, left) }, sendOn));
}

const own = new Set();

/** Show a job that was sent from here, and say how it ended. */
export function followOwn(jobId) {
  own.add(jobId);
  chooseJob(jobId);
  go("job");
}

function announceOwn() {
  for (const id of own) {
    const job = state.jobs.get(id);
    if (!job || job.ended === null) continue;
    own.delete(id);
    announce(`Job ${job.number}, ${job.function}: ${job.state}`);
  }
}

/** Put a job's query into the editor. */
export function editQuery(job, text) {
  chooseFunction(job.function);
  remember(`query.${job.function}`, text);
  shown = null;
  render();
  go("call");
  (mode() === "form" ? byId("fields").querySelector("input, textarea, select") : query)?.focus();
}

export const sendQuery = () => byId("call-form").requestSubmit();
export const focusQuery = () => (mode() === "form" ? byId("fields").querySelector("input, textarea, select") : query).focus();

export function startCall() {
  on("functions function", render);
  on("jobs", announceOwn);
  on("runtime", () => {
    const timeout = state.runtime.callTimeoutMs;
    byId("timeout").placeholder = timeout === null ? "none" : timeout / 1000;
  });
  byId("call-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  query.addEventListener("input", edited);
  byId("fields").addEventListener("input", edited);
  byId("edit-mode").addEventListener("change", () => {
    const wanted = mode();
    if (wanted === "json") putQuery(query.value);
    setMode(wanted);
    remember(`mode.${shown}`, mode());
  });
  byId("format").addEventListener("click", () => {
    if (!check() || query.value.trim() === "") return;
    putQuery(pretty(parse(query.value), query.value));
    edited();
  });
  byId("recent").addEventListener("change", (event) => {
    if (event.target.value === "") return;
    putQuery(recall(`recent.${shown}`, [])[Number(event.target.value)]);
    event.target.value = "";
    if (mode() === "form") setMode("form");
    edited();
  });
}
