// The failures of the connections of a call, and their times.

import { setTimeout as pause } from 'node:timers/promises'

/** Settings of the server for these tests: heartbeats and resumption times of seconds, and no UDP port that another program may have taken before a restart. */
export const RESUME_MS = 6000
export const SETTINGS = {
  RESUME_SECONDS: String(RESUME_MS / 1000),
  PING_INTERVAL_MS: '1000',
  PING_TIMEOUT_MS: '1200',
  WS_PING_SECONDS: '1',
  HANDSHAKE_TIMEOUT_SECONDS: '4',
  SFU: 'off',
  // A client sends what it has created while it could not join all at once.
  MESSAGE_BURST: '1000',
}

/** Settings of a node beside these: it ends when the sessions of its clients have moved, and is dead after 5 s of silence. */
export const CLUSTER = { CLUSTER_LEASE_SECONDS: '5', SHUTDOWN_SECONDS: '12' }

/** Time after which the server has detected a silent connection: two missed heartbeats of `/ws`, and a margin. */
const NOTICED_MS = 3200
/** A silence that both sides detect, or one, or none. */
const SILENCE_MS = [1500, 4000]
const OUTAGE_MS = [0, 2000]
/** Time after which a session has expired for certain: expiry is checked four times a second. */
export const TOO_LONG_MS = NOTICED_MS + RESUME_MS + 1300

const GAP_MS = [300, 2200]
/** A short suspension is not detected, a long one by both sides. */
const NAP_MS = [200, 4000]
/** Share of calls with an absence longer than the resumption time, and of waves with such a suspension. */
const LONG_CALLS = 0.15
const LONG_WAVES = 0.12

async function outage(line, chance) {
  const ms = chance.between(...OUTAGE_MS)
  // Often there is no delay: the next connection follows at once.
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

/** Cuts of the following connections during the handshake, the connect or the recovery; up to three in a row. */
async function delicate(line, chance, protocol) {
  // A stage of one connection consists of several connections over polling.
  const skip = protocol === 'polling' || protocol === 'upgrade' ? 4 : 0
  line.arm(Array.from({ length: chance.whole(1, 3) }, () => ({
    skip: chance.whole(0, skip),
    piece: chance.whole(0, protocol === 'polling' ? 1 : 6),
    portion: chance.pick([0, 1, chance.next()]),
    how: chance.pick(['reset', 'reset', 'fin']),
    sides: chance.pick(['both', 'both', 'near', 'far']),
  })))
  line.cut('reset', 'both')
}

/** The failures of one side. */
const KINDS = {
  'reset': ({ line }, chance) => cut(line, chance, 'reset', 'both'),
  'end': ({ line }, chance) => cut(line, chance, 'fin', 'both'),
  // The server is not notified, and the client reconnects at once: a phone that changes networks.
  'reset of the client': ({ line }, chance) => cut(line, chance, 'reset', 'near'),
  'reset of the server': ({ line }, chance) => cut(line, chance, 'reset', 'far'),
  'silence, then late': ({ line }, chance) => silence(line, chance, 'late'),
  'silence, then anew': ({ line }, chance) => silence(line, chance, 'lost'),
  'silence to the client': ({ line }, chance) => silence(line, chance, chance.pick(['late', 'lost']), true),
  'in a handshake': ({ line, protocol }, chance) => delicate(line, chance, protocol),
}
const BOTH = 'of both at once'

/** Absences longer than the resumption time. */
const LONG = {
  'too long a reset': (line) => {
    line.cut('reset', 'both')
    line.down()
  },
  'too long a silence': (line) => line.silence(),
}

/**
 * Applies all failures of a call.
 * @returns the number of failures of each kind, and the sides that were absent for too long
 */
export async function disturb(sides, chance) {
  const drops = {}
  const expired = []
  const count = (kind) => (drops[kind] = (drops[kind] ?? 0) + 1)
  const queues = new Map(sides.map(({ me }) => [me, Promise.resolve()]))
  // One failure at a time on each connection.
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

/** Returns the suspensions of the machines of a wave: for each a list of `[gap, length]`. */
export function naps(chance) {
  const short = () => [chance.between(1500, 6000), chance.between(...NAP_MS)]
  const machines = [[short(), short()], [short(), short()]]
  if (chance.chance(LONG_WAVES)) chance.pick(machines).push([chance.between(1000, 2000), TOO_LONG_MS])
  return machines
}
