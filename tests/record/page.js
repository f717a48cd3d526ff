// The common part of the pages of all families: a call with each peer, without media. A call is complete once both
// descriptions and a candidate have been exchanged.

import { setTimeout as pause } from 'node:timers/promises'

const PATIENCE_MS = 20_000

export class Page {
  /** By the id under which this page knows a peer: the received signals. */
  calls = new Map()
  chats = []
  gone = []
  /** Further checks of a family. */
  seen = {}

  constructor(socket, name, room) {
    this.socket = socket
    this.name = name
    this.room = room
  }

  #call(peer) {
    if (typeof peer !== 'string' || !peer) throw new Error(`${this.name} was notified of the peer ${JSON.stringify(peer)}`)
    if (!this.calls.has(peer)) this.calls.set(peer, { remote: null, local: null, candidates: 0 })
    return this.calls.get(peer)
  }

  describe(peer, type) {
    const description = { type, sdp: `v=0\r\ns=${type} of ${this.name} for ${peer}\r\n` }
    this.#call(peer).local = description
    return description
  }

  candidate(peer) {
    return { candidate: `candidate:${this.name} 1 udp 2122 192.0.2.1 ${peer.length} typ host`, sdpMid: '0', sdpMLineIndex: 0 }
  }

  /** Applies a description of the peer; returns the answer to an offer. */
  described(peer, description) {
    if (typeof description?.sdp !== 'string') throw new Error(`${this.name} got ${JSON.stringify(description)} as a description`)
    this.#call(peer).remote = description
    return description.type === 'offer' ? this.describe(peer, 'answer') : null
  }

  reached(peer, candidate) {
    if (!candidate?.candidate) throw new Error(`${this.name} got ${JSON.stringify(candidate)} as a candidate`)
    this.#call(peer).candidates += 1
  }

  left(peer) {
    this.calls.delete(peer)
    this.gone.push(peer)
  }

  get held() {
    return [...this.calls.values()].filter(({ remote, local, candidates }) => remote && local && candidates).length
  }
}

/** Waits until a condition holds that depends on events. */
export async function until(what, condition, details = () => '') {
  const end = Date.now() + PATIENCE_MS
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what} did not happen; ${details()}`)
    await pause(5)
  }
}
