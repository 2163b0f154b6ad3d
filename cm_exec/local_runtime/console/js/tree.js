// JSON as a tree that opens: `details` elements, so that keyboard and screen readers know it already.

import { h } from "./dom.js";
import { number } from "./format.js";

const AT_ONCE = 100;
const OPEN_NODES = 60;
const PREVIEWED = 3;
const PREVIEW_LENGTH = 24;

export function tree(node) {
  return h("div.tree.mono", null, element(node, null, { open: OPEN_NODES }));
}

function element(node, label, budget) {
  const children = node.kind === "array" ? node.items.map((item, index) => [index, item]) : node.members;
  if (!children) return h("div.leaf", null, name(label), scalar(node));
  if (!children.length) return h("div.leaf", null, name(label), h("span.punct", null, node.kind === "array" ? "[ ]" : "{ }"));
  const details = h("details", null, h("summary", null, name(label), h("span.punct", null, summaryOf(node, children)), h("span.preview", { "data-preview": preview(node, children) })));
  let filled = false;
  const fill = () => {
    if (filled) return;
    filled = true;
    more(details, children, 0, budget);
  };
  details.addEventListener("toggle", () => details.open && fill());
  if (label === null || (children.length <= 20 && budget.open > 0)) {
    budget.open -= children.length;
    details.open = true;
    fill();
  }
  return details;
}

function more(details, children, from, budget) {
  const part = children.slice(from, from + AT_ONCE);
  details.append(...part.map(([label, node]) => element(node, label, budget)));
  const left = children.length - from - part.length;
  if (left === 0) return;
  const button = h("button.quiet", { type: "button" }, `${number(left)} more`);
  button.onclick = () => {
    button.remove();
    more(details, children, from + AT_ONCE, { open: 0 });
  };
  details.append(button);
}

const name = (label) =>
  label === null ? null : h(typeof label === "number" ? "span.index" : "span.key", null, `${label}`, h("span.punct", null, ": "));

function summaryOf(node, children) {
  const what = node.kind === "array" ? "item" : "member";
  const count = `${number(children.length)} ${what}${children.length === 1 ? "" : "s"}`;
  return node.kind === "array" ? `[ ${count} ]` : `{ ${count} }`;
}

/** The first scalars of a closed row. */
function preview(node, children) {
  const shown = children.slice(0, PREVIEWED).map(([label, child]) => {
    const text = child.items ? "[…]" : child.members ? "{…}" : child.kind === "string" ? JSON.stringify(child.value) : child.value;
    const value = text.length > PREVIEW_LENGTH ? `${text.slice(0, PREVIEW_LENGTH)}…` : text;
    return node.kind === "array" ? value : `${label}: ${value}`;
  });
  return ` ${shown.join(", ")}${children.length > PREVIEWED ? ", …" : ""}`;
}

const scalar = (node) =>
  node.kind === "string" ? h("span.string", null, JSON.stringify(node.value)) : h(`span.${node.kind}`, null, node.value);
