// Reproducible random numbers: the same seed gives the same sequence.

/**
 * A source of numbers in [0, 1), by mulberry32. The seed may be any value; different texts give different sequences.
 */
export function random(seed) {
  let state = 0x811c9dc5
  for (const unit of String(seed)) state = Math.imul(state ^ unit.codePointAt(0), 0x01000193)
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }
  return {
    next,
    /** Returns true with a probability. */
    chance: (probability) => next() < probability,
    /** Returns a number from `low` to `high`. */
    between: (low, high) => low + next() * (high - low),
    /** Returns an integer from `low` to `high`, both included. */
    whole: (low, high) => Math.floor(low + next() * (high - low + 1)),
    /** Returns one of several values. */
    pick: (several) => several[Math.floor(next() * several.length)],
    /** Returns the values in random order. */
    shuffled: (several) => {
      const left = [...several]
      return several.map(() => left.splice(Math.floor(next() * left.length), 1)[0])
    },
  }
}
