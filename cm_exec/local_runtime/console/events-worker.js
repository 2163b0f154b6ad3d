// One stream of events for all tabs: a browser opens six connections to a host at most, and each tab would hold one.

const ports = new Set();
let source = null;
let hello = null;

const post = (message) => ports.forEach((port) => port.postMessage(message));

function open() {
  source = new EventSource("/events");
  source.addEventListener("hello", (event) => {
    hello = { kind: "hello", data: event.data };
    post(hello);
  });
  source.addEventListener("update", (event) => post({ kind: "update", data: event.data }));
  source.onerror = () => {
    source.close();
    hello = null;
    post({ kind: "lost" });
    setTimeout(reconnect, 1000);
  };
}

/** An EventSource does not say that it was refused for want of the token. */
async function reconnect() {
  try {
    const response = await fetch("/state");
    if (response.ok) return open();
    if (response.status === 401) post({ kind: "denied" });
  } catch {
    // The runtime is still gone.
  }
  setTimeout(reconnect, 1000);
}

onconnect = (event) => {
  const port = event.ports[0];
  ports.add(port);
  port.onmessage = () => ports.delete(port); // the tab is closed
  if (source === null) open();
  else if (hello !== null) port.postMessage(hello);
};
