// The server under test: start, inspection, stop.

import { spawn } from 'node:child_process'
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ours } from './children.js'

const REPOSITORY = fileURLToPath(new URL('../../../', import.meta.url))
export const BINARY = path.resolve(REPOSITORY, process.env.PARLOR_BIN ?? 'target/debug/parlor')
const TIMEOUT_MS = 20_000

/** Fails with `what()` unless `promise` settles in time. */
export async function within(promise, what, timeout = TIMEOUT_MS) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing after ${timeout} ms: ${what()}`)), timeout)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

export class Server {
  /** The faults of the server itself: none. */
  faults = []
  /** Violations, as text. */
  wrong = []
  /** Number of tasks that serve no client. */
  ownTasks = 0
  #child
  #log

  /** The log lines of a server are in a file that survives its restart. */
  constructor(settings) {
    this.settings = settings
  }

  /** Returns for each side of a call a function that selects the server of a connection: see `Line`. */
  place() {
    return [() => this.address, () => this.address]
  }

  /** A server that another process started, for inspection. */
  static at(address) {
    const server = new Server()
    server.#reach(address)
    return server
  }

  #reach(address) {
    this.address = address
    this.url = `http://${address.host}:${address.port}`
  }

  /** Starts it, or starts it again at its address. */
  async start() {
    const { PATH, HOME } = process.env
    const env = { PATH, HOME, HOST: '127.0.0.1', PORT: String(this.address?.port ?? 0), ...this.settings }
    this.logFile ??= path.join(mkdtempSync(path.join(tmpdir(), 'parlor-drops-')), 'server.log')
    this.#log = createWriteStream(this.logFile, { flags: 'a' })
    this.#child = ours(spawn(BINARY, [], { cwd: REPOSITORY, env, stdio: ['ignore', 'pipe', 'pipe'] }))
    this.exited = new Promise((done) => this.#child.once('exit', (code, signal) => done({ code, signal })))
    const address = new Promise((done) => {
      let output = ''
      this.#child.stdout.on('data', (piece) => {
        this.#log.write(piece)
        if (output === null) return
        output += piece
        const found = /listening on http:\/\/(127\.0\.0\.1):(\d+)/.exec(output)
        if (!found) return
        output = null
        done({ host: found[1], port: Number(found[2]) })
      })
    })
    this.#child.stderr.pipe(process.stderr)
    const ended = this.exited.then((end) => Promise.reject(new Error(`the server ended: ${JSON.stringify(end)}`)))
    ended.catch(() => {})
    this.#reach(await within(Promise.race([address, ended]), () => 'the server does not listen'))
  }

  /** Requests on a connection of its own, which is closed afterwards. */
  async ask(path) {
    const answer = await new Promise((done, fail) => http.get(this.url + path, { agent: false }, done).once('error', fail))
    return text(answer)
  }

  async metrics() {
    const figures = await this.ask('/metrics')
    return Object.fromEntries(figures.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => {
      const space = line.lastIndexOf(' ')
      return [line.slice(0, space), Number(line.slice(space + 1))]
    }))
  }

  async health() {
    return JSON.parse(await this.ask('/health'))
  }

  /** The resources that the server reports for clients, in each of its reports: all zero without clients. */
  async held() {
    const { rooms, participants, connections } = await this.health()
    const listed = JSON.parse(await this.ask('/api/rooms')).length
    const metrics = await this.metrics()
    const gauges = ['parlor_rooms', 'parlor_peers', 'parlor_away', 'parlor_polling_sessions']
    const open = Object.entries(metrics).filter(([name]) => name.startsWith('parlor_connections{'))
    return {
      rooms, participants, connections, 'listed rooms': listed,
      ...Object.fromEntries(gauges.map((name) => [name, metrics[name]])),
      ...Object.fromEntries(open),
      // The scrape itself is one connection.
      parlor_tasks: metrics.parlor_tasks - 1 - this.ownTasks,
    }
  }

  /** Waits until the server holds nothing; returns the rest if it keeps something. */
  async emptied() {
    const until = Date.now() + TIMEOUT_MS
    for (;;) {
      const left = Object.entries(await this.held()).filter(([, count]) => count !== 0)
      if (left.length === 0 || Date.now() > until) return left
      await pause(50)
    }
  }

  async counted() {
    const metrics = await this.metrics()
    const of = (name) => metrics[name] ?? 0
    return {
      recovered: of('parlor_resumptions_total{outcome="recovered"}'),
      refused: of('parlor_resumptions_total{outcome="refused"}'),
      panics: of('parlor_panics_total'),
    }
  }

  /** Discards the log. */
  forgetLog() {
    rmSync(path.dirname(this.logFile), { recursive: true })
  }

  /** Returns the log lines of a room. */
  lines(room) {
    return readFileSync(this.logFile, 'utf8').split('\n').filter((line) => line.includes(` room=${room} `))
  }

  /** Stops the server; returns its exit status and the time it took. */
  async stop() {
    const began = Date.now()
    this.#child.kill('SIGTERM')
    const end = await within(this.exited, () => 'the server does not end')
    return { ...end, ms: Date.now() - began }
  }

  /** Ends the server at once, without its knowledge. */
  async kill() {
    this.#child.kill('SIGKILL')
    await this.exited
  }
}
