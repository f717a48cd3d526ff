// The properties of a call, checked on the logs of its two sides.
//
// The properties do not depend on the failures of connections, except for absences that were planned to be too long. Nor do
// order and completeness of the signals depend on the faults of a cluster, which may end sessions.

/** Faults that may end a session, or delay its resumption until it is refused. A restarted node hands its sessions over. */
const ENDING = ['kill', 'cut', 'engine, empty', 'engine, with its data']
/** Faults after which the peers of other nodes may be shown as gone for a moment. */
const HIDING = ['kill', 'engine, empty', 'engine, with its data']
/** How long after a fault an absent client may receive what it has caused. */
const LATE_MS = 12_000
/** How long a signal may wait for a node that died before its sender is notified. */
const REPORT_MS = 12_000

const isDuring = (faults, kinds, from, to) => faults.some((fault) => kinds.includes(fault.what) && fault.from <= to && fault.to >= from)

/** Reads the log of one side. */
function read({ me, log, line: { timeline } }) {
  const side = { me, created: new Map(), sent: new Map(), answers: new Map(), received: [], reported: [], ups: [], downs: new Map(), joined: new Set(), wrong: [], events: [] }
  let incarnation = 0
  let began
  /** The times at which the server held the session for certain: a request sent later was answered. */
  let alive
  for (const [at, what, ...rest] of log) {
    const [first, second, third, fourth] = rest
    if (what === 'create') side.created.set(first, { at, known: second })
    else if (what === 'life') began = at
    else if (what === 'down') side.downs.set(incarnation, at)
    else if (what === 'sent') side.sent.set(first, { at, life: second })
    else if (what === 'answer') {
      if (side.answers.has(first)) side.wrong.push([at, `two answers to ${first}`])
      side.answers.set(first, { at, outcome: second, known: third, life: fourth, incarnation })
      const { at: sent } = side.sent.get(first)
      if (second !== 'NOT_IN_ROOM') alive = Math.max(alive ?? 0, sent)
    } else if (what === 'reported') side.reported.push({ at, incarnation })
    else if (what === 'received') side.received.push({ at, number: first, kind: second, stray: third, incarnation })
    else if (what === 'up') {
      incarnation = second
      const from = Math.max(alive ?? 0, side.ups.at(-1)?.at ?? 0)
      side.ups.push({ at, began, recovered: first, incarnation, alive, isInterrupted: isInterrupted(timeline, from, at) })
      if (!first) alive = undefined
    } else if (what === 'joined') {
      side.joined.add(first)
      alive = Math.max(alive ?? 0, side.ups.at(-1).at)
    } else if (what === 'wrong') side.wrong.push([at, first])
    if (['up', 'users', 'presence', 'leave'].includes(what)) side.events.push({ at, what, rest })
    if (what === 'leave') side.left = at
  }
  side.incarnation = incarnation
  return side
}

/**
 * Returns whether an attempt to resume was cut off after the server may have received it. In a cluster the session may have
 * moved then, and the client tries again with its former resume token.
 */
function isInterrupted(timeline, from, to) {
  const last = timeline.findLast(([at, what]) => what === 'to' && at <= to)?.[0]
  return timeline.some(([at, what]) => what === 'asked' && at > from && at < last)
}

/**
 * Returns the violations of a call, each as `{ at, text }`. `resumeMs` is the resumption time, or `null` if servers are
 * restarted: sessions are not resumed then, and no accepted signal is lost. `faults` are those of a cluster: see `Cluster`.
 */
export function judge({ sides, expired = [] }, { resumeMs, faults = [] }) {
  const [one, other] = sides.map(read)
  const found = []
  for (const [side, across] of [[one, other], [other, one]]) {
    const rules = [
      () => side.wrong,
      () => strays(side, across),
      () => order(side),
      () => silence(side),
      () => refusals(side, resumeMs, faults),
      () => lost(side, across, resumeMs, faults),
      () => presence(side, across, resumeMs, faults),
      () => (resumeMs === null ? [] : absences(side, resumeMs, faults)),
      () => overdue(side, expired.filter(({ me }) => me === side.me), faults),
    ]
    for (const rule of rules) found.push(...rule().map(([at, problem]) => ({ at, text: `${side.me}: ${problem}` })))
  }
  return { found, figures: figures([one, other]) }
}

