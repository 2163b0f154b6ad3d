// How long calls took: a dot a job on a logarithmic scale, since a slow one must not flatten the rest.

import { byId, h, svg } from "./dom.js";
import { duration, quantile } from "./format.js";
import { timesOf } from "./functions.js";
import { chooseJob, on, state } from "./store.js";

const HEIGHT = 108;
const LEFT = 46;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 8;

/** A small line of the last durations. */
export function spark(jobs) {
  const width = 44;
  const height = 14;
  const box = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
  if (jobs.length < 2) return box;
  const scale = logScale(jobs.map((job) => job.runMs), height - 3, 1.5);
  const points = jobs.map((job, index) => `${((index / (jobs.length - 1)) * (width - 3) + 1.5).toFixed(1)},${scale(job.runMs).toFixed(1)}`);
  box.append(svg("polyline", { points: points.join(" "), class: "line" }));
  return box;
}

function logScale(values, height, top) {
  const [low, high] = bounds(values);
  return (value) => top + height - ((Math.log10(Math.max(value, 0.01)) - low) / (high - low)) * height;
}

/** Exponents of ten around the values; half a decade at least. */
function bounds(values) {
  const logs = values.map((value) => Math.log10(Math.max(value, 0.01)));
  let low = Math.min(...logs) - 0.08;
  let high = Math.max(...logs) + 0.08;
  if (high - low < 0.6) {
    const middle = (low + high) / 2;
    [low, high] = [middle - 0.3, middle + 0.3];
  }
  return [low, high];
}

function ticks(values) {
  const [low, high] = bounds(values);
  const found = [];
  for (let exponent = Math.floor(low); exponent <= Math.ceil(high); exponent += 1) {
    const steps = high - low < 1.4 ? [1, 2, 5] : [1];
    for (const step of steps) {
      const at = Math.log10(step) + exponent;
      if (at >= low && at <= high) found.push(step * 10 ** exponent);
    }
  }
  return found.length > 6 ? found.filter((_, index) => index % 2 === 0) : found;
}

let drawn = "";

function render() {
  const figure = byId("chart");
  const name = state.chosenFunction;
  const jobs = name === null ? [] : timesOf(name);
  const width = Math.max(220, figure.parentElement.clientWidth - 28);
  const key = [name, width, jobs.length, jobs.at(-1)?.number, state.chosenJob].join();
  if (key === drawn || figure.parentElement.clientWidth === 0) return;
  drawn = key;
  figure.hidden = jobs.length === 0;
  if (jobs.length) figure.replaceChildren(caption(jobs), plot(jobs, width));
}

function caption(jobs) {
  const sorted = jobs.map((job) => job.runMs).sort((a, b) => a - b);
  const facts = [["median", quantile(sorted, 0.5)], ["95 %", quantile(sorted, 0.95)], ["slowest", sorted.at(-1)]];
  return h("figcaption", null, h("span", null, `Last ${jobs.length} call${jobs.length === 1 ? "" : "s"}`),
    facts.map(([label, value]) => h("span.fact", null, `${label} `, h("b", null, duration(value)))));
}

function plot(jobs, width) {
  const values = jobs.map((job) => job.runMs);
  const y = logScale(values, HEIGHT - TOP - BOTTOM, TOP);
  const room = width - LEFT - RIGHT - 8;
  const step = Math.min(12, room / Math.max(jobs.length - 1, 1));
  const box = svg("svg", { width, height: HEIGHT, role: "img", "aria-label": describe(jobs) });
  for (const tick of ticks(values)) {
    const at = Math.round(y(tick)) + 0.5;
    const label = svg("text", { x: LEFT - 8, y: at + 3.5, class: "tick" });
    label.textContent = duration(tick).replace(/\.0+ /, " ").replace(/\.(\d)0 /, ".$1 ");
    box.append(svg("line", { x1: LEFT, x2: width - RIGHT, y1: at, y2: at, class: "grid" }), label);
  }
  const sorted = [...values].sort((a, b) => a - b);
  const median = y(quantile(sorted, 0.5));
  box.append(svg("line", { x1: LEFT, x2: width - RIGHT, y1: median, y2: median, class: "median" }));
  jobs.forEach((job, index) => box.append(dot(job, LEFT + 4 + index * step, y(job.runMs))));
  return box;
}

function dot(job, x, y) {
  const chosen = job.id === state.chosenJob;
  const circle = svg("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: chosen ? 4.5 : 2.8, class: `dot ${job.state}${chosen ? " chosen" : ""}` });
  const title = svg("title");
  title.textContent = `#${job.number} ${job.state}, ${duration(job.runMs)}`;
  circle.append(title);
  circle.addEventListener("click", () => chooseJob(job.id));
  return circle;
}

function describe(jobs) {
  const sorted = jobs.map((job) => job.runMs).sort((a, b) => a - b);
  const failed = jobs.filter((job) => job.state !== "done").length;
  return `Durations of the last ${jobs.length} calls: median ${duration(quantile(sorted, 0.5))}, `
    + `95 percent within ${duration(quantile(sorted, 0.95))}, slowest ${duration(sorted.at(-1))}, ${failed} failed`;
}

export function startChart() {
  on("jobs function job", render);
  new ResizeObserver(render).observe(byId("chart").parentElement);
}
