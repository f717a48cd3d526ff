// A caller with the unmodified official Socket.IO client.

import { io } from 'socket.io-client'
import { Caller, numberIn } from './caller.js'

/** The transports of a client; `upgrade` is the default. */
const TRANSPORTS = { websocket: ['websocket'], polling: ['polling'], upgrade: undefined }

const EVENTS = { offer: 'offer', answer: 'answer', candidate: 'ice-candidate' }

export class SocketIoCaller extends Caller {
  #socket
  /** The id of the session. A session that moves to another node keeps it, and official clients report it as new. */
  #id
  #isResumed = false
  /** The last event if its recovery offset has not been received; the server sends it again after a resumption. */
  #unnumbered
  /** Whether the next event is the first of its connection. */
  #isFirst = true
  /** Whether the listeners skip the current event. */
  #isRepeated = false

  connect() {
    const socket = io(`http://${this.address}`, {
      forceNew: true,
      ...(TRANSPORTS[this.protocol] && { transports: TRANSPORTS[this.protocol] }),
      // Faster than in a page, since the absences in this test are shorter.
      reconnectionDelay: 50,
      reconnectionDelayMax: 250,
      timeout: this.timeoutMs,
    })
    this.#socket = socket
    socket.io.on('open', () => {
      this.life += 1
      this.note('life', this.life)
      socket.io.engine.on('upgrade', () => this.note('upgraded'))
    })
    socket.on('connect', () => {
      this.#isResumed = socket.recovered || socket.id === this.#id
      this.#id = socket.id
      this.up(this.#isResumed)
      // As the official client recommends, or as a client that compares ids: after a move the former is shown its room again.
      if (!this.#isResumed || (this.joinsAgain && !socket.recovered)) this.#join()
    })
    socket.on('disconnect', (reason) => {
      this.#isFirst = true
      this.note('down', reason)
      if (!socket.active && reason !== 'io client disconnect') this.wrong(`ended by the server: ${reason}`)
    })
    socket.on('connect_error', (error) => {
      // A status of HTTP and a body, or an error of the connection.
      const { description, context } = error
      this.note('refused', [error.message, description?.message ?? description, context?.responseText].filter(Boolean).join(', '))
      if (!socket.active) this.wrong(`refused: ${error.message}`)
    })
    // The point at which a signal is really sent: at once, or after the reconnection.
    socket.onAnyOutgoing((event, message) => {
      const content = message.offer ?? message.answer ?? message.candidate
      if (content) this.note('sent', numberIn(content.sdp ?? content.candidate), this.life)
    })
    // Catch-all listeners are called before the others.
    socket.onAny((...event) => this.#track(event))
    // Arrives before the acknowledgement, and again if that was lost.
    this.#on('room-users', (users) => this.joined(this.#other(users)))
    for (const what of ['joined', 'left', 'away', 'back']) {
      this.#on(`user-${what}`, ({ userId, roomId, incarnation, reason }) => {
        this.presence(what, { userId, room: roomId, incarnation, reason })
      })
    }
    for (const [kind, event] of Object.entries(EVENTS)) {
      this.#on(event, ({ userId, roomId, ...message }) => {
        const content = message[kind]
        this.received(kind, { room: roomId, from: userId, body: kind === 'candidate' ? content.candidate : content.sdp })
      })
    }
    this.#on('error', (error) => this.trouble(error))
  }

  #on(event, listener) {
    this.#socket.on(event, (...values) => this.#isRepeated || listener(...values))
  }

  /** Detects the one event that may arrive twice: the connection was lost between the event and its offset. */
  #track(event) {
    const text = JSON.stringify(event)
    this.#isRepeated = this.#isFirst && this.#isResumed && text === this.#unnumbered
    this.#isFirst = false
    if (this.#isRepeated) this.note('repeated', event[0])
    // An event with one value is an offset.
    this.#unnumbered = event.length === 1 ? undefined : text
  }

  trouble(error) {
    if (error.target !== undefined) return this.reported(error)
    this.note('error', error.code)
    if (error.code !== 'SHUTTING_DOWN') this.wrong(`error ${JSON.stringify(error)}`)
  }

  #join() {
    const { room: roomId, me: userId, incarnation } = this
    this.#socket.emit('join-room', { roomId, userId, incarnation }, (answer) => {
      if (!answer.ok) this.wrong(`may not join: ${answer.code}`)
    })
  }

  #other(users) {
    return users.find(({ userId }) => userId === this.other)?.incarnation ?? null
  }

  signal(number, kind, body) {
    const content = kind === 'candidate' ? { candidate: body, sdpMid: '0', sdpMLineIndex: 0 } : { type: kind, sdp: body }
    const message = { roomId: this.room, targetId: this.other, [kind]: content }
    this.#socket.emit(EVENTS[kind], message, ({ ok, code }) => this.answered(number, ok ? 'ok' : code))
  }

  disconnect(how, done) {
    let hasEnded = false
    const end = () => {
      if (hasEnded) return
      hasEnded = true
      this.#socket.disconnect()
      // Over polling the disconnect is a request of its own.
      setTimeout(done, 200)
    }
    if (how !== 'leave') return end()
    const leave = () => this.#socket.emit('leave-room', { roomId: this.room }, end)
    leave()
    // The server may have ended the connection just before: the leave was lost with it.
    this.#socket.on('connect', leave)
  }
}