/** A side receives only what the other has sent, unchanged, and nothing that was refused. */
function strays({ received }, across) {
  return received.flatMap(({ at, number, stray }) => {
    if (stray) return [[at, `a signal of another call: ${JSON.stringify(stray)}`]]
    if (!across.created.has(number)) return [[at, `${number} was never sent`]]
    const outcome = across.answers.get(number)?.outcome ?? 'ok'
    return outcome === 'ok' ? [] : [[at, `${number} was refused, ${outcome} but delivered`]]
  })
}

/** Signals arrive once and in order. */
function order({ received }) {
  return received.flatMap(({ at, number }, index) => {
    const before = received[index - 1]?.number ?? -1
    return number > before ? [] : [[at, `${number} came after ${before}`]]
  })
}

/** On one connection, every request before an answered request is answered. */
function silence({ sent, answers }) {
  const last = new Map()
  for (const [number, { life }] of answers) {
    if (sent.get(number).life === life) last.set(life, Math.max(last.get(life) ?? -1, number))
  }
  return [...sent].flatMap(([number, { at, life }]) => {
    return !answers.has(number) && number < (last.get(life) ?? -1) ? [[at, `no answer to ${number}`]] : []
  })
}

/**
 * A signal is refused only if its sender or its target is not in the room. A peer that a restart disconnected is shown as
 * away, and is no longer in the room.
 */
function refusals({ answers, sent, created, ups, events }, resumeMs, faults) {
  const isAway = (at) => events.findLast(({ what, at: then }) => what === 'presence' && then <= at)?.rest[0] === 'away'
  return [...answers].flatMap(([number, { outcome, known, at }]) => {
    // Sent before the client could rejoin, after an absence.
    const wasFresh = ups.some((up) => !up.recovered && sent.get(number).at <= up.at + 100 && at >= up.at)
    if (outcome === 'ok' && known === null) return [[at, `${number} was accepted without a recipient`]]
    if (outcome === 'ok' || (outcome === 'NOT_IN_ROOM' && wasFresh)) return []
    if (outcome === 'TARGET_NOT_FOUND' && (known === null || known !== created.get(number).known)) return []
    if (outcome === 'TARGET_NOT_FOUND' && resumeMs === null && isAway(at)) return []
    // The queue for a node that does not respond is bounded.
    if (outcome === 'DELIVERY_FAILED' && isDuring(faults, ENDING, sent.get(number).at, at)) return []
    return [[at, `${number} was refused, ${outcome}`]]
  })
}

/**
 * Signals accepted for an incarnation of the other side reach it, unless it ended before. A restart is no reason. In a cluster
 * a signal may be reported to its sender instead, unless the sender's session ended, too.
 */
function lost({ answers, created, reported, ups, downs }, across, resumeMs, faults) {
  if (resumeMs === null) {
    const all = new Set(across.received.map(({ number }) => number))
    return [...answers].flatMap(([number, { at, outcome }]) => {
      return outcome !== 'ok' || all.has(number) ? [] : [[at, `${number} was accepted but never arrived`]]
    })
  }
  const received = new Map()
  for (const { number, incarnation } of across.received) {
    if (!received.has(incarnation)) received.set(incarnation, new Set())
    received.get(incarnation).add(number)
  }
  const reports = new Map()
  for (const { incarnation } of reported) reports.set(incarnation, (reports.get(incarnation) ?? 0) + 1)
  const ends = new Map(ups.filter(({ recovered }) => !recovered).map(({ incarnation, at }) => [incarnation - 1, at]))
  return [...answers].flatMap(([number, { at, outcome, known, incarnation }]) => {
    // If the other side ended in between, it is unknown for which of the two incarnations it was.
    if (outcome !== 'ok' || known === null || created.get(number).known !== known) return []
    const its = received.get(known) ?? new Set()
    const mayEndEarly = known < across.incarnation
    if (its.has(number) || (mayEndEarly && number > Math.max(-1, ...its))) return []
    if (reports.get(incarnation) > 0) {
      reports.set(incarnation, reports.get(incarnation) - 1)
      return []
    }
    // The report waits for a sender that is away, and ends with its session.
    const end = ends.get(incarnation)
    const left = Math.min(end, downs.get(incarnation) ?? end)
    if (left - at < REPORT_MS && isDuring(faults, ENDING, at, end)) return []
    return [[at, `${number} was accepted but never arrived`]]
  })
}

