// The verdict detects violations: a valid call, with one change at a time.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judge } from './verdict.js'

const RESUME_MS = 6000

/** Returns one side of a call with ten signals each way, and a failure in the middle after which it was recovered. */
function side(me) {
  const log = [
    [0, 'life', 1], [1, 'up', false, 1], [2, 'users', null], [2, 'joined', 1],
    [3, 'presence', 'joined', 1, undefined],
  ]
  for (let number = 0; number < 10; number += 1) {
    const at = 10 + number * 100
    if (number === 5) {
      log.push(
        [at, 'down', 'transport close'], [at + 1, 'life', 2], [at + 2, 'up', true, 1],
        [at + 3, 'presence', 'away', 1, undefined], [at + 4, 'presence', 'back', 1, undefined],
      )
    }
    const life = number < 5 ? 1 : 2
    log.push(
      [at + 5, 'create', number, 1], [at + 5, 'sent', number, life], [at + 6, 'answer', number, 'ok', 1, life],
      [at + 7, 'received', number, 'candidate', undefined],
    )
  }
  log.push([2000, 'leave', 'close'], [2001, 'presence', 'left', 1, 'disconnected'])
  return { me, log, line: { timeline: [] } }
}

const call = () => ({ sides: [side('a'), side('b')] })
const found = (call, resumeMs = RESUME_MS) => judge(call, { resumeMs }).found.map(({ text }) => text)
const find = (log, what, test = () => true) => log.findIndex(([, is, ...rest]) => is === what && test(...rest))

/** Returns the violations found after a change of a's log. */
function changed(change) {
  const one = call()
  change(one.sides[0].log, one.sides[1].log)
  return found(one)
}

test('a valid call has no violations', () => {
  assert.deepEqual(found(call()), [])
  assert.deepEqual(judge(call(), { resumeMs: RESUME_MS }).figures, {
    created: 20, accepted: 20, lapsed: 0, refused: 0, reported: 0, received: 20, recovered: 2, rejoined: 0, interrupted: 0, absences: [97, 97],
  })
})

const WRONG = {
  'accepted and lost': [(log) => log.splice(find(log, 'received', (number) => number === 7), 1), /^b: 7 was accepted but never arrived$/],
  'doubled': [(log) => log.splice(find(log, 'received', (number) => number === 7), 0, log.at(find(log, 'received', (number) => number === 7))), /^a: 7 came after 7$/],
  'out of order': [(log) => {
    const [one, other] = [6, 7].map((wanted) => find(log, 'received', (number) => number === wanted))
    ;[log[one], log[other]] = [log[other], log[one]]
  }, /^a: 6 came after 7$/],
  'of another room': [(log) => (log[find(log, 'received')][4] = { room: 'another' }), /a signal of another call/],
  'never sent': [(log) => log.splice(-2, 0, [1999, 'received', 10, 'candidate', undefined]), /^a: 10 was never sent$/],
  'refused and delivered': [(log) => (log[find(log, 'answer', (number) => number === 3)][3] = 'DELIVERY_FAILED'), /^b: 3 was refused, DELIVERY_FAILED but delivered$/],
  'refused': [(log) => (log[find(log, 'answer', (number) => number === 3)][3] = 'DELIVERY_FAILED'), /^a: 3 was refused, DELIVERY_FAILED$/],
  'accepted without a recipient': [(log) => (log[find(log, 'answer', (number) => number === 3)][4] = null), /^a: 3 was accepted without a recipient$/],
  'answered twice': [(log) => log.splice(-2, 0, log[find(log, 'answer')]), /^a: two answers to 0$/],
  'not answered': [(log) => log.splice(find(log, 'answer', (number) => number === 7), 1), /^a: no answer to 7$/],
  'joined twice': [(log) => log.splice(-2, 0, [1999, 'presence', 'joined', 2, undefined]), /^a: user-joined \(2\) over 1$/],
  'left without a reason': [(log) => log.splice(find(log, 'presence', (news) => news === 'away'), 0, [600, 'presence', 'left', 1, 'timeout']), /^a: user-left \(1\), timeout, that was not due$/],
  'left twice': [(log) => log.push([2002, 'presence', 'left', 1, 'disconnected']), /^a: user-left \(1\), which is not in the room \(null\)$/],
  'away twice': [(log) => log.splice(-2, 0, ...[1998, 1999].map((at) => [at, 'presence', 'away', 1, undefined])), /^a: user-away \(1\) twice$/],
  'back without having been away': [(log) => log.splice(-2, 0, [1999, 'presence', 'back', 1, undefined]), /^a: user-back \(1\) twice$/],
  'listed differently than announced': [(log) => log.splice(-2, 0, [1999, 'users', null]), /^a: listed as null, announced as 1$/],
  'not recovered': [(log) => {
    const again = find(log, 'up', (recovered) => recovered)
    log.splice(again, 1, [log[again][0], 'up', false, 2], [log[again][0], 'users', 1], [log[again][0], 'joined', 2])
  }, /^a: lost its session after \d+ ms$/],
  'an error': [(log) => log.splice(-2, 0, [1999, 'wrong', 'error INTERNAL']), /^a: error INTERNAL$/],
}

