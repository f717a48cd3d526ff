// Cameras, microphones, viewers and listeners: each sender has a colour and a tone of its own, so that the receiver can
// identify it.

import wrtc from '@roamhq/wrtc'
import { within } from './within.js'

const { RTCAudioSink, RTCAudioSource, RTCVideoSink, RTCVideoSource } = wrtc.nonstandard

const SIZE = [160, 120]
const FRAME_MS = 50
const SAMPLE_RATE = 48_000
/** An audio source accepts ten milliseconds at a time. */
const SOUND_MS = 10
const SAMPLES = SAMPLE_RATE * SOUND_MS / 1000

/** The blue and red components of the sent colours. */
export const COLOURS = { red: [90, 220], blue: [220, 100], green: [60, 50], violet: [200, 190], grey: [128, 128] }
/** Frequencies in Hertz, with an integral number of periods in the measured tenth of a second. */
export const TONES = { low: 440, middle: 1000, high: 1800, shrill: 2900 }

/** Tolerance of a colour after encoding and decoding. */
const SHADE = 15
/** Minimum share of the tone in the power of the signal. */
const PURITY = 0.5

/** Calls a function at an interval, and catches up on missed calls. */
class Clock {
  #timer

  constructor(interval, tick) {
    const began = performance.now()
    let ticks = 0
    this.#timer = setInterval(() => {
      for (; ticks * interval <= performance.now() - began; ticks += 1) tick()
    }, interval)
  }

  stop() {
    clearInterval(this.#timer)
  }
}

/** A track of one colour, which may change. */
export class Camera {
  #source = new RTCVideoSource()

  constructor(colour, [width, height] = SIZE) {
    this.colour = colour
    this.track = this.#source.createTrack()
    const [luma, chroma] = [width * height, width * height / 4]
    const data = new Uint8ClampedArray(luma + 2 * chroma).fill(120, 0, luma)
    this.#clock = new Clock(FRAME_MS, () => {
      const [blue, red] = COLOURS[this.colour]
      data.fill(blue, luma, luma + chroma).fill(red, luma + chroma)
      this.#source.onFrame({ width, height, data })
    })
  }

  #clock

  stop() {
    this.#clock.stop()
    this.track.stop()
  }
}

/** A track of one tone, which may change. */
export class Microphone {
  #source = new RTCAudioSource()
  #sample = 0

  constructor(tone) {
    this.tone = tone
    this.track = this.#source.createTrack()
    this.#clock = new Clock(SOUND_MS, () => {
      const samples = new Int16Array(SAMPLES)
      for (let index = 0; index < SAMPLES; index += 1, this.#sample += 1) {
        samples[index] = 12_000 * Math.sin(2 * Math.PI * TONES[this.tone] * this.#sample / SAMPLE_RATE)
      }
      this.#source.onData({
        samples, sampleRate: SAMPLE_RATE, bitsPerSample: 16, channelCount: 1, numberOfFrames: SAMPLES,
      })
    })
  }

  #clock

  stop() {
    this.#clock.stop()
    this.track.stop()
  }
}

/** A viewer or listener of a track, which records the received colours or tones, in order. */
class Spectator {
  /** The count of each, with `other` for unknown ones. */
  seen = new Map()
  #waiting = new Set()

  note(what) {
    this.seen.set(what, this.count(what) + 1)
    for (const waiting of this.#waiting) waiting()
  }

  count(what) {
    return this.seen.get(what) ?? 0
  }

  /** Waits until this many more have been received. */
  async gets(what, count = 5) {
    const until = this.count(what) + count
    let check
    const enough = new Promise((done) => {
      check = () => this.count(what) >= until && done()
    })
    this.#waiting.add(check)
    try {
      await within(enough, () => `${what}, of which ${until} are to come: ${JSON.stringify([...this.seen])}`)
    } finally {
      this.#waiting.delete(check)
    }
  }
}

/** Names the colour of each decoded frame. */
export class Watcher extends Spectator {
  #sink
  /** Counts frames by their width. */
  widths = new Spectator()

  constructor(track) {
    super()
    this.#sink = new RTCVideoSink(track)
    this.#sink.onframe = ({ frame: { width, height, data } }) => {
      const [luma, chroma] = [width * height, (width / 2) * (height / 2)]
      const mean = (plane) => plane.reduce((sum, value) => sum + value, 0) / plane.length
      const blue = mean(data.subarray(luma, luma + chroma))
      const red = mean(data.subarray(luma + chroma, luma + 2 * chroma))
      const near = ([, [wantedBlue, wantedRed]]) => Math.abs(blue - wantedBlue) < SHADE && Math.abs(red - wantedRed) < SHADE
      this.note(Object.entries(COLOURS).find(near)?.[0] ?? 'other')
      this.widths.note(width)
    }
  }

  stop() {
    this.#sink.stop()
  }
}

/** Names the tone of each decoded tenth of a second. */
export class Listener extends Spectator {
  #sink
  #samples = []

  constructor(track) {
    super()
    this.#sink = new RTCAudioSink(track)
    this.#sink.ondata = ({ samples, sampleRate, channelCount }) => {
      for (let index = 0; index < samples.length; index += channelCount) this.#samples.push(samples[index])
      while (this.#samples.length >= sampleRate / 10) this.note(toneOf(this.#samples.splice(0, sampleRate / 10), sampleRate))
    }
  }

  stop() {
    this.#sink.stop()
  }
}

/** Returns the tone with most of the power. */
function toneOf(samples, sampleRate) {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0)
  if (power / samples.length < 100) return 'silence'
  const part = ([name, frequency]) => {
    let [real, imaginary] = [0, 0]
    samples.forEach((sample, index) => {
      const angle = 2 * Math.PI * frequency * index / sampleRate
      real += sample * Math.cos(angle)
      imaginary += sample * Math.sin(angle)
    })
    return { name, part: 2 * (real * real + imaginary * imaginary) / (samples.length * power) }
  }
  return Object.entries(TONES).map(part).find(({ part }) => part > PURITY)?.name ?? 'other'
}
