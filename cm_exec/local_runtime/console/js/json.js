// JSON as it stands: numbers keep their digits, names their order, and every value knows where it is in the text.

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORD = /true|false|null/y;
const DEEPEST = 500;

export class JsonError extends Error {
  constructor(text, at, expected) {
    const before = text.slice(0, at);
    const line = before.split("\n").length;
    const column = at - before.lastIndexOf("\n");
    const found = at >= text.length ? "the end" : JSON.stringify(text[at]);
    super(`line ${line}, column ${column}: expected ${expected}, found ${found}`);
    this.at = at;
  }
}

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found?.[0];
  }

  space() {
    this.match(SPACE);
  }

  take(character) {
    if (this.text[this.at] !== character) return false;
    this.at += 1;
    return true;
  }

  fail(expected) {
    throw new JsonError(this.text, this.at, expected);
  }

  value(depth = 0) {
    if (depth > DEEPEST) this.fail("fewer levels");
    this.space();
    const start = this.at;
    const node = this.take("{") ? this.object(depth) : this.take("[") ? this.array(depth) : this.scalar();
    node.start = start;
    node.end = this.at;
    this.space();
    return node;
  }

  scalar() {
    const first = this.text[this.at];
    if (first === '"') return { kind: "string", value: this.string() };
    const word = this.match(WORD);
    if (word) return { kind: word === "null" ? "null" : "boolean", value: word };
    const digits = this.match(NUMBER);
    if (digits) return { kind: "number", value: digits };
    return this.fail("a value");
  }

  string() {
    const raw = this.match(STRING);
    if (raw === undefined) this.fail("a string that ends");
    return JSON.parse(raw);
  }

  array(depth) {
    const items = [];
    this.space();
    if (this.take("]")) return { kind: "array", items };
    do items.push(this.value(depth + 1));
    while (this.take(","));
    if (!this.take("]")) this.fail('"," or "]"');
    return { kind: "array", items };
  }

  object(depth) {
    const members = [];
    this.space();
    if (this.take("}")) return { kind: "object", members };
    do {
      this.space();
      if (this.text[this.at] !== '"') this.fail("a name in quotes");
      const name = this.string();
      this.space();
      if (!this.take(":")) this.fail('":"');
      members.push([name, this.value(depth + 1)]);
    } while (this.take(","));
    if (!this.take("}")) this.fail('"," or "}"');
    return { kind: "object", members };
  }
}

/** One value. Throws JsonError. */
export function parse(text) {
  const reader = new Reader(text);
  const node = reader.value();
  if (reader.at < text.length) reader.fail("the end");
  return node;
}

/** Values one after the other, as streams bring them; null where the text is something else. */
export function parseStream(text) {
  const reader = new Reader(text);
  const nodes = [];
  try {
    reader.space();
    while (reader.at < text.length) nodes.push(reader.value());
  } catch (error) {
    if (error instanceof JsonError) return null;
    throw error;
  }
  return nodes;
}

/** The text of a node with two blanks a level; scalars as they were written. */
export function pretty(node, source, indent = "") {
  const deeper = `${indent}  `;
  if (node.kind === "array" && node.items.length) {
    const items = node.items.map((item) => deeper + pretty(item, source, deeper));
    return `[\n${items.join(",\n")}\n${indent}]`;
  }
  if (node.kind === "object" && node.members.length) {
    const members = node.members.map(([name, item]) => `${deeper}${JSON.stringify(name)}: ${pretty(item, source, deeper)}`);
    return `{\n${members.join(",\n")}\n${indent}}`;
  }
  return source.slice(node.start, node.end);
}
