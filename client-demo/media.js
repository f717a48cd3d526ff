/**
 * The camera, the microphone and the screen of this computer, without DOM and network.
 *
 * A missing or refused device is not an error of the call: its track is null, and {@link LocalMedia#problems} has the reason.
 *
 * @module media
 */

/** @typedef {"audio" | "video"} Kind */

/** A mesh encodes the video once for every other peer, so that small machines should begin with a small size. */
const SMALL = navigator.hardwareConcurrency <= 4;

/**
 * The size of a video in three simulcast layers: with fewer pixels browsers omit layers.
 * @type {Size}
 */
export const LAYERED = SMALL ? { width: 960, height: 540, frameRate: 24 } : { width: 1280, height: 720, frameRate: 24 };

/** @typedef {{ width: number, height: number, frameRate: number }} Size */

const WANTED = {
  audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  video: {
    width: { ideal: SMALL ? 640 : 1280 },
    height: { ideal: SMALL ? 360 : 720 },
    frameRate: { ideal: 24, max: 30 },
  },
};

/**
 * Events: `change`, after any change of the state or of the available devices; `lost` (detail `{ kind, replaced }`), when a device was
 * removed: `replaced` is whether another one is in use instead.
 */
export class LocalMedia extends EventTarget {
  /** Null, or available and perhaps muted. @type {MediaStreamTrack | null} */
  microphone = null;
  /** Null while the camera is off, so that its light is off as well. @type {MediaStreamTrack | null} */
  camera = null;
  /** @type {MediaStreamTrack | null} */
  screen = null;
  /** The audio of the shared screen, if the user shares it. @type {MediaStreamTrack | null} */
  screenAudio = null;
  /** The loudspeaker's device id; empty for the system's. */
  speaker = "";
  /** The reason why a device could not be opened. @type {Record<Kind, Error | null>} */
  problems = { audio: null, video: null };

  /** @type {Record<Kind, string>} */
  #deviceIds = { audio: "", video: "" };
  #video = WANTED.video;

  constructor() {
    super();
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#changed());
  }

  /** Whether the system or a switch at the device has muted the microphone, which the page cannot change. */
  get isSilenced() {
    return !!this.microphone?.muted;
  }

  get microphoneOn() {
    return !!this.microphone?.enabled;
  }

  get cameraOn() {
    return !!this.camera;
  }

  /** Whether this browser can share a screen; most phones cannot. */
  get canShareScreen() {
    return !!navigator.mediaDevices?.getDisplayMedia;
  }

  /**
   * Requests both devices at once, so that the browser asks once; if that fails, each device alone.
   * @param {{ audio?: boolean, video?: boolean }} [wanted]
   */
  async open({ audio = true, video = true } = {}) {
    const kinds = [audio && "audio", video && "video"].filter(Boolean);
    if (!kinds.length) return;
    const failed = await this.#acquire(kinds);
    if (failed && kinds.length > 1 && failed.name !== "NotAllowedError" && failed.name !== "NotSupportedError") {
      for (const kind of kinds) await this.#acquire([kind]);
    }
    this.#changed();
  }

  /** @param {boolean} on */
  async setMicrophone(on) {
    if (on && !this.microphone) await this.#acquire(["audio"]);
    if (this.microphone) this.microphone.enabled = on;
    this.#changed();
  }

  /** @param {boolean} on */
  async setCamera(on) {
    if (on && !this.camera) await this.#acquire(["video"]);
    if (!on) this.#release("video");
    this.#changed();
  }

  /**
   * Selects another device, and switches to it if its kind is in use.
   * @param {Kind | "speaker"} kind
   * @param {string} deviceId
   */
  async choose(kind, deviceId) {
    if (kind === "speaker") {
      this.speaker = deviceId;
      return this.#changed();
    }
    this.#deviceIds[kind] = deviceId;
    if (kind === "video" && !this.camera) return;
    await this.#reopen(kind);
    this.#changed();
  }

  /**
   * Requests another video size, also for a running camera.
   * @param {Size | null} size null for the default
   */
  async resize(size) {
    const ideals = size && Object.fromEntries(Object.entries(size).map(([key, ideal]) => [key, { ideal }]));
    this.#video = ideals ?? WANTED.video;
    if (!this.camera) return;
    // Closed first: a camera in use keeps its size.
    this.#release("video");
    await this.#acquire(["video"]);
    this.#changed();
  }

