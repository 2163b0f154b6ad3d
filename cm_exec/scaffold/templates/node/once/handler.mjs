// A greeting. The query comes on stdin, the result goes to stdout, and stderr is the log.
import { readFileSync } from "node:fs";

function greet({ name }) {
  if (!name) throw new Error("the name is empty");
  return `Hello, ${name}!`;
}

try {
  const query = JSON.parse(readFileSync(0, "utf8"));
  process.stdout.write(JSON.stringify(greet(query)));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1; // process.exit would cut output that is still on its way
}
