// Calls over connections that fail: a thousand calls with failures of every kind, in which no signal may be lost,
// duplicated or reordered.
//
//     node drops.js --calls 1000 --at-once 80 [--seed 7] [--only 412] [--cluster [--faults]]
//
// The server is the real program. Its clients are the official one, over each of its transports, and a `/ws` client, in
// processes that are suspended now and then. Each client has a proxy of its own (support/line.js), which fails
// according to a plan (support/plan.js). support/verdict.js defines the properties of each call.
//
// With `--cluster` there are three nodes and a Redis (support/cluster.js): the peers of a call are on different nodes, and
// each resumes on another one. With `--faults` nodes are killed and restarted, the Redis as well, and its connections cut.

import { parseArgs } from 'node:util'
import { setTimeout as pause } from 'node:timers/promises'
import { Cluster } from './support/cluster.js'
import { Laptop } from './support/laptop.js'
import { Line } from './support/line.js'
import { CLUSTER, disturb, naps, RESUME_MS, SETTINGS, TOO_LONG_MS } from './support/plan.js'
import { random } from './support/random.js'
import { Tally } from './support/tally.js'
import { Server, within } from './support/server.js'
import { judge } from './support/verdict.js'

const WAVE = 20
const PACE_MS = 150
/** Handshake timeout of a client: shorter than in a page, since the silences in this test are shorter. */
const TIMEOUT_MS = 2000
/** Time after which an accepted last signal that has not arrived is sent again. */
const AGAIN_MS = 3000
/** Time for the last signals to arrive, without faults and with them. */
const LAST_MS = [20_000, 60_000]
const PROTOCOLS = ['websocket', 'websocket', 'polling', 'upgrade', 'envelope', 'envelope']
const WAYS_TO_LEAVE = ['leave', 'close']

