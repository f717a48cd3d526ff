// The figures of a run, and the log of a failed call.

import { writeFileSync } from 'node:fs'
import path from 'node:path'

const MAX_LISTED = 12
const MAX_TIMELINES = 5
const MAX_LINES = 80
/** Number of log lines shown around the first violation. */
const BEFORE_MS = 6000
const AFTER_MS = 500

const quantile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0

export function spread(times) {
  const sorted = [...times].sort((one, other) => one - other)
  return { median: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: sorted.at(-1) ?? 0 }
}

/** Times from the recovery of a connection or machine to the return of the client, without the first. */
function returns({ log, line, sleeps }) {
  const turns = [...line.timeline.filter(([, what]) => what === 'line').map(([at]) => at), ...sleeps.map(([, to]) => to)]
  const ups = log.filter(([, what]) => what === 'up').map(([at]) => at)
  return ups.slice(1).map((up) => up - Math.max(...turns.filter((at) => at <= up)))
}

export class Tally {
  calls = 0
  failed = []
  #drops = {}
  #stages = {}
  #protocols = {}
  #sums = { created: 0, accepted: 0, lapsed: 0, refused: 0, reported: 0, received: 0, recovered: 0, rejoined: 0, interrupted: 0 }
  #absences = []
  #returns = []
  #found = 0

  count(call, { absences, ...sums }) {
    this.calls += 1
    const add = (to, from) => Object.entries(from).forEach(([key, value]) => (to[key] = (to[key] ?? 0) + value))
    add(this.#sums, sums)
    add(this.#drops, call.drops)
    for (const side of call.sides) {
      add(this.#stages, side.line.stages)
      add(this.#drops, { sleep: side.sleeps.length })
      add(this.#protocols, { [side.protocol]: 1 })
      this.#returns.push(...returns(side))
    }
    this.#absences.push(...absences)
    this.#found += call.found.length
  }

  /** Prints the violations of a call and the log around the first one; writes the whole log to a file. */
  show(call, seed, server) {
    this.failed.push(call.number)
    const began = Math.min(...call.sides.flatMap(({ log }) => log.slice(0, 1).map(([at]) => at)))
    const protocols = call.sides.map(({ me, protocol }) => `${me} by ${protocol}`).join(', ')
    console.log(`\nFAILED: seed ${seed}, call ${call.number} (${protocols})`)
    for (const { at, text } of call.found.slice(0, MAX_LISTED)) console.log(`  at ${at - began}: ${text}`)
    const lines = timeline(call)
    const its = server.lines(call.room)
    const file = path.join(path.dirname(server.logFile), `call-${call.number}.log`)
    writeFileSync(file, [...lines.map(({ text }) => text), ...its, ''].join('\n'))
    if (this.failed.length > MAX_TIMELINES) return
    const first = Math.min(...call.found.map(({ at }) => at))
    const around = lines.filter(({ at }) => at > first - BEFORE_MS && at < first + AFTER_MS)
    console.log(`  timeline (complete in ${file}):`)
    for (const { text } of around.slice(-MAX_LINES)) console.log(`    ${text}`)
  }

  /** Prints all figures; returns whether all properties hold. */
  report({ seed, left, counted, ended, faults, wrong }) {
    const sums = this.#sums
    const [absent, back] = [spread(this.#absences), spread(this.#returns)]
    const healed = spread(faults.map(({ from, to }) => to - from))
    const drops = Object.values(this.#drops).reduce((one, other) => one + other, 0)
    for (const what of wrong) console.log(`FAILED: seed ${seed}: ${what}`)
    const isGood = this.failed.length === 0 && left.length === 0 && counted.panics === 0 && ended.code === 0 && wrong.length === 0
    const happened = {}
    for (const { what } of faults) happened[what] = (happened[what] ?? 0) + 1
    const list = (counts) => Object.entries(counts).map(([what, count]) => `${what} ${count}`).join(', ')
    console.log(`
calls        ${this.calls}: ${list(this.#protocols)}
drops        ${drops}: ${list(this.#drops)}
cuts         ${list(this.#stages)} (by how far the client had come)
signals      created ${sums.created}, accepted ${sums.accepted} (${sums.lapsed} of them for sessions that had ended), refused ${sums.refused}, reported ${sums.reported}, delivered ${sums.received}
resumptions  recovered ${sums.recovered}, rejoined ${sums.rejoined} (${sums.interrupted} of them after an attempt that was cut off); the server: ${list(counted)}
absent       median ${absent.median} ms, p99 ${absent.p99} ms, max ${absent.max} ms
return after median ${back.median} ms, p99 ${back.p99} ms, max ${back.max} ms (since the connection worked again, or the machine resumed)
remaining    ${left.length === 0 ? 'none' : left.map((entry) => entry.join(' ')).join(', ')}
faults       ${faults.length}: ${list(happened) || 'none'}; healed after ${healed.median} ms, max ${healed.max} ms
violations   ${this.#found + wrong.length} in ${this.failed.length} calls`)
    console.log(JSON.stringify({
      seed, isGood, calls: this.calls, drops, ...sums, absent, back, faults: happened, healed, counted, left: left.length, violations: this.#found, failed: this.failed.slice(0, 20),
    }))
    return isGood
  }
}

/** Merges the logs of both sides and their connections by time; runs of signals become one line. */
export function timeline({ sides }) {
  const events = sides.flatMap(({ me, log, line, sleeps }) => [
    ...log, ...line.timeline, ...sleeps.flatMap(([from, to]) => [[from, 'asleep'], [to, 'awake']]),
  ].map(([at, what, ...rest]) => ({ at, me, what, rest })))
  events.sort((one, other) => one.at - other.at)
  const began = events[0]?.at ?? 0
  const lines = []
  const runs = new Map()
  for (const { at, me, what, rest } of events) {
    const [number, outcome = ''] = rest
    if (!['create', 'sent', 'received', 'answer'].includes(what)) {
      runs.clear()
      lines.push({ at, text: `${me} ${what} ${rest.map((one) => JSON.stringify(one)).join(' ')}` })
      continue
    }
    const key = what === 'answer' ? `${me} ${outcome} to` : `${me} ${what}`
    const run = runs.get(key)
    if (run?.to === number - 1) run.to = number
    else {
      runs.set(key, { at, key, from: number, to: number })
      lines.push(runs.get(key))
    }
  }
  return lines.map(({ at, text, key, from, to }) => {
    const what = text ?? `${key} ${from}${to > from ? ` to ${to}` : ''}`
    return { at, text: `${String(at - began).padStart(6)} ${what}` }
  })
}