  /** @returns {Promise<boolean>} false if the user cancels */
  async startScreen() {
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } }, audio: true });
      [this.screen] = stream.getVideoTracks();
      this.screenAudio = stream.getAudioTracks()[0] ?? null;
    } catch (error) {
      if (error.name === "NotAllowedError") return false;
      throw error;
    }
    // Text must stay readable: the frame rate is reduced before the resolution.
    this.screen.contentHint = "detail";
    this.screen.addEventListener("ended", () => this.stopScreen());
    this.#changed();
    return true;
  }

  stopScreen() {
    this.#releaseScreen();
    this.#changed();
  }

  /**
   * Returns the available devices. Their names require a permission.
   * @param {Kind | "speaker"} kind
   * @returns {Promise<{ id: string, label: string, chosen: boolean }[]>}
   */
  async devices(kind) {
    const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    const track = { audio: this.microphone, video: this.camera, speaker: null }[kind];
    const current = kind === "speaker" ? this.speaker || "default" : (track?.getSettings().deviceId ?? this.#deviceIds[kind]);
    return all
      .filter((one) => one.kind === (kind === "speaker" ? "audiooutput" : `${kind}input`) && one.deviceId && one.label)
      .map((one) => ({ id: one.deviceId, label: one.label, chosen: one.deviceId === current }));
  }

  /** Stops all tracks. */
  stop() {
    this.#release("audio");
    this.#release("video");
    this.#releaseScreen();
  }

  /** Opens a device again, or another one. The microphone stays muted if it is. @param {Kind} kind @param {boolean} [isMuted] */
  async #reopen(kind, isMuted = kind === "audio" && !!this.microphone && !this.microphoneOn) {
    this.#release(kind);
    await this.#acquire([kind]);
    if (isMuted && this.microphone) this.microphone.enabled = false;
  }

  /**
   * @param {Kind[]} kinds
   * @returns {Promise<Error | null>} the reason for a failure
   */
  async #acquire(kinds) {
    try {
      if (!navigator.mediaDevices) throw new DOMException("not a secure context", "NotSupportedError");
      const constraints = Object.fromEntries(kinds.map((kind) => [kind, this.#constraints(kind)]));
      const stream = await navigator.mediaDevices.getUserMedia(constraints);
      for (const track of stream.getTracks()) this.#use(track);
      return null;
    } catch (error) {
      for (const kind of kinds) this.problems[kind] = error;
      return error;
    }
  }

  #constraints(kind) {
    const deviceId = this.#deviceIds[kind];
    const wanted = kind === "video" ? this.#video : WANTED.audio;
    return deviceId ? { ...wanted, deviceId: { exact: deviceId } } : wanted;
  }

  #use(track) {
    this.#release(track.kind);
    this.problems[track.kind] = null;
    if (track.kind === "audio") this.microphone = track;
    else this.camera = track;
    // Dispatched when the device is unplugged or the permission is revoked, not when this page stops the track.
    track.addEventListener("ended", async () => {
      const kind = track.kind;
      this.#deviceIds[kind] = "";
      await this.#reopen(kind, kind === "audio" && !track.enabled);
      this.#changed();
      this.dispatchEvent(new CustomEvent("lost", { detail: { kind, replaced: !!(kind === "audio" ? this.microphone : this.camera) } }));
    });
    for (const change of ["mute", "unmute"]) track.addEventListener(change, () => this.#changed());
  }

  #releaseScreen() {
    this.screen?.stop();
    this.screenAudio?.stop();
    this.screen = this.screenAudio = null;
  }

  #release(kind) {
    if (kind === "audio") {
      this.microphone?.stop();
      this.microphone = null;
    } else {
      this.camera?.stop();
      this.camera = null;
    }
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * Measures the level of a microphone.
 * @param {MediaStreamTrack} track
 * @returns {{ level(): number, stop(): void }} `level` is 0 to 1
 */
export function meter(track) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  // Browsers suspend it until the first click or key.
  context.resume().catch(() => {});
  const samples = new Float32Array(analyser.fftSize);
  return {
    level() {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((total, sample) => total + sample * sample, 0) / samples.length;
      // In decibels, to match perceived loudness: -60 dB is 0, -10 dB is 1.
      return power ? Math.min(1, Math.max(0, (10 * Math.log10(power) + 60) / 50)) : 0;
    },
    stop: () => context.close(),
  };
}
