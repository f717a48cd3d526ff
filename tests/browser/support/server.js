/**
 * Starts Parlor on 127.0.0.1. `PARLOR_BIN` names the binary; the default is the debug build.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { resolve as resolvePath } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const BINARY = process.env.PARLOR_BIN ?? `${ROOT}target/debug/parlor`;
/** In the repository the server serves the sources of the page; elsewhere the embedded bundle, which users get. */
const FOLDER = process.env.PAGE_SOURCES ? ROOT : tmpdir();
const START_TIMEOUT_MS = 60_000;

// The runner sends it to a file that exceeds its time limit. The exit handlers end the child processes.
process.once("SIGTERM", () => process.exit(1));

/**
 * @param {{ port?: number, env?: Record<string, string> }} [options] port 0: a free one
 */
export async function startServer({ port = 0, env = {} } = {}) {
  const child = spawn(resolvePath(ROOT, BINARY), [], {
    cwd: FOLDER,
    env: { ...process.env, NODE_ENV: "development", NO_COLOR: "1", HOST: "127.0.0.1", PORT: String(port), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  // The server ends with the tests, also after a failure.
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("exit", () => process.off("exit", kill));
  let output = "";
  const url = await new Promise((resolve, reject) => {
    const fail = (reason) => reject(new Error(`the server ${reason}: ${BINARY}\n${output}`));
    const timer = setTimeout(() => fail(`did not listen within ${START_TIMEOUT_MS} ms`), START_TIMEOUT_MS);
    const read = (chunk) => {
      output += chunk;
      const found = /listening on (https?:\/\/[\d.]+:\d+)/.exec(output);
      if (found) {
        clearTimeout(timer);
        resolve(found[1]);
      }
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("error", (error) => fail(`did not start (${error.code})`));
    child.once("exit", (code) => fail(`exited at once with code ${code}`));
  }).catch((error) => {
    child.kill("SIGKILL");
    throw error;
  });

  return {
    url,
    port: Number(new URL(url).port),
    /** Returns the output so far. */
    output: () => output,
    /** @param {NodeJS.Signals} signal */
    async stop(signal = "SIGTERM") {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill(signal);
      await exited;
    },
    /** @returns {Promise<any>} */
    health: async () => (await fetch(`${url}/health`)).json(),
    /** Returns the ids of the members of a room; none if the room does not exist. @returns {Promise<string[]>} */
    async participants(room) {
      const response = await fetch(`${url}/api/rooms/${encodeURIComponent(room)}`);
      return response.ok ? (await response.json()).participants : [];
    },
  };
}

/** Returns a TCP port that was free a moment ago. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A busy machine is slow, and a page that closes between two polling requests is noticed after the ping timeout (20 s). */
const PATIENCE_MS = 60_000;

/**
 * Polls until the result is the expected one.
 * @template T
 * @param {string} what for the error
 * @param {() => Promise<T>} poll
 * @param {(result: T) => boolean} isExpected
 * @param {number} [timeout] in milliseconds
 * @returns {Promise<T>}
 */
export async function eventually(what, poll, isExpected, timeout = PATIENCE_MS) {
  const end = Date.now() + timeout;
  let last;
  while (Date.now() < end) {
    last = await poll().catch((error) => error);
    if (!(last instanceof Error) && isExpected(last)) return last;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what}: not within ${timeout} ms; the last result was ${last instanceof Error ? last : JSON.stringify(last)}`);
}
