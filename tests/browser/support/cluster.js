/**
 * Three nodes with their engine and load balancer, by `scripts/run-cluster`. Needs redis-server, and nginx or HAProxy.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { eventually, freePort } from "./server.js";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PROGRAM = resolve(ROOT, process.env.PARLOR_BIN ?? "target/debug/parlor");

/**
 * Returns the first of three adjacent free ports. They are below those that the system gives to connections, of which a busy machine has so
 * many that the neighbours of a free port are rarely free.
 */
async function threeFreePorts() {
  for (;;) {
    const first = 15_000 + Math.floor(Math.random() * 15_000);
    const servers = [0, 1, 2].map((index) => createServer().listen(first + index, "127.0.0.1"));
    const outcomes = await Promise.allSettled(servers.map((server) => once(server, "listening")));
    for (const server of servers.filter(({ listening }) => listening)) {
      server.close();
      await once(server, "close");
    }
    if (outcomes.every(({ status }) => status === "fulfilled")) return first;
  }
}

/** Starts the cluster on free ports. @param {"nginx" | "haproxy"} balancer */
export async function startCluster(balancer = "nginx") {
  const logs = await mkdtemp(join(tmpdir(), "parlor-cluster-"));
  const [port, redis] = [await freePort(), await freePort()];
  const first = await threeFreePorts();
  const env = { ...process.env, NODE_ENV: "development", NO_COLOR: "1", PORT: `${port}`, NODE_PORT: `${first}`, REDIS_PORT: `${redis}`, LOGS: logs, BALANCER: balancer };
  const child = spawn("scripts/run-cluster", [PROGRAM], { cwd: ROOT, env, stdio: ["ignore", "ignore", "pipe"] });
  process.once("exit", () => child.kill("SIGTERM"));
  let errors = "";
  child.stderr.on("data", (chunk) => (errors += chunk));
  const health = async (at) => (await fetch(`http://127.0.0.1:${at}/health`)).json();
  const agree = () =>
    eventually(
      "three nodes are one cluster",
      async () => {
        if (child.exitCode !== null) throw new Error(`run-cluster has exited: ${errors}`);
        return Promise.all([0, 1, 2].map((index) => health(first + index)));
      },
      (nodes) => nodes.every(({ status, cluster }) => status === "ok" && cluster.nodes === 3 && cluster.engine === "connected"),
    );
  return {
    url: `http://127.0.0.1:${port}`,
    agree,
    /** Returns the number of connections of each node. */
    connections: () => Promise.all([0, 1, 2].map(async (index) => (await health(first + index)).connections)),
    /** Media transports of each node. */
    transports: () =>
      Promise.all(
        [0, 1, 2].map(async (index) => {
          const metrics = await (await fetch(`http://127.0.0.1:${first + index}/metrics`)).text();
          return Number(/^parlor_media_transports (\d+)$/m.exec(metrics)?.[1]);
        }),
      ),
    /** Restarts a node as a service manager does. @param {number} number */
    async restart(number) {
      const file = join(logs, `parlor-${number}.pid`);
      const former = await readFile(file, "utf8");
      process.kill(Number(former), "SIGTERM");
      await eventually("the node starts again", () => readFile(file, "utf8"), (process) => process !== former);
      await agree();
    },
    async stop() {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
      await rm(logs, { recursive: true, force: true });
    },
  };
}
