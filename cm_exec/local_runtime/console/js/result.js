// A result, shown as what it is.

import { h } from "./dom.js";
import { number, plain, size } from "./format.js";
import { parse, parseStream } from "./json.js";
import { request } from "./store.js";
import { tree } from "./tree.js";

const HEX_BYTES = 8 * 1024;
const TEXT_CHARACTERS = 200_000;
const KEPT = 20;

const bodies = new Map();

/** The bytes of a job's result. Throws Error. */
async function bodyOf(job) {
  if (!bodies.has(job.id)) {
    const response = await request(`/jobs/${job.id}/result`);
    bodies.set(job.id, new Uint8Array(await response.arrayBuffer()));
    if (bodies.size > KEPT) bodies.delete(bodies.keys().next().value);
  }
  return bodies.get(job.id);
}

const VIEWS = {
  json: ["tree", "text", "hex"],
  text: ["text", "hex"],
  image: ["image", "hex"],
  audio: ["audio", "hex"],
  video: ["video", "hex"],
  pdf: ["hex"],
  binary: ["hex"],
};
const LABELS = { tree: "Tree", values: "Values", text: "Text", image: "Image", audio: "Audio", video: "Video", hex: "Hex" };

let preferred = null; // the view that was chosen last, where it fits

/** What an error result says besides its message, with its lines as lines: an SDK's traceback, or stderr; null for none. */
export async function errorDetail(job) {
  if (!job.result?.kept || !job.result.inline) return null;
  const text = new TextDecoder().decode(await bodyOf(job));
  if (job.result.kind === "text") return text;
  const { exception, stderr } = JSON.parse(text);
  const detail = exception ?? stderr;
  return typeof detail === "string" && detail.trim() !== job.failure?.message ? plain(detail) : null;
}

/** An element with the result of an ended job, its views to choose from and what can be done with it. */
export async function resultView(job) {
  const { result } = job;
  if (!result) return h("p.faint", null, "There is no result.");
  if (result.kind === "empty") return h("p.faint", null, "The result is empty: 0 bytes.");
  if (!result.kept) return h("p.faint", null, `The result, ${size(job.resultBytes)}, is not kept any more.`);
  if (!result.inline) return largeView(job);
  const bytes = await bodyOf(job);
  const text = ["json", "text"].includes(result.kind) ? new TextDecoder().decode(bytes) : null;
  const nodes = text === null ? null : nodesOf(result.kind, text);
  let views = VIEWS[result.kind];
  if (nodes === null) views = views.filter((view) => view !== "tree");
  else if (result.kind === "text") views = ["values", ...views];
  return switchable(job, views, { bytes, text, nodes });
}

function nodesOf(kind, text) {
  try {
    if (kind === "json") return [parse(text)];
  } catch {
    return null; // what Python's JSON allows and JSON does not
  }
  const nodes = parseStream(text);
  return nodes && nodes.length > 1 ? nodes : null;
}

function switchable(job, views, content) {
  const body = h("div.shown");
  const buttons = views.map((view) => h("button", { type: "button", "data-view": view, onclick: () => show(view, true) }, LABELS[view]));
  const show = (view, chosen) => {
    if (chosen) preferred = view;
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.view === view);
    body.replaceChildren(SHOW[view](job, content));
  };
  show(views.includes(preferred) ? preferred : views[0], false);
  const copy = content.text === null ? null : h("button.quiet", { type: "button", onclick: (event) => {
    navigator.clipboard.writeText(content.text);
    event.currentTarget.textContent = "Copied";
  } }, "Copy");
  const bar = h("div.row.tight", null,
    h("div.switch", { role: "group", "aria-label": "View" }, buttons),
    h("span.faint", null, `${job.result.mediaType.split(";")[0]}, ${size(job.resultBytes)}`),
    h("span.space"), copy, download(job));
  return h("div.result", null, bar, body);
}

const SHOW = {
  tree: (_, { nodes }) => tree(nodes[0]),
  values: (_, { nodes }) => h("ol.values", null, nodes.map((node) => h("li", null, tree(node)))),
  text: (_, { text }) => textView(text),
  image: (job, { bytes }) => {
    const facts = h("figcaption.faint");
    const image = h("img", { src: blobUrl(job, bytes), alt: `Result of ${job.function} #${job.number}` });
    image.onload = () => { facts.textContent = `${image.naturalWidth} × ${image.naturalHeight}`; };
    image.onerror = () => { facts.textContent = "The browser cannot show this image."; };
    return h("figure.picture", null, image, facts);
  },
  audio: (job, { bytes }) => h("audio", { controls: true, src: blobUrl(job, bytes) }),
  video: (job, { bytes }) => h("video", { controls: true, src: blobUrl(job, bytes) }),
  hex: (_, { bytes }) => hexView(bytes),
};

let lastUrl = null;

function blobUrl(job, bytes) {
  if (lastUrl) URL.revokeObjectURL(lastUrl);
  lastUrl = URL.createObjectURL(new Blob([bytes], { type: job.result.mediaType }));
  return lastUrl;
}

export function download(job) {
  return h("a.button.quiet", { href: `/jobs/${job.id}/result`, download: "" }, "Download");
}

/** Over 1 MiB: offered, with a look at the beginning for who wants it. */
function largeView(job) {
  const head = h("div");
  const look = h("button.quiet", { type: "button", onclick: async () => {
    look.disabled = true;
    const response = await request(`/jobs/${job.id}/result`, { headers: { Range: `bytes=0-${HEX_BYTES - 1}` } });
    head.replaceChildren(hexView(new Uint8Array(await response.arrayBuffer()), job.resultBytes));
  } }, `Look at the first ${size(HEX_BYTES)}`);
  return h("div.result", null,
    h("p.large", null, h("strong", null, size(job.resultBytes)), ` of ${job.result.mediaType.split(";")[0]}, too much for the page.`),
    h("div.row.tight", null, download(job), look), head);
}

export function textView(text) {
  const pre = h("pre.mono.text", { tabindex: "0" }, text.slice(0, TEXT_CHARACTERS));
  if (text.length <= TEXT_CHARACTERS) return pre;
  const rest = h("button.quiet", { type: "button", onclick: () => {
    pre.textContent = text;
    rest.remove();
  } }, `Show all ${number(text.length)} characters`);
  return h("div", null, pre, rest);
}

export function hexView(bytes, total = bytes.length) {
  const pre = h("pre.mono.hex", { tabindex: "0", "aria-label": "Hex dump" });
  const box = h("div", null, pre);
  let shown = 0;
  const more = h("button.quiet", { type: "button", onclick: () => grow() });
  const grow = () => {
    const end = Math.min(shown + HEX_BYTES, bytes.length);
    pre.append(hexLines(bytes, shown, end));
    shown = end;
    more.textContent = `${number(bytes.length - shown)} more bytes`;
    if (shown < bytes.length) box.append(more);
    else more.remove();
  };
  grow();
  if (total > bytes.length) box.append(h("p.faint", null, `… ${number(total - bytes.length)} more bytes`));
  return box;
}

function hexLines(bytes, from, end) {
  const lines = [];
  for (let at = from; at < end; at += 16) {
    const row = bytes.subarray(at, Math.min(at + 16, end));
    const pairs = Array.from(row, (byte) => byte.toString(16).padStart(2, "0"));
    const left = pairs.slice(0, 8).join(" ").padEnd(23);
    const right = pairs.slice(8).join(" ").padEnd(23);
    const characters = Array.from(row, (byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${left}  ${right}  ${characters}\n`);
  }
  return lines.join("");
}
