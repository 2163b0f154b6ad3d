// One Chromium that renders pages, with their scripts, for several jobs at a time.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createInterface } from "node:readline";

process.on("SIGTERM", () => chromium.kill("SIGKILL")); // at once: nothing in its profile is worth a slow end
const profile = mkdtempSync("/tmp/browser-"); // Chromium needs a short path for its sockets
const options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"];
const chromium = spawn("chromium", [...options, "--remote-debugging-pipe", `--user-data-dir=${profile}`], {
  env: { ...process.env, TMPDIR: profile },
  stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"], // its protocol: JSON texts with a NUL after each
});
chromium.on("exit", (status) => {
  rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
  process.exit(status ?? 1);
});
chromium.stdio[3].on("error", () => {}); // it has ended, and the event above follows
chromium.stdio[4].on("error", () => {});

const replies = new Map();
let number = 0;
let rest = "";
chromium.stdio[4].setEncoding("utf8").on("data", (text) => {
  const messages = (rest + text).split("\0");
  rest = messages.pop();
  for (const { id, result, error } of messages.map((message) => JSON.parse(message))) {
    const reply = replies.get(id);
    replies.delete(id);
    if (error) reply?.reject(new Error(error.message));
    else reply?.resolve(result);
  }
});

const call = (method, params = {}, sessionId = undefined) =>
  new Promise((resolve, reject) => {
    replies.set(++number, { resolve, reject });
    chromium.stdio[3].write(`${JSON.stringify({ id: number, method, params, sessionId })}\0`);
  });

async function render({ html }) {
  if (typeof html !== "string") throw new Error("html must be a string");
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  try {
    const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
    const { frameTree } = await call("Page.getFrameTree", {}, sessionId);
    await call("Page.setDocumentContent", { frameId: frameTree.frame.id, html }, sessionId);
    const expression = "({ title: document.title, text: document.body.innerText })";
    const { result } = await call("Runtime.evaluate", { expression, returnByValue: true }, sessionId);
    return result.value;
  } finally {
    await call("Target.closeTarget", { targetId });
  }
}

const send = (message) => console.log(JSON.stringify(message));

await call("Browser.getVersion");
send({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const { jobId, query, cancel } = JSON.parse(line);
  if (!cancel) render(query).then((result) => send({ jobId, result }), (error) => send({ jobId, error: error.message }));
}
chromium.kill("SIGKILL");
