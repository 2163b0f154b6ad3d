// How to connect a worker, while none is there; and why one that tries does not get through.

import { byId, copyButton, h } from "./dom.js";
import { time } from "./format.js";
import { on, state } from "./store.js";

const SHOWN = 3;
const KINDS = new Set(["connection", "unauthorized"]);

const exports = () => Object.entries(state.environment).map(([name, value]) => `export ${name}='${value}'\n`).join("");

function render() {
  const { worker } = state;
  const isNameless = state.chosenFunction === null;
  byId("call-form").hidden = isNameless;
  byId("call-head").hidden = isNameless;
  const box = byId("connect");
  box.hidden = !worker || worker.state !== "absent" || state.jobs.size > 0 || !["none", undefined].includes(worker.process?.state);
  if (box.hidden) return;
  if (!byId("connect-variables").children.length) {
    byId("connect-variables").append(copyButton("Copy", exports), h("pre.mono.text", { tabindex: "0" }, exports()));
  }
  const problems = state.breaches.filter((breach) => KINDS.has(breach.kind)).slice(-SHOWN);
  byId("connect-problems").replaceChildren(...problems.map((breach) =>
    h("li", null, h("time.mono", null, time(breach.at)), h("span", null, breach.message))));
}

export function startConnect() {
  on("worker runtime breaches jobs functions function", render);
}
