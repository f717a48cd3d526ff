/**
 * A UDP proxy in front of the media server that limits bandwidth and drops datagrams. Each client has its own socket towards the server,
 * which identifies clients by their addresses.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { freeUdpPort } from "./turn.js";

/** Maximum delay of the queue of a limited link, in milliseconds; further datagrams are dropped, as by a router. */
const QUEUE_MS = 300;

export async function openUdpProxy() {
  const near = createSocket("udp4").bind(0, "127.0.0.1");
  await once(near, "listening");
  const port = await freeUdpPort();
  /** By the port of the client. @type {Map<number, { far: import("node:dgram").Socket, link: Link }>} */
  const clients = new Map();
  const open = (client) => {
    const far = createSocket("udp4").bind(0, "127.0.0.1");
    const link = new Link((datagram) => near.send(datagram, client, "127.0.0.1"));
    far.on("message", (datagram) => link.send(datagram));
    const sockets = { far, link };
    clients.set(client, sockets);
    return sockets;
  };
  near.on("message", (datagram, from) => {
    const { far } = clients.get(from.port) ?? open(from.port);
    far.send(datagram, port, "127.0.0.1");
  });
  return {
    /** Settings of the server. */
    settings: { SFU_PORT: String(port), SFU_ANNOUNCED_ADDRESS: `127.0.0.1:${near.address().port}` },
    /**
     * Limits the datagrams to one client from now on.
     * @param {number} port source port of the client towards the server, as in its statistics
     * @param {{ bitsPerSecond?: number, dropEvery?: number }} to without fields: no limit
     */
    limit(port, to) {
      [...clients.values()].find(({ far }) => far.address().port === port).link.limit(to);
    },
    close() {
      near.close();
      for (const { far, link } of clients.values()) {
        far.close();
        link.close();
      }
    },
  };
}

/** A link with a queue: sends one datagram after the other, at the given bandwidth. */
class Link {
  #deliver;
  #bitsPerSecond = Infinity;
  #dropEvery = Infinity;
  #received = 0;
  /** @type {Buffer[]} */
  #waiting = [];
  #waitingBits = 0;
  /** Time at which the transmission of the first waiting datagram began. */
  #began = 0;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /** @param {(datagram: Buffer) => void} deliver */
  constructor(deliver) {
    this.#deliver = deliver;
  }

  limit({ bitsPerSecond = Infinity, dropEvery = Infinity }) {
    this.#bitsPerSecond = bitsPerSecond;
    this.#dropEvery = dropEvery;
    this.#began = performance.now();
    this.#run();
  }

  /** @param {Buffer} datagram */
  send(datagram) {
    const bits = datagram.length * 8;
    if (++this.#received % this.#dropEvery === 0) return;
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
