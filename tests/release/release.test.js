/** The release binary: its allocator is jemalloc, and the memory of closed connections returns to the system. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

const PROGRAM = process.env.PARLOR_BIN;
const CONNECTIONS = 3000;
/** jemalloc returns pages ten seconds after they became free, and the server shrinks its maps every ten seconds. */
const LIMIT_MS = 60_000;

let server;
let port;

/** Returns the resident memory of the server, in KiB. */
const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))[1]);

/** Opens a WebSocket; resolves after the first message. */
async function open(index) {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  const key = randomBytes(16).toString("base64");
  socket.write(
    `GET /ws/topic-${index % 500} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  );
  let received = "";
  while (!received.includes("peer-list")) received += String((await once(socket, "data"))[0]);
  socket.resume();
  return socket;
}

before(async () => {
  server = spawn(PROGRAM, ["--host", "127.0.0.1", "--port", "0", "--sfu=off", "--log-format", "json"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [banner] = await once(server.stdout, "data");
  port = Number(/"address":"127\.0\.0\.1:(\d+)"/.exec(String(banner))[1]);
  server.stdout.resume();
});

after(async () => {
  server.kill("SIGTERM");
  if (server.exitCode === null) await once(server, "exit");
});

test("the allocator is jemalloc", () => {
  const env = { ...process.env, _RJEM_MALLOC_CONF: "stats_print:true" };
  const { stderr, stdout } = spawnSync(PROGRAM, ["--version"], { env, encoding: "utf8" });
  assert.match(stdout + stderr, /jemalloc statistics/);
});

test("memory of closed connections returns to the system", { timeout: 2 * LIMIT_MS }, async () => {
  // A first round, so that permanent allocations do not count as growth.
  for (const socket of await Promise.all(Array.from({ length: 100 }, (_, index) => open(index)))) socket.destroy();
  const idle = resident();
  const sockets = [];
  for (let index = 0; index < CONNECTIONS; index += 100) {
    sockets.push(...(await Promise.all(Array.from({ length: 100 }, (_, offset) => open(index + offset)))));
  }
  const busy = resident();
  assert.ok(busy > idle + CONNECTIONS, `${CONNECTIONS} connections take memory: ${idle} KiB idle, ${busy} KiB busy`);
  for (const socket of sockets) socket.destroy();
  const allowed = idle + 0.25 * (busy - idle);
  const end = Date.now() + LIMIT_MS;
  while (resident() > allowed && Date.now() < end) await sleep(500);
  const left = resident();
  console.log(`resident: ${idle} KiB idle, ${busy} KiB with ${CONNECTIONS} connections, ${left} KiB after they closed`);
  assert.ok(left <= allowed, `${left} KiB after all connections closed, ${idle} before, ${busy} with them`);
});
