// A greeting. Each line of stdin is a query; its result is a line on file descriptor 3. What is printed is a log.
// `envelope = true` in cm.toml gives each query its job's id, and a result names the job: no result can answer another.
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";

console.log = console.error; // libraries print too

async function greet({ name }) {
  if (!name) throw new Error("the name is empty");
  return `Hello, ${name}!`;
}

try {
  for await (const line of createInterface({ input: process.stdin })) {
    const { jobId, query } = JSON.parse(line);
    writeSync(3, `${JSON.stringify({ jobId, result: await greet(query) })}\n`);
  }
} catch (error) {
  console.error(error.message); // this job gets the error, the next one a new process
  process.exitCode = 1;
  process.stdin.destroy();
}
