/**
 * A Parlor of one's own, on 127.0.0.1. `PARLOR_BIN` names the binary; without it, the debug build.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { resolve as resolvePath } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const BINARY = process.env.PARLOR_BIN ?? `${ROOT}target/debug/parlor`;
/** In the repository the server delivers the sources of the page; elsewhere the bundle that is embedded in it, as users get it. */
const FOLDER = process.env.PAGE_SOURCES ? ROOT : tmpdir();
const START_TIMEOUT_MS = 60_000;

// What the runner sends to a file that takes too long. What was started ends at the exit, or it would outlive this process.
process.once("SIGTERM", () => process.exit(1));

/**
 * @param {{ port?: number, env?: Record<string, string> }} [options] port 0 takes a free one
 */
export async function startServer({ port = 0, env = {} } = {}) {
  const child = spawn(resolvePath(ROOT, BINARY), [], {
    cwd: FOLDER,
    env: { ...process.env, NODE_ENV: "development", NO_COLOR: "1", HOST: "127.0.0.1", PORT: String(port), ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  // However the tests end, the server does not outlive them.
  const kill = () => child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("exit", () => process.off("exit", kill));
  let output = "";
  const url = await new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`the server ${why}: ${BINARY}\n${output}`));
    const timer = setTimeout(() => fail(`did not say that it listens, in ${START_TIMEOUT_MS} ms`), START_TIMEOUT_MS);
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
    child.once("error", (error) => fail(`could not be started (${error.code})`));
    child.once("exit", (code) => fail(`ended at once, with ${code}`));
  }).catch((error) => {
    child.kill("SIGKILL");
    throw error;
  });

  return {
    url,
    port: Number(new URL(url).port),
    /** What it has printed so far. */
    output: () => output,
    /** @param {NodeJS.Signals} signal */
    async stop(signal = "SIGTERM") {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, "exit");
      child.kill(signal);
      await gone;
    },
    /** @returns {Promise<any>} */
    health: async () => (await fetch(`${url}/health`)).json(),
    /** The ids of who is in a room; none if there is no such room. @returns {Promise<string[]>} */
    async participants(room) {
      const response = await fetch(`${url}/api/rooms/${encodeURIComponent(room)}`);
      return response.ok ? (await response.json()).participants : [];
    },
  };
}

/** A port that was free a moment ago. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A busy machine needs long, and a page that closes between two polls is noticed at the end of a ping timeout only (20 s). */
const PATIENCE_MS = 60_000;

/**
 * Asks again and again, until the answer is the one hoped for.
 * @template T
 * @param {string} what named when it fails
 * @param {() => Promise<T>} ask
 * @param {(answer: T) => boolean} hoped
 * @param {number} [timeout] in milliseconds
 * @returns {Promise<T>}
 */
export async function eventually(what, ask, hoped, timeout = PATIENCE_MS) {
  const end = Date.now() + timeout;
  let last;
  while (Date.now() < end) {
    last = await ask().catch((error) => error);
    if (!(last instanceof Error) && hoped(last)) return last;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what}: not within ${timeout} ms; the last answer was ${last instanceof Error ? last : JSON.stringify(last)}`);
}
