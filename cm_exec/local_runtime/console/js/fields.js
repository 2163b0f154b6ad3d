// Form fields for the platform's data types. A field gives and takes JSON as text, so that no digit is lost.

import { h } from "./dom.js";
import { parse, pretty } from "./json.js";

const INTEGERS = new Set(["integer", "long", "short"]);
const NUMBERS = new Set(["float", "double"]);
let ids = 0;

/** The type as an author would write it. */
export function typeName(type) {
  const body = type?.[type?.type] ?? {};
  switch (type?.type) {
    case "list":
    case "set":
      return `${type.type}<${typeName(body.elementsType)}>`;
    case "map":
      return `map<${typeName(body.keysType)}, ${typeName(body.valuesType)}>`;
    case "optionalType":
      return `optional<${typeName(body.wrappedType)}>`;
    case "anonymousCustomType":
      return "struct";
    default:
      return type?.type ?? "unknown";
  }
}

/** The type of an input, without the word that it is optional. */
export const inputType = (input) => typeName(!input.required && input.dataType?.type === "optionalType" ? input.dataType.optionalType.wrappedType : input.dataType);

/** A field: its `element`; `json()`, undefined where it is left empty, or an Error; `put(node, source)`. */
export function field(type, id = `field-${(ids += 1)}`) {
  const body = type?.[type?.type] ?? {};
  if (type?.type === "optionalType") return field(body.wrappedType, id);
  if (type?.type === "boolean") return booleanField(id);
  if (INTEGERS.has(type?.type)) return numberField(id, /^-?\d+$/, "a whole number", "numeric");
  if (NUMBERS.has(type?.type)) return numberField(id, /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/, "a number", "decimal");
  if (type?.type === "string") return stringField(id);
  if (type?.type === "timestamp") return timestampField(id);
  if (type?.type === "date") return textField(id, { type: "date" });
  if (type?.type === "decimal") return textField(id, { inputmode: "decimal", placeholder: "12.50" });
  if (type?.type === "binary" || type?.type === "byte") return binaryField(id);
  if (type?.type === "list" || type?.type === "set") return listField(id, body.elementsType);
  if (type?.type === "anonymousCustomType") return structField(id, body);
  return rawField(id);
}

const scalar = (node, source) => (node.kind === "string" ? node.value : node.kind === "null" ? "" : source.slice(node.start, node.end));

function textField(id, attributes, encode = JSON.stringify) {
  const element = h("input.mono", { id, type: "text", autocomplete: "off", ...attributes });
  return {
    element,
    json: () => (element.value === "" ? undefined : encode(element.value)),
    put: (node, source) => { element.value = node ? scalar(node, source) : ""; },
  };
}

const numberField = (id, pattern, expected, inputmode) =>
  textField(id, { inputmode }, (text) => {
    const trimmed = text.trim();
    if (!pattern.test(trimmed)) throw new Error(`${expected} expected`);
    return trimmed.replace(/^(-?)0+(?=\d)/, "$1");
  });

const timestampField = (id) =>
  textField(id, { placeholder: "milliseconds since 1970, or 2026-01-31T12:00:00Z" }, (text) => (/^-?\d+$/.test(text.trim()) ? text.trim() : JSON.stringify(text.trim())));

function booleanField(id) {
  const element = h("select", { id }, h("option", { value: "" }, "–"), h("option", { value: "true" }, "true"), h("option", { value: "false" }, "false"));
  return {
    element,
    json: () => element.value || undefined,
    put: (node) => { element.value = node?.kind === "boolean" ? node.value : ""; },
  };
}

function stringField(id) {
  const element = h("textarea.mono", { id, rows: 1, spellcheck: "false" });
  const fit = () => { element.rows = Math.min(8, element.value.split("\n").length); };
  element.addEventListener("input", fit);
  return {
    element,
    json: () => (element.value === "" ? undefined : JSON.stringify(element.value)),
    empty: '""',
    put: (node, source) => {
      element.value = node ? scalar(node, source) : "";
      fit();
    },
  };
}

function binaryField(id) {
  const inner = textField(id, { placeholder: "Base64" });
  const file = h("input", { type: "file", "aria-label": "Take a file", onchange: async () => {
    const bytes = new Uint8Array(await file.files[0].arrayBuffer());
    let text = "";
    for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
    inner.element.value = btoa(text);
    inner.element.dispatchEvent(new Event("input", { bubbles: true }));
  } });
  return { ...inner, element: h("div.pair", null, inner.element, file) };
}

function rawField(id) {
  const element = h("textarea.mono", { id, rows: 2, spellcheck: "false", placeholder: "JSON" });
  const fit = () => { element.rows = Math.min(10, Math.max(2, element.value.split("\n").length)); };
  element.addEventListener("input", fit);
  return {
    element,
    json: () => {
      if (element.value.trim() === "") return undefined;
      parse(element.value);
      return element.value.trim();
    },
    put: (node, source) => {
      element.value = node ? pretty(node, source) : "";
      fit();
    },
  };
}

