/**
 * A TURN server of one's own, on 127.0.0.1: coturn. `TURNSERVER_BIN` names it.
 */
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { eventually } from "./server.js";

const BINARY = process.env.TURNSERVER_BIN ?? "/usr/bin/turnserver";
const ANSWER_TIMEOUT_MS = 200;

/**
 * Clients may come by UDP and by TCP.
 * @param {string} secret what credentials are made with
 */
export async function startTurn(secret) {
  const port = await freeUdpPort();
  const child = spawn(BINARY, [
    "-n", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout", "--pidfile=/dev/null",
    "--use-auth-secret", `--static-auth-secret=${secret}`, "--realm=test",
    "--listening-ip=127.0.0.1", `--listening-port=${port}`, "--relay-ip=127.0.0.1",
    // Both ends of a call are on this machine, which is not let through otherwise.
    "--allow-loopback-peers",
  ], { stdio: ["ignore", "pipe", "pipe"] });
  process.once("exit", () => child.kill("SIGKILL"));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const failed = new Promise((_, reject) => {
    const fail = (why) => reject(new Error(`coturn ${why}: ${BINARY}`));
    child.once("error", (error) => fail(`could not be started (${error.code})`));
    child.once("exit", (code) => fail(`ended at once, with ${code}`));
  });
  // It keeps its last lines to itself for a while: so it is asked.
  await Promise.race([failed, eventually("coturn answers", () => ask(port), (answered) => answered)]).catch((error) => {
    child.kill("SIGKILL");
    error.message += `\n${output}`;
    throw error;
  });
  failed.catch(() => {});

  return {
    port,
    url: `turn:127.0.0.1:${port}?transport=udp`,
    /** What it has printed so far. */
    output: () => output,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      await gone;
    },
  };
}

/** A binding request (RFC 8489, section 5), and whether anything came back. */
async function ask(port) {
  const request = Buffer.alloc(20);
  request.writeUInt16BE(1, 0);
  request.writeUInt32BE(0x2112a442, 4);
  const socket = createSocket("udp4");
  try {
    socket.send(request, port, "127.0.0.1");
    await once(socket, "message", { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
    return true;
  } finally {
    socket.close();
  }
}

/** A UDP port that was free a moment ago. */
export async function freeUdpPort() {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}

/** Runs in each page before its own scripts: no candidate but those of a TURN server. */
export function relayOnly() {
  window.RTCPeerConnection = class extends window.RTCPeerConnection {
    constructor(configuration) {
      super({ ...configuration, iceTransportPolicy: "relay" });
    }
    setConfiguration(configuration) {
      super.setConfiguration({ ...configuration, iceTransportPolicy: "relay" });
    }
  };
}
