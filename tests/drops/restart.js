// A restart of the server during calls: all calls continue.
//
//     node restart.js --calls 200 [--seed 7] [--only nodes|socket]
//
// Two setups: two nodes behind one address (support/gate.js), one of which accepts all new connections while the other
// restarts; and one node whose listening socket is kept by another process, as systemd does. The clients are those of
// drops.js, without connection failures.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Gate } from './support/gate.js'
import { Laptop } from './support/laptop.js'
import { random } from './support/random.js'
import { BINARY, Server, within } from './support/server.js'
import { spread, timeline } from './support/tally.js'
import { judge } from './support/verdict.js'

const PROTOCOLS = ['websocket', 'websocket', 'polling', 'upgrade', 'envelope', 'envelope']
const PACE_MS = 250
const SHUTDOWN_SECONDS = 5
/** The default timeout of the official client. */
const TIMEOUT_MS = 20_000
const TALK_MS = 1500
const BACK_MS = 30_000

const SETTINGS = { SHUTDOWN_SECONDS: String(SHUTDOWN_SECONDS) }

const { values: options } = parseArgs({
  options: {
    calls: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    only: { type: 'string' },
  },
})
const { seed } = options

/** Two nodes behind a proxy; each restarts in turn, as a new process. */
class Nodes {
  name = 'two nodes'
  #gate = new Gate()
  #nodes = []

  async start() {
    await this.#gate.open()
    for (let count = 0; count < 2; count += 1) this.#nodes.push(await this.#begin())
    this.#gate.prefer(this.#nodes[0])
    this.address = this.#gate.address
  }

  async #begin() {
    const node = new Server(SETTINGS)
    await node.start()
    return node
  }

  /** Restarts a node like an operator: directs new connections to the other node first. */
  async restart() {
    const [old, other] = this.#nodes
    this.#gate.prefer(other)
    const ended = await old.stop()
    old.forgetLog()
    this.#gate.remove(old)
    this.#nodes = [other, await this.#begin()]
    return ended
  }

  async end() {
    const left = (await Promise.all(this.#nodes.map((node) => node.emptied()))).flat()
    for (const node of this.#nodes) {
      await node.stop()
      node.forgetLog()
    }
    this.#gate.close()
    return left
  }
}

/** One node, whose socket is kept across restarts. */
class Socket {
  name = 'one node, its socket kept'
  refusesNoConnection = true
  #manager
  #server
  #pid
  #pending = new Map()

  async start() {
    const program = fileURLToPath(new URL('service-manager.py', import.meta.url))
    const { PATH, HOME } = process.env
    const env = { PATH, HOME, HOST: '127.0.0.1', ...SETTINGS }
    this.#manager = spawn('python3', [program, BINARY], { env, stdio: ['pipe', 'pipe', 'ignore'] })
    createInterface(this.#manager.stdout).on('line', (line) => {
      const [what, ...rest] = line.split(' ')
      this.#pending.get(what)?.(rest)
    })
    const [port] = await this.#event('port')
    this.address = `127.0.0.1:${port}`
    this.#server = Server.at({ host: '127.0.0.1', port: Number(port) })
    await this.#begin()
  }

  #event(what) {
    return within(new Promise((done) => this.#pending.set(what, done)), () => `${what} by the service manager`)
  }

  async #begin() {
    const started = this.#event('started')
    this.#manager.stdin.write('\n')
    this.#pid = Number((await started)[0])
  }

  async restart() {
    const ended = await this.#stop()
    await this.#begin()
    return ended
  }

  async #stop() {
    const began = Date.now()
    const ended = this.#event('ended')
    process.kill(this.#pid, 'SIGTERM')
    const [code] = await ended
    this.#pid = undefined
    return { code: Number(code), ms: Date.now() - began }
  }

  async end() {
    const left = await this.#server.emptied()
    await this.#stop()
    this.#manager.stdin.end()
    return left
  }
}

