// The controller of a client machine: sends commands, receives events.

import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { setTimeout as pause } from 'node:timers/promises'
import { ours } from './children.js'

const PROGRAM = fileURLToPath(new URL('../laptop.js', import.meta.url))

export class Laptop {
  /** The times of suspension: `[from, to]`. */
  sleeps = []
  #process
  #news = new Map()
  #waiting = new Map()

  constructor() {
    this.#process = ours(fork(PROGRAM))
    this.#process.on('message', ({ id, what, rest }) => this.#receive(`${id} ${what}`, rest))
  }

  #receive(news, rest) {
    this.#news.set(news, rest)
    const waiting = this.#waiting.get(news) ?? []
    this.#waiting.delete(news)
    for (const done of waiting) done(rest)
  }

  order(order, id, ...rest) {
    this.#process.send({ order, id, rest })
  }

  /** Resolves when a caller has reported an event, also in the past. */
  reported(id, what) {
    const news = this.#news.get(`${id} ${what}`)
    return news ? Promise.resolve(news) : this.next(id, what)
  }

  /** Returns what a caller has reported last with an event; `undefined` if it has not. */
  last(id, what) {
    return this.#news.get(`${id} ${what}`)
  }

  /** Resolves when a caller reports an event from now on. */
  next(id, what) {
    const news = `${id} ${what}`
    return new Promise((done) => this.#waiting.set(news, [...(this.#waiting.get(news) ?? []), done]))
  }

  /** Forgets the events of its callers. */
  forget() {
    this.#news.clear()
    this.#waiting.clear()
  }

  async sleep(ms) {
    const from = Date.now()
    this.#process.kill('SIGSTOP')
    await pause(ms)
    this.#process.kill('SIGCONT')
    this.sleeps.push([from, Date.now()])
  }

  end() {
    this.#process.disconnect()
  }
}
