// Amounts into another currency. The rates are loaded once; a result names its job, so that none can be another's.
const rates = { EUR: 1, USD: 1.25, CHF: 0.95 };

const lines = require("node:readline").createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const { jobId, query } = JSON.parse(line);
  if (!(query.from in rates && query.to in rates)) throw new Error("there is no rate for such a currency");
  const result = query.amounts.map((amount) => Math.round((amount / rates[query.from]) * rates[query.to] * 100) / 100);
  console.log(JSON.stringify({ jobId, result }));
});
