// A TCP proxy in front of the server, for one client, that fails in every way in which connections fail.
//
// Forwarded data is complete and in order. Other data is either kept for later (a silence that ends), or lost together
// with everything after it on that connection.

import net from 'node:net'

/** A connection through the proxy: the client's end is `near`, the server's is `far`. */
class Connection {
  /** Whether it was open before the current silence. */
  isOld = false
  /** Number of forwarded chunks, in both directions. */
  pieces = 0
  /** The operations during a silence, in order. */
  #held = null
  /** Whether only the direction to the client is silent. */
  #isHalf = false
  /** Nothing is forwarded any more. */
  #isLost = false

  constructor(line, near) {
    this.line = line
    this.near = near
    this.far = new net.Socket({ allowHalfOpen: true })
    this.#join(near, this.far, 'up')
    this.#join(this.far, near, 'down')
    for (const end of [near, this.far]) {
      end.once('close', () => {
        if (near.destroyed && this.far.destroyed) line.connections.delete(this)
      })
    }
  }

  #join(from, to, way) {
    from.on('data', (piece) => this.#do(way, () => this.#pass(piece, from, to, way)))
    from.on('end', () => this.#do(way, () => to.end(), from))
    // A reset on one side resets the other.
    from.on('error', () => this.#do(way, () => to.resetAndDestroy(), from))
  }

  /** Executes an operation now, after the silence, or never: then `end` is destroyed. */
  #do(way, pass, end) {
    if (this.#isLost) end?.destroy()
    else if (this.#held && (way === 'down' || !this.#isHalf)) this.#held.push(() => this.#do(way, pass))
    else pass()
  }

  #pass(piece, from, to, way) {
    const cut = this.line.due(this)
    this.pieces += 1
    // The first bytes tell which server the connection is for.
    if (way === 'up' && to.pending && !to.connecting) {
      const { name, ...address } = this.line.target(piece.toString('latin1'))
      if (name) this.line.begin(name)
      to.connect({ ...address, noDelay: true })
    }
    const bytes = cut ? piece.subarray(0, Math.floor(piece.length * cut.portion)) : piece
    if (way === 'down') this.line.overhear(bytes)
    if (!to.destroyed && bytes.length > 0 && !to.write(bytes) && !from.isPaused()) {
      from.pause()
      to.once('drain', () => from.resume())
    }
    if (cut) this.line.cut(cut.how, cut.sides)
  }

  hush(isHalf) {
    this.isOld = true
    this.#isHalf = isHalf
    this.#held ??= []
  }

  /** Delivers the held data late. */
  speak() {
    const held = this.#held ?? []
    this.#held = null
    this.isOld = false
    for (const pass of held) pass()
  }

  /** From now on nothing is forwarded, and neither side is notified. */
  lose() {
    this.#isLost = true
    this.#held = null
    for (const end of [this.near, this.far]) {
      if (end.readableEnded) end.destroy()
    }
  }

  /** Closes one or both sides; the other side is not notified. */
  cut(how, sides) {
    this.lose()
    for (const side of ['near', 'far']) {
      if (sides !== 'both' && sides !== side) continue
      if (how === 'reset') this[side].resetAndDestroy()
      else this[side].end()
    }
  }

  destroy() {
    this.lose()
    this.near.destroy()
    this.far.destroy()
  }
}

/** The proxy of one client, with all its connections. */
export class Line {
  connections = new Set()
  /** The log: `[time, 'line', what]` of each failure, `[time, 'to', node]` of each attempt to get a session on a node, `[time, 'asked']` of each that came so far. */
  timeline = []
  /** Number of cuts by stage. */
  stages = {}
  /** The stage that the client has reached since the last cut: `handshake`, `connect`, `back`. */
  #stage = 'handshake'
  #server
  /** `open`, `down` (new connections are reset), `silent`, or `half` silent. */
  #state = 'open'
  #armed = []

  /** @param target returns `{ host, port, name? }` of the server for a connection with these first bytes. */
  constructor(target) {
    this.target = target
  }

  async open() {
    this.#server = net.createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
      near.on('error', () => {})
      if (this.#state === 'down') return near.resetAndDestroy()
      const connection = new Connection(this, near)
      this.connections.add(connection)
      if (this.#state !== 'open') {
        connection.hush(this.#state === 'half')
        // Its first packets are retransmitted until they arrive.
        connection.isOld = false
      }
      const [next] = this.#armed
      if (next && !next.connection && next.skip-- <= 0) next.connection = connection
    })
    await new Promise((done) => this.#server.listen(0, '127.0.0.1', done))
    this.address = `127.0.0.1:${this.#server.address().port}`
  }

  note(what) {
    this.timeline.push([Date.now(), 'line', what])
  }

  /** A connection that opens or resumes a session, on a node. */
  begin(name) {
    this.timeline.push([Date.now(), 'to', name])
    this.#stage = 'handshake'
  }

  /** Cuts all open connections by `reset` or `fin`, for `near`, `far` or `both`. */
  cut(how, sides) {
    this.note(`${how} ${sides} at ${this.#stage}`)
    this.stages[this.#stage] = (this.stages[this.#stage] ?? 0) + 1
    this.#stage = 'handshake'
    for (const connection of [...this.connections]) connection.cut(how, sides)
  }

  /** Refuses new connections from now on. */
  down() {
    this.note('down')
    this.#state = 'down'
  }

  /** Forwards nothing from now on, and closes nothing; `half`: nothing to the client, everything to the server. */
  silence(isHalf = false) {
    this.#state = isHalf ? 'half' : 'silent'
    this.note(this.#state)
    for (const connection of this.connections) connection.hush(isHalf)
  }

  /** Works again. Data held since a silence is lost if `old` says so, and delivered late otherwise. */
  up(old = 'late') {
    this.note(`up, what is old is ${old}`)
    this.#state = 'open'
    for (const connection of [...this.connections]) {
      if (old === 'lost' && connection.isOld) connection.lose()
      else connection.speak()
    }
  }

  /**
   * Cuts later connections, one after the other, each within a chunk of data: after `piece` chunks and a `portion` of
   * the next. The first `skip` connections are not cut.
   */
  arm(cuts) {
    this.#armed = cuts
  }

  /** The next cut of a connection. */
  due(connection) {
    const [next] = this.#armed
    if (next?.connection !== connection || !next || connection.pieces < next.piece) return undefined
    return this.#armed.shift()
  }

  /** Detects the client's stage from the server's messages. */
  overhear(bytes) {
    if (this.#stage === 'back') return
    const text = bytes.toString('latin1')
    if (/40\{"sid"|"(auth:response|room:state)"/.test(text)) this.#stage = 'back'
    else if (/0\{"sid"|connection:ack/.test(text)) {
      this.timeline.push([Date.now(), 'asked'])
      this.#stage = 'connect'
    }
  }

  /** Works from now on, without further cuts. */
  rest() {
    this.#armed = []
    if (this.#state !== 'open') this.up()
  }

  async close() {
    for (const connection of this.connections) connection.destroy()
    await new Promise((done) => this.#server.close(done))
  }
}
