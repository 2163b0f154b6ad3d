// URLs in their normal form, without tracking parameters and fragments, each once.
const { readFileSync } = require("node:fs");

const { urls } = JSON.parse(readFileSync(0, "utf8"));
const tracking = new RegExp(process.env.TRACKING);

function clean(text) {
  const url = new URL(text);
  for (const name of [...url.searchParams.keys()]) {
    if (tracking.test(name)) url.searchParams.delete(name);
  }
  url.searchParams.sort();
  url.hash = "";
  return url.href;
}

process.stdout.write(JSON.stringify({ urls: [...new Set(urls.map(clean))] }));