/** Presence events follow the other side's state: it joins, may be away and back, and leaves, each for a reason. */
function presence({ events }, across, resumeMs, faults) {
  const found = []
  let known = null
  let last = 0
  let isAway
  let isFresh = true
  for (const { what, at, rest } of events) {
    if (what === 'up') {
      isFresh ||= !rest[0]
    } else if (what === 'users') {
      if (isFresh) [known, isAway] = [rest[0], undefined]
      else if (rest[0] !== known) found.push([at, `listed as ${rest[0]}, announced as ${known}`])
      last = Math.max(last, known ?? 0)
      isFresh = false
    } else if (what === 'presence') {
      const [news, incarnation, reason] = rest
      const isKnown = known !== null && incarnation === known
      if (news === 'joined') {
        const isShownAgain = incarnation === last && isDuring(faults, HIDING, at - LATE_MS, at)
        if (known !== null || (incarnation <= last && !isShownAgain)) found.push([at, `user-joined (${incarnation}) over ${known ?? last}`])
        ;[known, last, isAway] = [incarnation, incarnation, false]
      } else if (!isKnown) found.push([at, `user-${news} (${incarnation}), which is not in the room (${known})`])
      else if (news === 'left') {
        const isHidden = reason === 'disconnected' && isDuring(faults, HIDING, at - LATE_MS, at)
        if (!isHidden && !mayLeave(across, incarnation, reason, at, resumeMs, faults)) {
          found.push([at, `user-left (${incarnation}), ${reason}, that was not due`])
        }
        known = null
      } else {
        if (isAway === (news === 'away')) found.push([at, `user-${news} (${incarnation}) twice`])
        isAway = news === 'away'
      }
    }
  }
  return found
}

function mayLeave(across, incarnation, reason, at, resumeMs, faults) {
  if (['left', 'disconnected'].includes(reason) && across.left <= at) return true
  if (across.incarnation <= incarnation) return false
  if (resumeMs === null) return ['kicked', 'disconnected'].includes(reason)
  if (reason === 'timeout') return true
  // A `/ws` client has no resume token before its join is answered.
  if (reason === 'replaced' && !across.joined.has(incarnation)) return true
  // The cluster ends a session that does not arrive; a client that is refused joins again.
  const refused = across.ups.find((up) => up.incarnation > incarnation)
  // A node that shuts down keeps sessions for longer, but their clients are refused.
  if (reason === 'replaced' && refused.at - refused.alive >= resumeMs) return true
  return ['replaced', 'disconnected'].includes(reason) && mayBeRefused(refused, faults)
}

/** Whether a client that was away may find its session ended. */
const mayBeRefused = ({ at, alive }, faults) => isDuring(faults, ENDING, alive, at)

/** A client that was absent for less than the resumption time is recovered. */
function absences({ ups }, resumeMs, faults) {
  return ups.flatMap(({ at, recovered, alive }) => {
    return !recovered && at - alive < resumeMs && !mayBeRefused({ at, alive }, faults) ? [[at, `lost its session after ${at - alive} ms`]] : []
  })
}

/** A client that was absent for much longer is not. While a node shuts down, it keeps its sessions for longer. */
function overdue({ ups }, expired, faults) {
  return expired.flatMap(({ from, to }) => {
    // An answer that was sent before the suspension and read after it proves nothing.
    const back = ups.find(({ began }) => began >= from)
    if (!back) return [[to, 'never reconnected']]
    if (back.at < to) return [[back.at, `reconnected through a closed proxy, after ${back.at - from} ms`]]
    return back.recovered && !isDuring(faults, ['restart'], from, back.at) ? [[back.at, `was recovered after ${back.at - from} ms`]] : []
  })
}

function lapsed({ answers }, { received }) {
  const numbers = new Set(received.map(({ number }) => number))
  return [...answers].filter(([number, { outcome }]) => outcome === 'ok' && !numbers.has(number)).length
}

function figures(sides) {
  const sum = (count) => sides.reduce((total, side) => total + count(side), 0)
  const answered = (side, test) => [...side.answers.values()].filter(({ outcome }) => test(outcome)).length
  const later = sides.flatMap(({ ups }) => ups.slice(1))
  return {
    created: sum(({ created }) => created.size),
    accepted: sum((side) => answered(side, (outcome) => outcome === 'ok')),
    // Sessions that ended before their token was received.
    lapsed: lapsed(...sides) + lapsed(...sides.toReversed()),
    refused: sum((side) => answered(side, (outcome) => outcome !== 'ok')),
    reported: sum(({ reported }) => reported.length),
    received: sum(({ received }) => received.length),
    recovered: later.filter(({ recovered }) => recovered).length,
    rejoined: later.filter(({ recovered }) => !recovered).length,
    interrupted: later.filter(({ recovered, isInterrupted }) => !recovered && isInterrupted).length,
    absences: later.filter(({ alive }) => alive).map(({ at, alive }) => at - alive),
  }
}
