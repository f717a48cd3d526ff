// One client's line to the server: a TCP proxy that fails in every way in which lines fail.
//
// What it passes it passes whole and in order. What it does not pass it either keeps for later (a silence that ends) or loses
// for good, together with all that comes after it on that connection.

import net from 'node:net'

/** A connection through the line: the client's end is `near`, the server's is `far`. */
class Connection {
  /** Whether it was there before the silence that is now. */
  isOld = false
  /** How many pieces of data have passed, either way. */
  pieces = 0
  /** While nothing passes: what would have happened, in order. */
  #held = null
  /** Whether it does not pass to the client alone. */
  #isHalf = false
  /** Nothing passes any more, whatever comes. */
  #isLost = false

  constructor(line, near) {
    this.line = line
    this.near = near
    this.far = net.connect({ ...line.target, allowHalfOpen: true, noDelay: true })
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
    // Whoever is reset on one side is reset on the other.
    from.on('error', () => this.#do(way, () => to.resetAndDestroy(), from))
  }

  /** Does it now, when the silence is over, or never: then `end`, which is done for, goes. */
  #do(way, pass, end) {
    if (this.#isLost) end?.destroy()
    else if (this.#held && (way === 'down' || !this.#isHalf)) this.#held.push(() => this.#do(way, pass))
    else pass()
  }

  #pass(piece, from, to, way) {
    const cut = this.line.due(this)
    this.pieces += 1
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

  /** What was held comes late, but it comes. */
  speak() {
    const held = this.#held ?? []
    this.#held = null
    this.isOld = false
    for (const pass of held) pass()
  }

  /** From here on nothing passes, and neither side is told. */
  lose() {
    this.#isLost = true
    this.#held = null
    for (const end of [this.near, this.far]) {
      if (end.readableEnded) end.destroy()
    }
  }

  /** Ends it for one side or both; the other hears nothing. */
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

/** A line, with as many connections as its client opens. */
export class Line {
  connections = new Set()
  /** What happened to it: `[time, 'line', what]`. */
  story = []
  /** How many cuts it had, by the stage at which they came. */
  stages = {}
  /** How far the client had come since the last cut: `handshake`, `connect`, `back`. */
  #stage = 'handshake'
  #server
  /** `open`, `down` (who comes is reset), `silent`, or `half` silent. */
  #state = 'open'
  #armed = []

  /** @param target `{ host, port }` of the server. */
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
        // Its first packets are sent again until they get through.
        connection.isOld = false
      }
      const [next] = this.#armed
      if (next && !next.connection && next.skip-- <= 0) next.connection = connection
    })
    await new Promise((done) => this.#server.listen(0, '127.0.0.1', done))
    this.address = `127.0.0.1:${this.#server.address().port}`
  }

  note(what) {
    this.story.push([Date.now(), 'line', what])
  }

  /** Cuts every connection that there is, by `reset` or `fin`, for `near`, `far` or `both`. */
  cut(how, sides) {
    this.note(`${how} ${sides} at ${this.#stage}`)
    this.stages[this.#stage] = (this.stages[this.#stage] ?? 0) + 1
    this.#stage = 'handshake'
    for (const connection of [...this.connections]) connection.cut(how, sides)
  }

  /** Refuses newcomers from now on. */
  down() {
    this.note('down')
    this.#state = 'down'
  }

  /** Passes nothing from now on, and closes nothing; `half`: nothing to the client, all to the server. */
  silence(isHalf = false) {
    this.#state = isHalf ? 'half' : 'silent'
    this.note(this.#state)
    for (const connection of this.connections) connection.hush(isHalf)
  }

  /** Works again. What was there before a silence is lost for good where `old` says so; else all comes late. */
  up(old = 'late') {
    this.note(`up, what is old is ${old}`)
    this.#state = 'open'
    for (const connection of [...this.connections]) {
      if (old === 'lost' && connection.isOld) connection.lose()
      else connection.speak()
    }
  }

  /**
   * Cuts connections to come, one after the other, each in the midst of a piece of data: after so many (`piece`) have
   * passed, and a `portion` of it. Before the first `skip` of them are spared.
   */
  arm(cuts) {
    this.#armed = cuts
  }

  /** The cut that is due on a connection now. */
  due(connection) {
    const [next] = this.#armed
    if (next?.connection !== connection || !next || connection.pieces < next.piece) return undefined
    return this.#armed.shift()
  }

  /** Learns from what the server says how far the client has come. */
  overhear(bytes) {
    if (this.#stage === 'back') return
    const text = bytes.toString('latin1')
    if (/40\{"sid"|"(auth:response|room:state)"/.test(text)) this.#stage = 'back'
    else if (/0\{"sid"|connection:ack/.test(text)) this.#stage = 'connect'
  }

  /** Works from now on, and nothing is to come. */
  rest() {
    this.#armed = []
    if (this.#state !== 'open') this.up()
  }

  async close() {
    for (const connection of this.connections) connection.destroy()
    await new Promise((done) => this.#server.close(done))
  }
}
