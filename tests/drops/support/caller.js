// One side of a call, whatever its wire: joins, says numbered signals all the time, and keeps a log of all that happens.
//
// It does what a page does, and no more: on `connect` it joins unless it was recovered; nothing is sent twice. Judging
// the log is the business of verdict.js.

import { random } from './random.js'

const BURST = 6

/** The kind of a signal by its number: an offer and its answer now and then, candidates otherwise. */
const kindOf = (number) => ({ 0: 'offer', 1: 'answer' })[number % 12] ?? 'candidate'

/** A body of a realistic size that names the call, who says it, and its number. */
const bodyOf = (call, from, number, filler) => `${call}/${from}/${number}/${'.'.repeat(filler)}`

export const numberIn = (body) => Number(body.split('/')[2])

export class Caller {
  /** `[time, what, …]`, in order. */
  log = []
  /** How often it has entered the room afresh. The others read it from what it says of itself. */
  incarnation = 0
  /** Whether its last join was answered. */
  isIn = false
  /** The other's incarnation, as far as one was told; `null` while it is not in the room. */
  known = null
  /** Rises with each connection. */
  life = 0
  #next = 0
  #chance
  #timer
  #isLeaving = false

  /** @param options `{ id, call, room, me, other, address, wire, seed, paceMs, patienceMs }` @param tell where news go. */
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
    // One at a time, and a handful at once as when candidates are gathered.
    const count = this.#chance.chance(0.03) ? BURST : 1
    for (let one = 0; one < count; one += 1) this.#say()
    this.#timer = setTimeout(() => this.#tick(), this.#chance.between(0.5 * this.paceMs, 1.5 * this.paceMs))
  }

  #say(isLast = false) {
    const number = this.#next
    this.#next += 1
    const kind = kindOf(number)
    const filler = kind === 'candidate' ? this.#chance.whole(20, 120) : this.#chance.whole(800, 3000)
    this.note('say', number, this.known)
    const body = bodyOf(this.call, this.me, number, filler)
    this.signal(number, kind, isLast ? body + 'last' : body)
    return number
  }

  /** Has stopped talking: says one last word, and again until it is accepted. */
  finish() {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.finish(), 1000)
    this.lastWord = this.#say(true)
  }

  /** Says goodbye, one way or the other. */
  leave(how) {
    clearTimeout(this.#timer)
    this.#isLeaving = true
    this.note('leave', how)
    this.goodbye(how, () => this.tell('gone'))
  }

  // ------------------------------------------------------------------------------------- what the wire below has to say

  /** A new connection is there, and the place on it the one before or a new one. */
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

  /** `outcome` is `ok` or a code. */
  answered(number, outcome) {
    this.note('answer', number, outcome, this.known, this.life)
    if (number === this.lastWord && outcome === 'ok') {
      clearTimeout(this.#timer)
      this.tell('accepted')
    }
  }

  heard(kind, { room, from, body }) {
    const [call, who] = body.split('/')
    const isOwn = call === String(this.call) && who === this.other && from === this.other && room === this.room
    this.note('heard', isOwn ? numberIn(body) : -1, kind, isOwn ? undefined : { room, from, call, who })
    if (body.endsWith('last')) this.tell('heard-last')
  }

  /** Something about the other: `joined`, `left`, `away` or `back`. */
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

  /** What must never be. */
  wrong(what) {
    this.note('wrong', what)
  }

  /** Tells when both are together. */
  #report() {
    if (this.isIn && this.known !== null) this.tell('together')
  }
}
