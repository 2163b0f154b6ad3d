// Numbers and times for people.

const count = new Intl.NumberFormat("en");
export const number = (value) => count.format(value);

export function duration(ms) {
  if (ms === null || ms === undefined) return "";
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  if (bytes < 1024) return `${bytes} B`;
  let amount = bytes;
  for (const unit of ["KiB", "MiB", "GiB"]) {
    amount /= 1024;
    if (amount < 1024 || unit === "GiB") return `${amount < 10 ? amount.toFixed(1) : Math.round(amount)} ${unit}`;
  }
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const time = (ms) => (ms === null ? "" : clock.format(ms));
export const preciseTime = (ms) => (ms === null ? "" : `${clock.format(ms)}.${String(ms % 1000).padStart(3, "0")}`);

export const STATES = {
  queued: "○ queued",
  running: "◐ running",
  done: "● done",
  failed: "✕ failed",
  lost: "⊘ lost",
};

/** What a command's end was: its exit status or signal. */
export function exitOf(job) {
  const failure = job.failure;
  if (failure?.signal) return failure.signal.replace(/^SIG/, "");
  if (failure?.exitCode !== null && failure?.exitCode !== undefined) return String(failure.exitCode);
  return job.state === "done" ? "0" : "";
}

/** One sentence on what went wrong, or null. */
export const troubleOf = (job) => job.failure?.message ?? job.reason ?? null;

/** A share of sorted numbers. */
export const quantile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

/** Text without the escape sequences that colour a terminal. */
export const plain = (text) => text.replace(/\x1b\[[0-9;?]*[ -/]*[@-~]/g, "").replace(/\r/g, "");
