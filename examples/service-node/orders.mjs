// Two functions with many jobs at a time: while one waits for a system elsewhere, the others go on.
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";

const orders = { 7: { status: "shipped", total: 42.5 } };
const running = new Map();

async function find(number, signal) {
  await wait(20, undefined, { signal }); // a database, an HTTP service, ...
  if (!(number in orders)) throw new Error(`there is no order ${number}`);
  return orders[number];
}

const functions = {
  order_status: async ({ order }, signal) => (await find(order, signal)).status,
  order_total: async ({ order }, signal) => (await find(order, signal)).total,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { jobId, queryType, query, cancel } = JSON.parse(line);
  if (cancel) {
    running.get(jobId)?.abort(); // its answer, an error, is dropped
    continue;
  }
  const controller = new AbortController();
  running.set(jobId, controller);
  functions[queryType](query, controller.signal)
    .then((result) => ({ result }), (error) => ({ error: error.message }))
    .then((answer) => {
      running.delete(jobId);
      console.log(JSON.stringify({ jobId, ...answer }));
    });
}