for (const [name, [change, expected]] of Object.entries(WRONG)) {
  test(`${name} is found`, () => {
    const texts = changed(change)
    assert(texts.some((text) => expected.test(text)), JSON.stringify(texts))
  })
}

test('an absence beyond the resumption time must have ended the session', () => {
  const one = { ...call(), expired: [{ me: 'a', from: 509, to: 511 }] }
  assert.match(found(one).join(), /a: was recovered after \d+ ms/)
})

test('no accepted signal may be lost in a restart', () => {
  const one = call()
  const [, other] = one.sides
  // b rejoined in the middle, and a signal accepted just before did not arrive.
  const again = find(other.log, 'up', (recovered) => recovered)
  other.log.splice(again, 1, [512, 'up', false, 2], [512, 'users', 1], [512, 'joined', 2])
  other.log.splice(find(other.log, 'received', (number) => number === 4), 1)
  const lost = (text) => text === 'a: 4 was accepted but never arrived'
  assert(!found(one).some(lost), 'its session may have ended before it was notified')
  assert(found(one, null).some(lost))
  // Nor if a knew the newer b when it was answered.
  const [{ log }] = one.sides
  log[find(log, 'answer', (number) => number === 4)][4] = 2
  assert(found(one, null).some(lost))
})

const KILL = [{ what: 'kill', from: 505, to: 600 }]
const foundWith = (one, faults) => judge(one, { resumeMs: RESUME_MS, faults }).found.map(({ text }) => text)

test('a fault may end a session, and nothing else', () => {
  const one = call()
  const [{ log }, { log: others }] = one.sides
  const again = find(log, 'up', (recovered) => recovered)
  log.splice(again, 1, [log[again][0], 'up', false, 2], [log[again][0], 'users', 1], [log[again][0], 'joined', 2])
  const left = find(others, 'presence', (news) => news === 'away')
  others.splice(left, 2, [others[left][0], 'presence', 'left', 1, 'disconnected'], [others[left][0], 'presence', 'joined', 2, undefined])
  for (const entry of others.filter(([at, what]) => what === 'answer' && at > 512)) entry[4] = 2
  for (const entry of others.filter(([at, what]) => what === 'create' && at > 512)) entry[3] = 2
  const last = others.at(-1)
  last[3] = 2
  assert.deepEqual(foundWith(one, KILL), [])
  const texts = foundWith(one, [{ ...KILL[0], what: 'restart' }]).join()
  assert.match(texts, /a: lost its session/)
  assert.match(texts, /b: user-left \(1\), disconnected, that was not due/)
})

test('a signal that does not arrive must have been reported, also after a fault', () => {
  const one = call()
  const [{ log }, { log: others }] = one.sides
  log.splice(find(log, 'received', (number) => number === 7), 1)
  assert.deepEqual(foundWith(one, KILL), ['b: 7 was accepted but never arrived'])
  others.splice(-2, 0, [1999, 'reported', 'DELIVERY_FAILED'])
  assert.deepEqual(foundWith(one, KILL), [])
})

test('a client whose attempt to resume was cut off must be resumed by the next, too', () => {
  const lost = call()
  const [{ log, line }] = lost.sides
  const again = find(log, 'up', (recovered) => recovered)
  log.splice(again, 1, [log[again][0], 'up', false, 2], [log[again][0], 'users', 1], [log[again][0], 'joined', 2])
  const isLost = () => found(lost).some((text) => text.startsWith('a: lost its session'))
  line.timeline.push([510, 'to', 'one'], [512, 'to', 'two'])
  line.timeline.splice(1, 0, [511, 'asked'])
  assert(isLost())
})
