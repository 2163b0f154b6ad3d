// A module on the official TypeScript SDK, with what goes well in it and what does not.
// Run with NODE_PATH at the folder that the SDK is installed in.
const { ComputeModule } = require("@palantir/compute-module");
const { Type } = require("@sinclair/typebox");

const numbers = Type.Object({ x: Type.Integer(), y: Type.Integer() });

let here = [];

new ComputeModule({
  definitions: {
    echo: { input: Type.Object({}), output: Type.String() },
    add: { input: numbers, output: Type.Integer() },
    notAnInteger: { input: numbers, output: Type.Integer() },
  },
})
  .register("echo", async (query) => query)
  .register("add", async ({ x, y }) => x + y)
  .register("notAnInteger", async () => "five")
  .register("nothing", async () => undefined)
  .register("fail", async () => {
    throw new Error("no such luck");
  })
  .register("failAtOnce", () => {
    throw new Error("no such luck");
  })
  .register("meet", ({ jobs }) =>
    // Come back when so many jobs are here at once.
    new Promise((resolve) => {
      here.push(resolve);
      if (here.length >= jobs) {
        here.forEach((go) => go(jobs));
        here = [];
      }
    }),
  )
  .register("hang", () => new Promise(() => {}))
  .registerStreaming("count", async ({ x, y }, writable) => {
    for (let n = x; n < y; n += 1) writable.write(JSON.stringify(n));
    writable.end();
  });
