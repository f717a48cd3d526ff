/**
 * Starts coturn, a TURN server, on 127.0.0.1. `TURNSERVER_BIN` names the executable.
 */
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { eventually } from "./server.js";

const BINARY = process.env.TURNSERVER_BIN ?? "/usr/bin/turnserver";
const RESPONSE_TIMEOUT_MS = 200;

/**
 * Starts it, for clients over UDP and TCP.
 * @param {string} secret the key of the credentials
 */
export async function startTurn(secret) {
  const port = await freeUdpPort();
  const child = spawn(BINARY, [
    "-n", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout", "--pidfile=/dev/null",
    "--use-auth-secret", `--static-auth-secret=${secret}`, "--realm=test",
    "--listening-ip=127.0.0.1", `--listening-port=${port}`, "--relay-ip=127.0.0.1",
    // Both ends of a call are on this machine; coturn refuses loopback peers by default.
    "--allow-loopback-peers",
  ], { stdio: ["ignore", "pipe", "pipe"] });
  process.once("exit", () => child.kill("SIGKILL"));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const failed = new Promise((_, reject) => {
    const fail = (reason) => reject(new Error(`coturn ${reason}: ${BINARY}`));
    child.once("error", (error) => fail(`did not start (${error.code})`));
    child.once("exit", (code) => fail(`exited at once with code ${code}`));
  });
  // Its log is buffered, so readiness is tested with a request.
  await Promise.race([failed, eventually("coturn responds", () => isReady(port), Boolean)]).catch((error) => {
    child.kill("SIGKILL");
    error.message += `\n${output}`;
    throw error;
  });
  failed.catch(() => {});

  return {
    port,
    url: `turn:127.0.0.1:${port}?transport=udp`,
    /** Returns the output so far. */
    output: () => output,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    },
  };
}

/** Sends a binding request (RFC 8489, section 5). Fails without a response. */
async function isReady(port) {
  const request = Buffer.alloc(20);
  request.writeUInt16BE(1, 0);
  request.writeUInt32BE(0x2112a442, 4);
  const socket = createSocket("udp4");
  try {
    socket.send(request, port, "127.0.0.1");
    await once(socket, "message", { signal: AbortSignal.timeout(RESPONSE_TIMEOUT_MS) });
    return true;
  } finally {
    socket.close();
  }
}

/** Returns a UDP port that was free a moment ago. */
export async function freeUdpPort() {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  const { port } = socket.address();
  socket.close();
  await once(socket, "close");
  return port;
}

/** Runs in each page before its scripts: restricts candidates to those of a TURN server. */
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
