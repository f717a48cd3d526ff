// The process of a client's machine, from outside: orders in, news out.

import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { setTimeout as pause } from 'node:timers/promises'

const PROGRAM = fileURLToPath(new URL('../laptop.js', import.meta.url))

export class Laptop {
  /** When it slept: `[from, to]`. */
  sleeps = []
  #process
  #news = new Map()
  #waiting = new Map()

  constructor() {
    this.#process = fork(PROGRAM, { stdio: 'inherit' })
    this.#process.on('message', ({ id, what, rest }) => this.#receive(`${id} ${[what, ...rest.filter(Number.isInteger)].join(' ')}`, rest))
    this.ended = new Promise((done) => this.#process.once('exit', (code, signal) => done({ code, signal })))
    // A stopped process takes no other signal.
    process.once('exit', () => this.#process.kill('SIGKILL'))
  }

  #receive(news, rest) {
    this.#news.set(news, rest)
    this.#waiting.get(news)?.(rest)
  }

  order(order, id, ...rest) {
    this.#process.send({ order, id, rest })
  }

  /** Resolves when a caller has told something, or has before. */
  told(id, what) {
    const news = `${id} ${what}`
    if (this.#news.has(news)) return Promise.resolve(this.#news.get(news))
    return new Promise((done) => this.#waiting.set(news, done))
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
