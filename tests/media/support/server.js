// The server under test: start, inspection, stop.

import { spawn } from 'node:child_process'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { within } from './within.js'

const REPOSITORY = fileURLToPath(new URL('../../../', import.meta.url))
const BINARY = path.resolve(REPOSITORY, process.env.PARLOR_BIN ?? 'target/debug/parlor')

/** The gauges of `/metrics` for current resources. */
const GAUGES = [
  'parlor_media_transports', 'parlor_media_producers', 'parlor_media_consumers', 'parlor_rooms', 'parlor_peers', 'parlor_away',
]

// A stopped suite stops its server: see the `exit` handler below.
process.once('SIGTERM', () => process.exit(143))

export class Server {
  #child

  static async start() {
    const server = new Server()
    await server.#start()
    return server
  }

  async #start() {
    const { PATH, HOME } = process.env
    const env = { PATH, HOME, HOST: '127.0.0.1', PORT: '0', LOG_LEVEL: 'info' }
    const child = spawn(BINARY, [], { cwd: REPOSITORY, env, stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child = child
    process.once('exit', () => child.kill('SIGKILL'))
    this.ended = new Promise((done) => child.once('exit', (code, signal) => done({ code, signal })))
    let output = ''
    const address = new Promise((done) => {
      child.stdout.setEncoding('utf8').on('data', (text) => {
        // The output is read to its end, since a full pipe would block the server.
        output = (output + text).slice(-10_000)
        const found = /listening on http:\/\/(127\.0\.0\.1:\d+)/.exec(output)
        if (found) done(found[1])
      })
    })
    const early = this.ended.then((end) => { throw new Error(`the server ended: ${JSON.stringify(end)}`) })
    early.catch(() => {})
    this.address = await within(Promise.race([address, early]), () => `the server listens: ${output}`)
    this.url = `ws://${this.address}/ws`
  }

  /** The resources that the server holds. */
  async held() {
    const figures = await (await fetch(`http://${this.address}/metrics`)).text()
    const value = (name) => Number(new RegExp(`^${name} (.*)$`, 'm').exec(figures)?.[1] ?? NaN)
    const rooms = await (await fetch(`http://${this.address}/api/rooms`)).json()
    return { ...Object.fromEntries(GAUGES.map((name) => [name, value(name)])), 'listed rooms': rooms.length }
  }

  /** Waits until the server holds these resources. Polls, since there is no event for a change. */
  async holds(expected) {
    let held
    const until = async () => {
      for (;;) {
        held = await this.held()
        if (Object.entries(expected).every(([name, count]) => held[name] === count)) return
        await pause(20)
      }
    }
    await within(until(), () => `${JSON.stringify(expected)}, not ${JSON.stringify(held)}`)
  }

  /** Waits until the server holds nothing. */
  async isEmpty() {
    await this.holds(Object.fromEntries([...GAUGES, 'listed rooms'].map((name) => [name, 0])))
  }

  async stop() {
    this.#child.kill('SIGTERM')
    return within(this.ended, () => 'the server ends')
  }
}