const { values: options } = parseArgs({
  options: {
    calls: { type: 'string', default: '60' },
    'at-once': { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    only: { type: 'string' },
    cluster: { type: 'boolean', default: false },
    faults: { type: 'boolean', default: false },
  },
})
const { seed } = options
const lastMs = LAST_MS[Number(options.faults)]

/** Runs one call from join to leave. */
async function hold(server, laptops, number) {
  const chance = random(`${seed}/${number}`)
  const protocols = [chance.pick(PROTOCOLS), chance.pick(PROTOCOLS)]
  const machines = chance.shuffled(laptops)
  const targets = server.place()
  const sides = protocols.map((protocol, index) => {
    const me = `${'ab'[index]}-${number}`
    return { me, protocol, id: me, laptop: machines[index], line: new Line(targets[index]) }
  })
  const [one, other] = sides
  const call = { number, sides, drops: {}, expired: [], found: [], room: `call-${number}` }
  const all = (what) => Promise.all(sides.map((side) => within(side.laptop.reported(side.id, what), () => `${side.me}: ${what}`)))
  try {
    for (const [side, across] of [[one, other], [other, one]]) {
      await side.line.open()
      const { id, me, protocol, line: { address } } = side
      const times = { paceMs: PACE_MS, timeoutMs: TIMEOUT_MS }
      side.laptop.order('begin', id, { call: number, room: call.room, me, other: across.me, address, protocol, seed, joinsAgain: number % 2 === 0, ...times })
    }
    await all('joined')
    const { drops, expired } = await disturb(sides, chance)
    Object.assign(call, { drops, expired })
  } catch (error) {
    call.found.push({ at: Date.now(), text: error.message })
  }
  return call
}

/**
 * Waits until each side has received the last signal of the other. That is sent again if the session for which it was
 * accepted has ended since.
 */
async function exchange(sides) {
  const until = Date.now() + lastMs
  while (Date.now() < until) {
    await Promise.all(sides.map(({ laptop, id }) => laptop.reported(id, 'accepted')))
    const missing = sides.filter(({ laptop, id }, index) => {
      const other = sides[1 - index]
      const [accepted] = other.laptop.last(other.id, 'accepted')
      return !(laptop.last(id, 'received-last')?.[0] >= accepted)
    })
    if (missing.length === 0) return
    const received = missing.map(({ laptop, id }) => laptop.next(id, 'received-last'))
    const isLate = await Promise.race([pause(AGAIN_MS, true), ...received.map((next) => next.then(() => false))])
    if (!isLate) continue
    for (const side of missing) {
      const { laptop, id } = sides[1 - sides.indexOf(side)]
      laptop.order('finish', id)
    }
  }
}

/** Stops the failures, then waits until all signals have arrived and both sides have left. */
async function end(call) {
  const chance = random(`${seed}/${call.number}/end`)
  const { sides } = call
  const reported = (side, what) => within(side.laptop.reported(side.id, what), () => `${side.me}: ${what}`)
  try {
    for (const { line } of sides) line.rest()
    for (const { laptop, id } of sides) laptop.order('finish', id)
    await within(exchange(sides), () => 'the last signals', lastMs)
    const [first, last] = chance.shuffled(sides)
    first.laptop.order('leave', first.id, chance.pick(WAYS_TO_LEAVE))
    await Promise.all([reported(first, 'gone'), reported(last, 'other-left')])
    last.laptop.order('leave', last.id, chance.pick(WAYS_TO_LEAVE))
    await reported(last, 'gone')
  } catch (error) {
    call.found.push({ at: Date.now(), text: error.message })
  }
  for (const side of sides) {
    side.laptop.order('report', side.id)
    side.log = (await reported(side, 'log'))[0]
    await side.line.close()
  }
}

/** Calls that share two machines, and the times at which those are suspended. */
async function wave(server, laptops, numbers, tally) {
  const chance = random(`${seed}/wave/${numbers[0]}`)
  const planned = naps(chance)
  const long = []
  const sleeping = laptops.map(async (laptop, index) => {
    for (const [gap, length] of planned[index]) {
      await pause(gap)
      const from = Date.now()
      await laptop.sleep(length)
      if (length === TOO_LONG_MS) long.push({ laptop, from, to: Date.now() })
    }
  })
  const begun = numbers.filter((number) => !options.only || number === Number(options.only))
  const calls = await Promise.all(begun.map((number) => hold(server, laptops, number)))
  await Promise.all(sleeping)
  await Promise.all(calls.map(end))
  for (const call of calls) {
    for (const side of call.sides) {
      const asleep = long.filter(({ laptop }) => laptop === side.laptop)
      call.expired.push(...asleep.map(({ from, to }) => ({ me: side.me, from, to })))
      side.sleeps = side.laptop.sleeps
    }
    const { found, figures } = judge(call, { resumeMs: RESUME_MS, faults: server.faults })
    call.found.push(...found)
    tally.count(call, figures)
    if (call.found.length > 0) tally.show(call, seed, server)
  }
  for (const laptop of laptops) {
    laptop.sleeps.length = 0
    laptop.forget()
  }
}

const count = Number(options.calls)
const lanes = Math.max(1, Math.round(Number(options['at-once']) / WAVE))
const numbers = Array.from({ length: count }, (_, number) => number)
const waves = []
while (numbers.length > 0) waves.push(numbers.splice(0, WAVE))

console.log(`${count} calls, ${lanes * WAVE} at once; seed ${seed}`)
const settings = options.cluster ? { ...SETTINGS, ...CLUSTER } : SETTINGS
console.log(`the ${options.cluster ? 'three nodes' : 'server'}: ${Object.entries(settings).map((setting) => setting.join('=')).join(' ')}`)
const server = new (options.cluster ? Cluster : Server)({ ...settings, LOG_LEVEL: 'info' })
await server.start()
const tally = new Tally()
let isOver = false
const disturbed = options.faults ? server.disturb(random(`${seed}/faults`), () => isOver) : undefined
await Promise.all(Array.from({ length: lanes }, async () => {
  const laptops = [new Laptop(), new Laptop()]
  while (waves.length > 0) await wave(server, laptops, waves.shift(), tally)
  for (const laptop of laptops) laptop.end()
}))
isOver = true
await disturbed
const left = await server.emptied()
const counted = await server.counted()
const ended = await server.stop()
const isGood = tally.report({ seed, left, counted, ended, faults: server.faults, wrong: server.wrong })
if (isGood) server.forgetLog()
else console.log(`log of the server: ${server.logFile}`)
process.exit(isGood ? 0 : 1)
