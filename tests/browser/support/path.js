/**
 * A way for datagrams that can be narrow, and lose some: a UDP proxy in front of the media server. Each client has a socket of its own
 * on the far side, for the server knows clients by their addresses.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { freeUdpPort } from "./turn.js";

/** How much waits at a narrow place, at the most; what comes besides is lost, as with a router. */
const QUEUE_MS = 300;

export async function openPath() {
  const near = createSocket("udp4").bind(0, "127.0.0.1");
  await once(near, "listening");
  const port = await freeUdpPort();
  /** By the client's own port. @type {Map<number, { far: import("node:dgram").Socket, lane: Lane }>} */
  const clients = new Map();
  const admit = (own) => {
    const far = createSocket("udp4").bind(0, "127.0.0.1");
    const lane = new Lane((datagram) => near.send(datagram, own, "127.0.0.1"));
    far.on("message", (datagram) => lane.take(datagram));
    const client = { far, lane };
    clients.set(own, client);
    return client;
  };
  near.on("message", (datagram, from) => {
    const { far } = clients.get(from.port) ?? admit(from.port);
    far.send(datagram, port, "127.0.0.1");
  });
  return {
    /** For the server. */
    settings: { SFU_PORT: String(port), SFU_ANNOUNCED_ADDRESS: `127.0.0.1:${near.address().port}` },
    /**
     * What comes to one client, from now on.
     * @param {number} port the one that the server sees it come from, as its statistics have it
     * @param {{ bitsPerSecond?: number, losesEach?: number }} to by default, all that there is
     */
    limit(port, to) {
      [...clients.values()].find(({ far }) => far.address().port === port).lane.limit(to);
    },
    close() {
      near.close();
      for (const { far, lane } of clients.values()) {
        far.close();
        lane.close();
      }
    },
  };
}

/** One datagram after the other, each as long under way as its size takes. */
class Lane {
  #deliver;
  #bitsPerSecond = Infinity;
  #losesEach = Infinity;
  #taken = 0;
  /** @type {Buffer[]} */
  #waiting = [];
  #waitingBits = 0;
  /** When the first of those began to be sent. */
  #began = 0;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /** @param {(datagram: Buffer) => void} deliver */
  constructor(deliver) {
    this.#deliver = deliver;
  }

  limit({ bitsPerSecond = Infinity, losesEach = Infinity }) {
    this.#bitsPerSecond = bitsPerSecond;
    this.#losesEach = losesEach;
    this.#began = performance.now();
    this.#run();
  }

  /** @param {Buffer} datagram */
  take(datagram) {
    const bits = datagram.length * 8;
    if (++this.#taken % this.#losesEach === 0) return;
    if (this.#waitingBits + bits > (this.#bitsPerSecond * QUEUE_MS) / 1000) return;
    if (!this.#waiting.length) this.#began = performance.now();
    this.#waiting.push(datagram);
    this.#waitingBits += bits;
    this.#run();
  }

  close() {
    clearTimeout(this.#timer);
    this.#deliver = () => {};
  }

  #run() {
    clearTimeout(this.#timer);
    for (let first = this.#waiting[0]; first; first = this.#waiting[0]) {
      const bits = first.length * 8;
      const arrives = this.#began + (bits * 1000) / this.#bitsPerSecond;
      const wait = arrives - performance.now();
      if (wait > 0) {
        this.#timer = setTimeout(() => this.#run(), wait);
        return;
      }
      this.#began = arrives;
      this.#waitingBits -= bits;
      this.#deliver(this.#waiting.shift());
    }
  }
}
