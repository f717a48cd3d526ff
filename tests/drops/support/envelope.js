// A caller over `/ws`: a plain WebSocket client that stores a resume token and a sequence number, and resumes with
// them.

import { randomUUID } from 'node:crypto'
import WebSocket from 'ws'
import { Caller } from './caller.js'

const TYPES = { offer: 'sdp:offer', answer: 'sdp:answer', candidate: 'ice:candidate' }
const KINDS = Object.fromEntries(Object.entries(TYPES).map(([kind, type]) => [type, kind]))

/** Maximum silence before the connection counts as lost. The server pings every second. */
const SILENCE_MS = 2500
const RETRY_MS = [50, 250]

export class EnvelopeCaller extends Caller {
  #socket
  /** `null` until the server has sent one. */
  #token = null
  /** The number of the last message of the session. */
  #last = 0
  /** The number of the last message of this connection, while it has no session. */
  #own = 0
  #isUp = false
  #isOver = false
  #silence
  /** By correlation id: the numbers of signals, and other pending requests. */
  #asked = new Map()
  /** Signals sent without a connection. */
  #unsent = []

  connect() {
    const socket = new WebSocket(`ws://${this.address}/ws`, { handshakeTimeout: this.timeoutMs, perMessageDeflate: false })
    this.#socket = socket
    this.life += 1
    this.#own = 0
    this.note('life', this.life)
    const current = (handle) => (...values) => socket === this.#socket && handle(...values)
    socket.on('message', current((text) => this.#receive(JSON.parse(text))))
    socket.on('open', () => (socket.isOpen = true))
    for (const sign of ['open', 'message', 'ping']) socket.on(sign, current(() => this.#noteMessage()))
    socket.on('error', current((error) => socket.isOpen || this.note('refused', error.message)))
    socket.on('close', current((code) => this.#lost(code)))
  }

  #noteMessage() {
    clearTimeout(this.#silence)
    this.#silence = setTimeout(() => this.#lost('silence'), SILENCE_MS)
  }

  #lost(why) {
    clearTimeout(this.#silence)
    const lost = this.#socket
    this.#socket = null
    this.#isUp = false
    this.note('down', why)
    lost.on('error', () => {})
    lost.terminate()
    if (!this.#isOver) setTimeout(() => this.connect(), RETRY_MS[0] + Math.random() * (RETRY_MS[1] - RETRY_MS[0]))
  }

  #send(type, payload, asked) {
    const correlationId = randomUUID()
    if (asked) this.#asked.set(correlationId, asked)
    this.#socket.send(JSON.stringify({ type, payload, timestamp: Date.now(), correlationId }))
  }

  #receive({ type, payload, sequence, correlationId }) {
    this.#count(type, payload, sequence)
    const asked = this.#asked.get(correlationId)
    if (correlationId && !asked) this.wrong(`a second answer: ${type}`)
    this.#asked.delete(correlationId)
    if (type === 'connection:ack') this.#enter()
    else if (type === 'auth:response') this.#resumed(payload)
    else if (type === 'room:state') asked.join && this.#entered(payload)
    else if (type === 'error') this.#failed(payload, asked)
    else if (type === 'ok') this.answered(asked.number, 'ok')
    else if (type.startsWith('room:participant-')) this.#handlePresence(type.slice('room:participant-'.length), payload)
    else if (KINDS[type]) {
      const { roomId: room, fromUserId: from, sdp, candidate } = payload
      this.received(KINDS[type], { room, from, body: candidate ?? sdp })
    } else this.wrong(`unexpected ${type}`)
  }

  /** Checks that each message has the next number, of this connection or of the session. */
  #count(type, payload, sequence) {
    if (type === 'auth:response' && payload.recovered) {
      if (sequence !== this.#last) this.wrong(`resumed at ${sequence}, not ${this.#last}`)
    } else if (this.#isUp) {
      this.#last += 1
      if (sequence !== this.#last) this.wrong(`number ${sequence}, not ${this.#last}`)
      this.#last = sequence
    } else {
      this.#own += 1
      if (sequence !== this.#own) this.wrong(`number ${sequence}, not ${this.#own}, on a new connection`)
    }
  }

  #enter() {
    if (this.#token) this.#send('auth:request', { resumeToken: this.#token, lastSequence: this.#last }, {})
    else this.#join()
  }

  #resumed({ recovered, resumeToken, success }) {
    if (!success) this.wrong('auth:response without success')
    this.#token = resumeToken ?? null
    if (!recovered) return this.#join()
    this.#isUp = true
    this.up(true)
    // Unanswered requests are sent again.
    if (this.isIn) this.#flush()
    else this.#askToJoin()
  }

  /** Starts a new session, with the numbers of this connection. */
  #join() {
    this.#isUp = true
    this.#last = this.#own
    this.up(false)
    this.#askToJoin()
  }

  #askToJoin() {
    const { room: roomId, me: id, incarnation } = this
    this.#send('room:join', { roomId, user: { id }, metadata: { incarnation } }, { join: true })
  }

  #entered({ participants, resumeToken }) {
    this.#token = resumeToken ?? this.#token
    const other = participants.find(({ userId }) => userId === this.other)
    this.joined(other?.metadata.incarnation ?? null)
    this.#flush()
  }

  #failed({ code, target }, asked) {
    if (!asked && target !== undefined) this.reported({ code, target })
    else if (asked?.number === undefined) this.wrong(`error ${code}`)
    else this.answered(asked.number, code)
  }

  #handlePresence(what, { roomId: room, userId, participant, reason }) {
    const incarnation = participant ? participant.metadata.incarnation : this.known
    this.presence(what, { userId: userId ?? participant.userId, room, incarnation, reason })
  }

  #flush() {
    for (const [number, kind, body] of this.#unsent.splice(0)) this.signal(number, kind, body)
  }

  signal(number, kind, body) {
    if (!this.#isUp || !this.isIn) {
      this.#unsent.push([number, kind, body])
      return
    }
    this.note('sent', number, this.life)
    const content = kind === 'candidate' ? { candidate: body, sdpMid: '0', sdpMLineIndex: 0 } : { type: kind, sdp: body }
    this.#send(TYPES[kind], { ...content, targetUserId: this.other, roomId: this.room }, { number })
  }

  disconnect(how, done) {
    this.#isOver = true
    clearTimeout(this.#silence)
    const socket = this.#socket
    if (!socket) return done()
    socket.once('close', done)
    if (how === 'leave') this.#send('room:leave', { roomId: this.room }, {})
    socket.close(1000)
  }
}