function listField(id, elementType) {
  let items = [];
  const list = h("ol.items");
  const changed = () => list.dispatchEvent(new Event("input", { bubbles: true }));
  const add = (node, source) => {
    const item = field(elementType);
    item.element.setAttribute("aria-label", `Item ${items.length + 1}`);
    item.put(node, source);
    const row = h("li", null, item.element, h("button.quiet", { type: "button", "aria-label": "Remove", onclick: () => {
      items = items.filter((other) => other !== item);
      row.remove();
      changed();
    } }, "×"));
    items.push(item);
    list.append(row);
    return item;
  };
  const button = h("button.quiet", { type: "button", onclick: () => {
    add().element.focus?.();
    changed();
  } }, "Add");
  return {
    element: h("div.list", { id, role: "group" }, list, button),
    isGroup: true,
    json: () => (items.length ? `[${items.map((item) => item.json() ?? item.empty ?? "null").join(", ")}]` : undefined),
    empty: "[]",
    put: (node, source) => {
      items = [];
      list.replaceChildren();
      for (const item of node?.items ?? []) add(item, source);
    },
  };
}

const isRequired = (body, name, dataType) => body.fieldMetadata?.[name]?.required ?? dataType.type !== "optionalType";

function structField(id, body) {
  const inputs = Object.entries(body.fields ?? {}).map(([name, dataType]) =>
    ({ name, dataType, description: body.fieldMetadata?.[name]?.documentation, required: isRequired(body, name, dataType) }));
  const inner = fieldSet(inputs);
  return { ...inner, element: h("div.struct", { id, role: "group" }, inner.element), isGroup: true };
}

/** Fields for named inputs; together they are an object. What the form does not know is kept as it is. */
export function fieldSet(inputs) {
  const parts = inputs.map((input) => {
    const id = `field-${(ids += 1)}`;
    const made = field(input.dataType, id);
    const problem = h("p.problem", { id: `${id}-problem` });
    const label = h(made.isGroup ? "div.label" : "label", { for: made.isGroup ? null : id, id: `${id}-label` }, h("span.mono", null, input.name), " ", h("span.type", null, `${inputType(input)}${input.required ? "" : ", optional"}`));
    if (made.isGroup) made.element.setAttribute("aria-labelledby", `${id}-label`);
    const element = h("div.field", null, label, input.description && h("p.about", null, input.description), made.element, problem);
    return { input, made, problem, element };
  });
  let others = [];
  return {
    element: h("div", null, parts.map((part) => part.element)),
    json: () => {
      const members = parts.flatMap((part) => memberOf(part));
      const all = [...members, ...others.map(([name, text]) => `${JSON.stringify(name)}: ${text}`)];
      return all.length ? `{${all.join(", ")}}` : undefined;
    },
    empty: "{}",
    put: (node, source) => {
      const members = new Map(node?.members ?? []);
      for (const { input, made, problem } of parts) {
        problem.textContent = "";
        made.put(members.get(input.name), source);
        members.delete(input.name);
      }
      others = [...members].map(([name, value]) => [name, source.slice(value.start, value.end)]);
    },
  };
}

function memberOf({ input, made, problem }) {
  problem.textContent = "";
  try {
    const text = made.json() ?? (input.required ? made.empty : undefined);
    return text === undefined ? [] : [`${JSON.stringify(input.name)}: ${text}`];
  } catch (error) {
    problem.textContent = error.message;
    throw error;
  }
}

/** A query to start from. */
export function example(inputs) {
  const members = inputs.filter((input) => input.required).map((input) => [input.name, valueOf(input.dataType)]);
  return members.length ? JSON.stringify(Object.fromEntries(members), null, 2) : "{}";
}

function valueOf(type) {
  const body = type?.[type?.type] ?? {};
  if (INTEGERS.has(type?.type)) return 1;
  if (NUMBERS.has(type?.type)) return 1.5;
  switch (type?.type) {
    case "boolean": return true;
    case "string": return "text";
    case "date": return "1969-07-20";
    case "decimal": return "1.5";
    case "binary":
    case "byte": return "AA==";
    case "timestamp": return "2024-02-29T12:00:00Z";
    case "list":
    case "set": return [valueOf(body.elementsType)];
    case "map": return { key: valueOf(body.valuesType) };
    case "anonymousCustomType":
      return Object.fromEntries(Object.entries(body.fields ?? {}).filter(([name, each]) => isRequired(body, name, each)).map(([name, each]) => [name, valueOf(each)]));
    default: return null;
  }
}
