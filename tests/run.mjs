/**
 * Runs test files, each as a process of its own, and says at the end which failed: `node run.mjs [options] [files]`. By
 * default those of this folder.
 *
 * Not `node --test`, whose parent process reads frames out of its children's output, and in versions up to 24 may turn
 * round for ever over one that it takes for another (nodejs/node#62693): nothing ends it then but SIGKILL.
 *
 * A file that takes longer than `--limit` is ended, with what it started, and is given one more run: whatever a test
 * waits for has an end of its own, so what hung is a browser or a client, and the next one of them does not.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    /** How many files run at a time. Above one, what a file prints comes when it has ended. */
    "at-once": { type: "string", default: "1" },
    /** In seconds, for each file. */
    limit: { type: "string", default: "240" },
  },
});
const AT_ONCE = Number(values["at-once"]);
const LIMIT_MS = Number(values.limit) * 1000;
/** How long a process may take to end what it started. */
const MERCY_MS = 5_000;

const isTest = (name) => name.endsWith(".test.js");
const waiting = positionals.length ? [...positionals] : readdirSync(".").filter(isTest).sort();
/** What to say at the end. */
const failures = [];

/** @returns {Promise<"passed" | "failed" | "hung">} */
async function run(file) {
  const child = spawn(process.execPath, ["--test-force-exit", "--test-reporter=spec", file], {
    stdio: ["ignore", AT_ONCE > 1 ? "pipe" : "inherit", AT_ONCE > 1 ? "pipe" : "inherit"],
  });
  if (AT_ONCE === 1) console.log(`\n${file}`);
  const output = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => output.push(chunk));
  let isLate = false;
  const timers = [
    setTimeout(() => {
      isLate = true;
      child.kill("SIGTERM");
    }, LIMIT_MS),
    setTimeout(() => child.kill("SIGKILL"), LIMIT_MS + MERCY_MS),
  ];
  const closed = once(child, "close");
  const [code] = await once(child, "exit");
  timers.forEach(clearTimeout);
  // What it started, and did not end, may hold its output open.
  await Promise.race([closed, sleep(MERCY_MS, null, { ref: false })]);
  if (output.length) process.stdout.write(Buffer.concat([Buffer.from(`\n${file}\n`), ...output]));
  if (isLate) return "hung";
  return code === 0 ? "passed" : "failed";
}

async function work() {
  for (let file = waiting.shift(); file; file = waiting.shift()) {
    let outcome = await run(file);
    if (outcome === "hung") {
      console.log(`\n${file} took longer than ${LIMIT_MS / 1000} s, and runs once more`);
      outcome = await run(file);
    }
    if (outcome !== "passed") failures.push(`${file} ${outcome}`);
  }
}

const began = Date.now();
const count = waiting.length;
// No files is a mistake in how this was called, and no success.
if (!count) failures.push("there are no tests");
await Promise.all(Array.from({ length: AT_ONCE }, work));
const seconds = ((Date.now() - began) / 1000).toFixed(0);
console.log(failures.length ? `\n${failures.map((line) => `✖ ${line}`).join("\n")}` : `\n✔ ${count} files of tests in ${seconds} s`);
process.exitCode = failures.length ? 1 : 0;
