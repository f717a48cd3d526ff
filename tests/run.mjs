/**
 * Runs test files, each in a process of its own, several at a time: `node run.mjs [options] [files]`. Without files, it runs those of the
 * current directory.
 *
 * Files named `*.long.test.js` take long by nature. They run only with `--long`, and then nothing else does.
 *
 * A file that passes is reported in one line, a file that fails with all that it printed. The last lines list the failed files and tests.
 *
 * This is not `node --test`: its parent process decodes frames from the output of its children, and up to version 24 it can loop forever on
 * output that it mistakes for a frame (nodejs/node#62693). Only SIGKILL ends it then.
 *
 * A file that fails runs once more at the end, alone: other load on the machine can exceed a bound of time. If it passes then, it is listed
 * as flaky. So does a file that exceeds `--limit`, which is terminated together with the processes that it started: every wait in a test
 * has a timeout, so it is a browser or a client that hung. If more than a few files fail, the cause is not load, and none is repeated.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    /** Number of files that run at a time. */
    "at-once": { type: "string", default: "2" },
    /** Seconds that one file may take. Protects from a hang, so it is far above what a busy machine needs. */
    limit: { type: "string", default: "300" },
    /** Comma-separated names of the files to start first: the slowest ones, so that the last to end is not one that started last. */
    first: { type: "string", default: "" },
    long: { type: "boolean", default: false },
    /** Comma-separated names of files that run elsewhere. */
    except: { type: "string", default: "" },
    /** Prints the output of files that pass, too. */
    verbose: { type: "boolean", default: false },
  },
});
const AT_ONCE = Number(values["at-once"]);
const LIMIT_MS = Number(values.limit) * 1000;
/** How long a terminated file may take to end the processes that it started. */
const GRACE_MS = 5_000;
const FIRST = values.first.split(",");
const EXCEPT = values.except.split(",");

const rank = (file) => (FIRST.includes(basename(file)) ? FIRST.indexOf(basename(file)) : FIRST.length);
const files = (positionals.length ? positionals : readdirSync(".").filter((name) => name.endsWith(".test.js")))
  .filter((file) => file.endsWith(".long.test.js") === values.long && !EXCEPT.includes(basename(file)))
  .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
/** Number of failed files up to which they run once more. */
const MAX_REPEATED = 3;
/** Lines to print at the end. */
const failures = [];
const flaky = [];

/** @returns {Promise<{ outcome: "passed" | "failed" | "hung", output: string, seconds: string }>} */
async function run(file) {
  const started = Date.now();
  const child = spawn(process.execPath, ["--test-force-exit", "--test-reporter=spec", file], { stdio: ["ignore", "pipe", "pipe"] });
  const chunks = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => chunks.push(chunk));
  let isLate = false;
  const timers = [
    setTimeout(() => {
      isLate = true;
      child.kill("SIGTERM");
    }, LIMIT_MS),
    setTimeout(() => child.kill("SIGKILL"), LIMIT_MS + GRACE_MS),
  ];
  const closed = once(child, "close");
  const [code] = await once(child, "exit");
  timers.forEach(clearTimeout);
  // A process that the file started and did not end may keep the pipe open.
  await Promise.race([closed, sleep(GRACE_MS, null, { ref: false })]);
  return {
    outcome: isLate ? "hung" : code === 0 ? "passed" : "failed",
    output: Buffer.concat(chunks).toString(),
    seconds: ((Date.now() - started) / 1000).toFixed(1),
  };
}

/** Names of the failed tests, indented as the tests are nested. */
function failedTests(output) {
  const [results] = output.split("✖ failing tests:");
  return results.split("\n").filter((line) => /^\s*✖ .*\(\d[\d.]*ms\)/.test(line)).map((line) => `    ${line.replace(/ \(\d[\d.]*ms\).*/, "")}`);
}

function report(file, { outcome, output, seconds }) {
  console.log(`${outcome === "passed" ? "✔" : "✖"} ${file} ${outcome} in ${seconds} s`);
  if (outcome !== "passed" || values.verbose) console.log(output.trimEnd().replaceAll(/^/gm, "  "));
}

const unsuccessful = [];

async function work() {
  for (let file = files.shift(); file; file = files.shift()) {
    const result = await run(file);
    report(file, result);
    if (result.outcome !== "passed") unsuccessful.push({ file, ...result });
  }
}

const began = Date.now();
const count = files.length;
// An empty selection is a mistake in the command, not a success.
if (!count) failures.push("✖ no test files");
await Promise.all(Array.from({ length: AT_ONCE }, work));
const isRepeated = unsuccessful.length <= MAX_REPEATED;
for (const { file, ...first } of unsuccessful) {
  let last = first;
  if (isRepeated) {
    console.log(`${file} runs once more, alone`);
    last = await run(file);
    report(file, last);
  }
  if (last.outcome === "passed") flaky.push(`✔ ${file} is flaky: it ${first.outcome} at first`, ...failedTests(first.output));
  else failures.push(`✖ ${file} ${last.outcome}`, ...failedTests(last.output));
}
const seconds = ((Date.now() - began) / 1000).toFixed(0);
if (flaky.length) console.log(`\npassed at the second try:\n${flaky.join("\n")}`);
console.log(failures.length ? `\nfailed:\n${failures.join("\n")}` : `\n✔ ${count} test files passed in ${seconds} s`);
process.exitCode = failures.length ? 1 : 0;
