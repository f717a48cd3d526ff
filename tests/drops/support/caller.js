// One side of a call in any protocol: joins, sends numbered signals, and logs all events. It behaves like a page: on
// `connect` it joins unless the session was recovered, and it sends nothing twice. verdict.js judges the log.

import { random } from './random.js'

const BURST = 6

/** Returns the kind of a signal by its number: sometimes an offer and its answer, candidates otherwise. */
const kindOf = (number) => ({ 0: 'offer', 1: 'answer' })[number % 12] ?? 'candidate'

/** Returns a body of a realistic size with the call, the sender and the number. */
const bodyOf = (call, from, number, filler) => `${call}/${from}/${number}/${'.'.repeat(filler)}`

export const numberIn = (body) => Number(body.split('/')[2])

export class Caller {
  /** The log: `[time, what, …]`, in order. */
  log = []
  /** Number of joins without a resumption. The other side reads it from the bodies. */
  incarnation = 0
  /** Whether the last join was acknowledged. */
  isIn = false
  /** The current incarnation of the other side; `null` while it is not in the room. */
  known = null
  /** Number of connections. */
  life = 0
  #next = 0
  #chance
  #timer
  #isLeaving = false

  /**
   * @param options `{ id, call, room, me, other, address, protocol, seed, paceMs, timeoutMs, joinsAgain? }`
   * @param tell receives the events
   */
  constructor(options, tell) {
    Object.assign(this, options)
    this.tell = tell
    this.#chance = random(`${options.seed}/${options.id}`)
  }

  note(what, ...rest) {
    this.log.push([Date.now(), what, ...rest])
  }

  begin() {
    this.connect()
    this.#timer = setTimeout(() => this.#tick(), this.#chance.between(0, this.paceMs))
  }

  #tick() {
    // Single signals, and bursts as during candidate gathering.
    const count = this.#chance.chance(0.03) ? BURST : 1
    for (let one = 0; one < count; one += 1) this.#say()
    this.#timer = setTimeout(() => this.#tick(), this.#chance.between(0.5 * this.paceMs, 1.5 * this.paceMs))
  }

  #say(isLast = false) {
    const number = this.#next
    this.#next += 1
    const kind = kindOf(number)
    const filler = kind === 'candidate' ? this.#chance.whole(20, 120) : this.#chance.whole(800, 3000)
    this.note('create', number, this.known)
    const body = bodyOf(this.call, this.me, number, filler)
    this.signal(number, kind, isLast ? body + 'last' : body)
    return number
  }

  /** Stops sending: sends a last signal, and repeats it until one is accepted. */
  finish() {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.finish(), 1000)
    this.lastSignal = this.#say(true)
  }

  /** Leaves in one of several ways. */
  leave(how) {
    clearTimeout(this.#timer)
    this.#isLeaving = true
    this.note('leave', how)
    this.disconnect(how, () => this.tell('gone'))
  }

  // ------------------------------------------------------------------------------------- called by the protocol

  /** A new connection is open, with a resumed or a new session. */
  up(recovered) {
    if (!recovered) {
      this.incarnation += 1
      this.isIn = false
    }
    this.note('up', recovered, this.incarnation)
  }

  joined(incarnationOfOther) {
    this.isIn = true
    this.users(incarnationOfOther)
    this.note('joined', this.incarnation)
    this.tell('joined')
  }

  users(incarnationOfOther) {
    this.known = incarnationOfOther
    this.note('users', this.known)
    this.#report()
  }

  /** `outcome` is `ok` or an error code. */
  answered(number, outcome) {
    this.note('answer', number, outcome, this.known, this.life)
    if (number === this.lastSignal && outcome === 'ok') {
      clearTimeout(this.#timer)
      this.tell('accepted', number)
    }
  }

  /** An accepted signal to a peer on another node was not delivered. The target may have left since. */
  reported({ code }) {
    this.note('reported', code)
  }

  received(kind, { room, from, body }) {
    const [call, who] = body.split('/')
    const isOwn = call === String(this.call) && who === this.other && from === this.other && room === this.room
    this.note('received', isOwn ? numberIn(body) : -1, kind, isOwn ? undefined : { room, from, call, who })
    if (body.endsWith('last')) this.tell('received-last', numberIn(body))
  }

  /** A presence event of the other side: `joined`, `left`, `away` or `back`. */
  presence(what, { userId, room, incarnation, reason }) {
    this.note('presence', what, incarnation, reason)
    if (userId !== this.other || room !== this.room) this.wrong(`${what} of ${userId} in ${room}`)
    if (what === 'joined') this.known = incarnation
    if (what === 'left') {
      this.known = null
      if (this.#isLeaving || reason === 'left' || reason === 'disconnected') this.tell('other-left')
    }
    this.#report()
  }

  /** Records a violation. */
  wrong(what) {
    this.note('wrong', what)
  }

  /** Reports that both are together. */
  #report() {
    if (this.isIn && this.known !== null) this.tell('together')
  }
}