/** Runs one setup; returns whether all properties hold. */
async function run(site) {
  await site.start()
  const laptops = [new Laptop(), new Laptop()]
  const chance = random(`${seed}/${site.name}`)
  const calls = Array.from({ length: Number(options.calls) }, (_, number) => ({
    number,
    room: `call-${number}`,
    sides: ['a', 'b'].map((letter, index) => {
      const id = `${letter}-${number}`
      return { id, me: id, protocol: chance.pick(PROTOCOLS), laptop: laptops[index], line: { timeline: [] }, sleeps: [] }
    }),
  }))
  const sides = calls.flatMap((call) => call.sides)
  const found = []
  const drains = []
  const all = (wait, what, timeout) => Promise.all(sides.map((side) => within(wait(side), () => `${side.me}: ${what}`, timeout)))
  try {
    for (const { number, room, sides: [one, other] } of calls) {
      for (const [{ id, me, protocol, laptop }, across] of [[one, other], [other, one]]) {
        laptop.order('begin', id, { call: number, room, me, other: across.me, address: site.address, protocol, seed, paceMs: PACE_MS, timeoutMs: TIMEOUT_MS })
      }
      // Callers join one after the other.
      await pause(5)
    }
    await all(({ laptop, id }) => laptop.reported(id, 'together'), 'together')
    for (let count = 0; count < 2; count += 1) {
      await pause(TALK_MS)
      const from = Date.now()
      const back = all(({ laptop, id }) => laptop.next(id, 'together'), 'together again', BACK_MS)
      back.catch(() => {})
      const { code, ms } = await site.restart()
      await back
      drains.push({ from, ms, code })
      if (code !== 0 || ms > SHUTDOWN_SECONDS * 1000 + 1000) found.push(`the server ended with ${code} after ${ms} ms`)
    }
    await pause(TALK_MS)
    for (const { laptop, id } of sides) laptop.order('finish', id)
    await Promise.all([
      all(({ laptop, id }) => laptop.reported(id, 'accepted'), 'the last signal accepted'),
      all(({ laptop, id }) => laptop.reported(id, 'received-last'), 'the last signal received'),
    ])
    for (const { laptop, id } of sides) laptop.order('leave', id, 'leave')
    await all(({ laptop, id }) => laptop.reported(id, 'gone'), 'gone')
  } catch (error) {
    found.push(error.message)
  }
  for (const side of sides) {
    side.laptop.order('report', side.id)
    side.log = (await within(side.laptop.reported(side.id, 'log'), () => 'a log'))[0]
  }
  const left = await site.end()
  if (left.length > 0) found.push(`left behind: ${left.map((entry) => entry.join(' ')).join(', ')}`)
  for (const laptop of laptops) laptop.end()
  return report(site, calls, drains, found)
}

/** The connections that were refused, with the restart before each. */
function refusals(calls, drains) {
  const sides = calls.flatMap(({ sides }) => sides)
  return sides.flatMap(({ me, protocol, log }) => log.filter(([, what]) => what === 'refused').map(([time, , message]) => {
    const drain = drains.findLastIndex(({ from }) => from <= time)
    return { me, protocol, at: time - (drains[drain]?.from ?? log[0][0]), message, drain: drain + 1 }
  }))
}

function report(site, calls, drains, found) {
  const sums = { created: 0, accepted: 0, refused: 0, received: 0, rejoined: 0 }
  const failed = []
  for (const call of calls) {
    const verdict = judge(call, { resumeMs: null })
    for (const key of Object.keys(sums)) sums[key] += verdict.figures[key]
    if (verdict.found.length === 0) continue
    failed.push(call.number)
    if (failed.length > 3) continue
    const began = Math.min(...call.sides.map(({ log }) => log[0][0]))
    console.log(`\nFAILED: ${site.name}, seed ${seed}, call ${call.number} (${call.sides.map(({ protocol }) => protocol).join(', ')})`)
    for (const { at, text } of verdict.found.slice(0, 12)) console.log(`  at ${at - began}: ${text}`)
    for (const { text } of timeline(call)) console.log(`    ${text}`)
  }
  const joins = calls.flatMap(({ sides }) => sides.map(({ log }) => log.filter(([, what]) => what === 'joined').map(([at]) => at)))
  const figures = drains.map(({ from, ms, code }) => {
    const back = spread(joins.map((times) => (times.find((at) => at > from) ?? Infinity) - from))
    return { 'ended after': ms, code, back }
  })
  const refused = refusals(calls, drains)
  if (site.refusesNoConnection && refused.length > 0) found.push('connections were refused')
  for (const problem of found) console.log(`FAILED: ${site.name}, seed ${seed}: ${problem}`)
  const isGood = failed.length === 0 && found.length === 0
  console.log(`\n${site.name}: ${calls.length} calls`)
  for (const { 'ended after': ms, code, back } of figures) {
    console.log(`  restart    ended with ${code} after ${ms} ms; back in its room: median ${back.median} ms, p99 ${back.p99} ms, all after ${back.max} ms`)
  }
  console.log(`  signals    created ${sums.created}, accepted ${sums.accepted}, refused ${sums.refused}, delivered ${sums.received}; rejoined ${sums.rejoined}`)
  console.log(`  refused    ${refused.length} connections`)
  for (const { me, protocol, at, message, drain } of refused.slice(0, 12)) console.log(`    ${me} (${protocol}), ${at} ms after restart ${drain}: ${message}`)
  console.log(`  violations ${found.length + failed.length}`)
  console.log(JSON.stringify({ site: site.name, seed, isGood, calls: calls.length, ...sums, restarts: figures, 'connections refused': refused.length, failed }))
  return isGood
}

console.log(`restarts in the midst of ${options.calls} calls; seed ${seed}; SHUTDOWN_SECONDS=${SHUTDOWN_SECONDS}`)
const sites = { nodes: new Nodes(), socket: new Socket() }
const chosen = options.only ? [sites[options.only]] : Object.values(sites)
let isGood = true
for (const site of chosen) isGood = (await run(site)) && isGood
process.exit(isGood ? 0 : 1)
