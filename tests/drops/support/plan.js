// What is done to the lines of a call, and when.

import { setTimeout as pause } from 'node:timers/promises'

/** What the server is told for these tests: heartbeats and absences that are seconds, not tens of them. */
export const RESUME_MS = 6000
export const SETTINGS = {
  RESUME_SECONDS: String(RESUME_MS / 1000),
  PING_INTERVAL_MS: '1000',
  PING_TIMEOUT_MS: '1200',
  WS_PING_SECONDS: '1',
  HANDSHAKE_TIMEOUT_SECONDS: '4',
}

/** By then the server has noticed that a line is silent: two missed heartbeats of `/ws`, and some. */
const NOTICED_MS = 3200
/** A silence that both sides notice, or one, or none. */
const SILENCE_MS = [1500, 4000]
const OUTAGE_MS = [0, 2000]
/** By then a place is given up for sure: it is looked at four times a second. */
export const TOO_LONG_MS = NOTICED_MS + RESUME_MS + 1300

const GAP_MS = [300, 2200]
/** A short nap is not noticed, a long one by both sides. */
const NAP_MS = [200, 4000]
/** How many calls have an absence that is too long, and how many waves one in which a machine sleeps for too long. */
const LONG_CALLS = 0.15
const LONG_WAVES = 0.12

async function outage(line, chance) {
  const ms = chance.between(...OUTAGE_MS)
  // Often there is none: the next connection is made at once.
  if (chance.chance(0.3)) return
  line.down()
  await pause(ms)
  line.up()
}

async function cut(line, chance, how, sides) {
  line.cut(how, sides)
  await outage(line, chance)
}

async function silence(line, chance, old, isHalf) {
  line.silence(isHalf)
  await pause(chance.between(...SILENCE_MS))
  line.up(old)
}

/** Cuts of the connections that follow, while they shake hands, connect, and recover; up to three in a row. */
async function delicate(line, chance, wire) {
  // What takes one connection elsewhere takes several over polling.
  const skip = wire === 'polling' || wire === 'upgrade' ? 4 : 0
  line.arm(Array.from({ length: chance.whole(1, 3) }, () => ({
    skip: chance.whole(0, skip),
    piece: chance.whole(0, wire === 'polling' ? 1 : 6),
    portion: chance.pick([0, 1, chance.next()]),
    how: chance.pick(['reset', 'reset', 'fin']),
    sides: chance.pick(['both', 'both', 'near', 'far']),
  })))
  line.cut('reset', 'both')
}

/** What can happen to one side. */
const KINDS = {
  'reset': ({ line }, chance) => cut(line, chance, 'reset', 'both'),
  'end': ({ line }, chance) => cut(line, chance, 'fin', 'both'),
  // The server hears nothing, and the client is back at once: a phone that changes networks.
  'reset of the client': ({ line }, chance) => cut(line, chance, 'reset', 'near'),
  'reset of the server': ({ line }, chance) => cut(line, chance, 'reset', 'far'),
  'silence, then late': ({ line }, chance) => silence(line, chance, 'late'),
  'silence, then anew': ({ line }, chance) => silence(line, chance, 'lost'),
  'silence to the client': ({ line }, chance) => silence(line, chance, chance.pick(['late', 'lost']), true),
  'in a handshake': ({ line, wire }, chance) => delicate(line, chance, wire),
}
const BOTH = 'of both at once'

/** What may happen beyond what a place is held for. */
const LONG = {
  'too long a reset': (line) => {
    line.cut('reset', 'both')
    line.down()
  },
  'too long a silence': (line) => line.silence(),
}

/** Does all that is to happen to a call. @returns how often each kind of drop was, and who was away for too long */
export async function disturb(sides, chance) {
  const drops = {}
  const expired = []
  const count = (kind) => (drops[kind] = (drops[kind] ?? 0) + 1)
  const queues = new Map(sides.map(({ me }) => [me, Promise.resolve()]))
  // One thing at a time on each line.
  const alone = (side, happen) => {
    const done = queues.get(side.me).then(happen)
    queues.set(side.me, done)
    return done
  }
  const acts = sides.map(() => [])
  for (const kind of Object.keys(KINDS)) acts[chance.whole(0, 1)].push(kind)
  for (const act of acts) act.push('in a handshake', chance.pick(Object.keys(KINDS)))
  acts[0].push(BOTH)
  const isLong = chance.chance(LONG_CALLS) ? chance.pick(['one', 'both']) : undefined
  const long = chance.pick(Object.keys(LONG))
  const ways = acts.map((act) => chance.shuffled(act).map((kind) => ({ kind, gap: chance.between(...GAP_MS) })))

  await Promise.all(sides.map(async (side, index) => {
    for (const { kind, gap } of ways[index]) {
      await pause(gap)
      count(kind)
      if (kind === BOTH) {
        await Promise.all(sides.map((each) => alone(each, () => cut(each.line, chance, 'reset', 'both'))))
      } else {
        await alone(side, () => KINDS[kind](side, chance))
      }
    }
  }))
  const away = isLong === 'both' ? sides : sides.slice(0, isLong ? 1 : 0)
  await Promise.all(away.map((side) => alone(side, async () => {
    count(long)
    side.line.arm([])
    const from = Date.now()
    LONG[long](side.line)
    await pause(TOO_LONG_MS)
    expired.push({ me: side.me, from, to: Date.now() })
    side.line.up(chance.pick(['late', 'lost']))
  })))
  return { drops, expired }
}

/** When the machines of a wave sleep: for each a list of `[gap, length]`. */
export function naps(chance) {
  const short = () => [chance.between(1500, 6000), chance.between(...NAP_MS)]
  const machines = [[short(), short()], [short(), short()]]
  if (chance.chance(LONG_WAVES)) chance.pick(machines).push([chance.between(1000, 2000), TOO_LONG_MS])
  return machines
}
