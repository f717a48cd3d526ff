// The process of a client's machine, from outside: orders in, news out.

import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { setTimeout as pause } from 'node:timers/promises'
import { ours } from './children.js'

const PROGRAM = fileURLToPath(new URL('../laptop.js', import.meta.url))

export class Laptop {
  /** When it slept: `[from, to]`. */
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

  /** Resolves when a caller has told something, or has before. */
  told(id, what) {
    const news = this.#news.get(`${id} ${what}`)
    return news ? Promise.resolve(news) : this.next(id, what)
  }

  /** Resolves when a caller tells something from now on. */
  next(id, what) {
    const news = `${id} ${what}`
    return new Promise((done) => this.#waiting.set(news, [...(this.#waiting.get(news) ?? []), done]))
  }

  /** What all its callers told is not needed any more. */
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
