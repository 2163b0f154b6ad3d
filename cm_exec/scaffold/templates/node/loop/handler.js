// A greeting. Each line of stdin is a query, each line of stdout its result, and stderr is the log.
// `envelope = true` in cm.toml gives a query its job's id, and a result names the job: none can be taken for another's.
const { createInterface } = require("node:readline");

async function greet({ name }) {
  if (!name) throw new Error("the name is empty");
  return `Hello, ${name}!`;
}

async function main() {
  for await (const line of createInterface({ input: process.stdin })) {
    const { jobId, query } = JSON.parse(line);
    console.log(JSON.stringify({ jobId, result: await greet(query) }));
  }
}

main().catch((error) => {
  console.error(error.message); // this job gets the error, the next one a new process
  process.exit(1);
});
