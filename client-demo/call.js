/**
 * The user interface of a call: shows the state of the call, the media and the signaling, and executes user actions.
 *
 * @module call
 */
import { Audience } from "./audience.js";
import { Chat } from "./chat.js";
import { announce, byId, showText } from "./dom.js";
import { explain, explainDeparture, explainDevices, SILENCED } from "./errors.js";
import { adviceFor } from "./modes.js";
import { Panel } from "./panel.js";
import { AutoCall } from "./parlor/auto.js";
import { describeState, People } from "./people.js";
import { PushToTalk } from "./push-to-talk.js";
import { Quality } from "./quality.js";
import { Settings } from "./settings.js";
import { Tiles } from "./tiles.js";
import { clearToasts, toast } from "./toasts.js";
import { BUTTONS, Toolbar } from "./toolbar.js";
import { WakeLock } from "./wake-lock.js";

const STATS_INTERVAL_MS = 1000;
const SPEAKING_INTERVAL_MS = 200;
const SPEAKING_LEVEL = 0.03;
const NOTICE_MS = 6000;
/** Time without a connection to the server before a prominent notice is shown, in milliseconds: most losses are shorter. */
const OUTAGE_MS = 2000;

/** The notice for a user who is alone in a two-peer call. */
const FOR_TWO = { title: "Waiting for the other person", text: "One other person can join, with this link." };

/** Notices of an outage of the server, by mode. */
const OUTAGES = {
  mesh: "The server is unavailable. Your call continues; no one can join until it is back.",
  sfu: "The server is unavailable, and audio and video go through it. The call continues when it is back.",
};

/** Events: `leave`; `ended`, detail: the SignalingError with the reason. */
export class Call extends EventTarget {
  #signaling;
  #media;
  #self;
  #link;
  #protocol;
  /** The other members. */
  #call;
  #tiles = new Tiles(byId("tiles"));
  #quality = new Quality();
  #people = new People();
  #chat;
  #audience;
  #panel = new Panel();
  #toolbar;
  #settings;
  #wakeLock = new WakeLock();
  /** The active speaker, if the server reports it. */
  #speaker = "";
  /** The text of the last notice that the user has declined. */
  #declined = "";
  #selfStream = new MediaStream();
  #selfScreen = new MediaStream();
  #abort = new AbortController();
  #timers = [];
  #noticeTimer = 0;
  #outageTimer = 0;
  #isShown = false;
  #isOnline = true;

  /**
   * Create it before joining, so that no event of the room is missed.
   * @param {{ signaling: import("./parlor/parlor.js").Signaling, media: import("./media.js").LocalMedia,
   *   self: { id: string, name: string }, room: string, protocol: import("./protocols.js").Protocol, link: string, iceServers?: RTCIceServer[],
   *   wanted?: "mesh" | "sfu", loadDevice?: () => Promise<new () => import("mediasoup-client").types.Device> }} options
   *   `wanted`: the media mode, if this is the first member of the room; `loadDevice`: absent if the media server cannot be used
   */
  constructor({ signaling, media, self, room, protocol, link, iceServers, wanted, loadDevice }) {
    super();
    this.#signaling = signaling;
    this.#media = media;
    this.#self = self;
    this.#link = link;
    this.#protocol = protocol;
    const { signal } = this.#abort;
    this.#call = new AutoCall({ signaling, name: self.name, iceServers, wanted, loadDevice });
    this.#chat = new Chat({ room, self, signaling, call: this.#call, signal });
    this.#audience = new Audience(signaling, signal);
    this.#toolbar = new Toolbar({ media, panel: this.#panel, audience: this.#audience, tiles: this.#tiles, signal });
    this.#settings = new Settings({ media, call: this.#call, signal });
    new PushToTalk(media, signal);
    byId("room-name").textContent = room;
    this.#listen();
    this.#drawSelf();
  }

  /** The id by which the other peers know this page; undefined in protocols without ids. */
  get userId() {
    return this.#signaling.userId;
  }

  get signaling() {
    return this.#signaling;
  }

  /** @returns {"mesh" | "sfu" | null} */
  get mode() {
    return this.#call.mode;
  }

  /** @returns {Map<string, RTCPeerConnection | import("./parlor/sfu-peer.js").SfuPeer>} */
  connections() {
    const present = [...this.#call.members.values()].filter(({ peer }) => peer);
    return new Map(present.map(({ id, peer }) => [id, peer.connection ?? peer]));
  }

  show() {
    byId("call").hidden = false;
    this.#isShown = true;
    this.#drawServer();
    this.#toolbar.draw();
    this.#drawInvite();
    this.#drawAdvice();
    this.#timers.push(setInterval(() => this.#measure(), STATS_INTERVAL_MS));
    this.#timers.push(setInterval(() => this.#detectSpeech(), SPEAKING_INTERVAL_MS));
    byId("room-name").focus();
  }

  /**
   * Leaves the call, and resets the page.
   * @param {{ mayRejoin?: boolean }} [options] whether the other peer of a two-peer call should wait
   */
  close({ mayRejoin = false } = {}) {
    this.#abort.abort();
    this.#timers.forEach(clearInterval);
    clearTimeout(this.#noticeTimer);
    clearTimeout(this.#outageTimer);
    this.#call.close();
    for (const id of ["mode-notice", "device-notice", "call-notice"]) showText(byId(id), "");
    if (this.#signaling.hangUp && !mayRejoin) this.#signaling.hangUp();
    else this.#signaling.leave();
    this.#wakeLock.release();
    this.#tiles.clear();
    this.#people.clear();
    this.#chat.clear();
    this.#panel.dispose();
    this.#toolbar.dispose();
    this.#settings.close();
    clearToasts();
    byId("call").hidden = true;
  }

  /** Handles a keyboard shortcut. @param {string} key @returns {boolean} whether the key is one */
  shortcut(key) {
    if (key === "escape") this.#panel.close();
    const id = BUTTONS[key];
    if (id) byId(id).click();
    return !!id || key === "escape";
  }

  #listen() {
    const { signal } = this.#abort;
    const on = (target, type, handle) => target.addEventListener(type, (event) => handle(event.detail, event), { signal });

    on(this.#call, "joined", (member) => {
      this.#drawMember(member);
      this.#drawInvite();
      this.#drawAdvice();
      if (this.#isShown) toast(`${member.name} joined`);
    });
    on(this.#call, "changed", (member) => this.#drawMember(member));
    on(this.#call, "stream", (member) => this.#drawMember(member));
    on(this.#call, "left", ({ id, name, reason }) => {
      this.#tiles.remove(id);
      this.#people.remove(id);
      this.#drawInvite();
      this.#drawAdvice();
      toast(explainDeparture(name, reason));
    });
    on(this.#call, "mode", (mode) => this.#changeMode(mode));
    on(this.#call, "speaker", ({ id }) => this.#drawSpeaker(id));
    on(this.#call, "failed", (error) => this.#notice(`The server refused some media: ${explain(error)}`));
    on(this.#quality, "layer", ({ id, layer }) => this.#preferLayer(id, layer));
    on(this.#chat, "message", ({ name, text }) => this.#toolbar.countMessage() && toast(`${name}: ${text}`));
    on(this.#audience, "hand", ({ id, raised }) => {
      const member = this.#call.members.get(id);
      if (!member) return;
      this.#drawMember(member);
      if (raised) toast(`${member.name} raises a hand`);
    });
    on(this.#audience, "reaction", ({ id, emoji }) => {
      this.#tiles.react(id, emoji);
      announce(`${this.#call.members.get(id)?.name ?? "A guest"}: ${emoji}`);
    });
    on(this.#toolbar, "hand", () => this.#drawSelf());
    on(this.#toolbar, "reaction", (emoji) => this.#tiles.react(this.#self.id, emoji));
    on(this.#toolbar, "notice", (text) => this.#notice(text));
    on(this.#toolbar, "leave", () => this.dispatchEvent(new Event("leave")));

    on(this.#signaling, "offline", () => this.#drawServer(false));
    on(this.#signaling, "online", () => this.#drawServer(true));
    on(this.#signaling, "ended", (error) => this.dispatchEvent(new CustomEvent("ended", { detail: error })));

    on(this.#media, "change", () => this.#drawSelf());
    on(this.#media, "lost", ({ kind, replaced }) => {
      const name = kind === "audio" ? "microphone" : "camera";
      this.#notice(replaced ? `Your ${name} was removed; another one is in use now.` : `Your ${name} was removed, or its permission withdrawn.`);
    });
    on(this.#tiles, "blocked", () => this.#offerAudio());
  }

  /** Applies a change of the local state to the other members, the tiles, the list and the buttons. */
  #drawSelf() {
    const media = this.#media;
    const sends = { audio: media.microphoneOn, video: media.cameraOn, screen: !!media.screen };
    const { microphone: audio, camera: video, screen, screenAudio } = media;
    this.#call.send({ audio, video, screen, screenAudio }, sends);

    this.#selfStream = withTrack(this.#selfStream, media.camera);
    const self = { ...this.#self, self: true, state: "" };
    const hand = this.#audience.isRaised;
    this.#tiles.show({ ...self, stream: this.#selfStream, video: sends.video, screen: false, muted: !sends.audio, hand });
    this.#selfScreen = withTrack(this.#selfScreen, media.screen);
    if (media.screen) this.#tiles.show({ ...self, stream: this.#selfScreen, video: true, screen: true, muted: false });
    else this.#tiles.removeScreen(this.#self.id);
    this.#people.showSelf({ ...this.#self, microphone: sends.audio, camera: sends.video, screen: sends.screen, hand });
    this.#tiles.useSpeaker(media.speaker);
    showText(byId("device-notice"), media.microphoneOn && media.isSilenced ? SILENCED : "");
    this.#toolbar.draw();
  }

  /** @param {import("./parlor/auto.js").AutoMember} member */
  #drawMember(member) {
    const { id, name, peer, sends, away } = member;
    const stream = peer?.stream ?? null;
    const track = stream?.getVideoTracks()[0];
    const hand = this.#audience.hasRaised(id);
    const state = peer?.state === "connected" && !away ? "" : describeState(member, this.mode);
    // The announced state takes precedence. Other clients announce none: the state of the track is shown.
    const hasVideo = !!track && (sends ? sends.video : !track.muted);
    this.#tiles.show({ id, name, self: false, stream, video: hasVideo, screen: false, muted: !!sends && !sends.audio, hand, away, state });
    const screen = peer?.screen.getVideoTracks()[0];
    const hasScreen = !!screen && (sends ? sends.screen : !screen.muted);
    if (hasScreen) this.#tiles.show({ id, name, self: false, stream: peer.screen, video: true, screen: true, muted: false, state: "" });
    else this.#tiles.removeScreen(id);
    this.#quality.show(this.#tiles.tile(id), member, sends?.video ? (peer?.layers ?? null) : null);
    // A muted peer is not speaking.
    if (this.mode === "sfu" && this.#speaker === id && !sends?.audio) this.#drawSpeaker("");
    this.#people.show(member, { mode: this.mode, hand });
  }

  #drawInvite() {
    this.#tiles.invite(this.#call.members.size ? "" : this.#link, this.#protocol.forTwo ? FOR_TWO : undefined);
  }

  /** @param {"mesh" | "sfu"} mode */
  #changeMode(mode) {
    this.#drawSpeaker("");
    this.#drawServer();
    this.#drawAdvice();
    if (this.#isShown && mode === "sfu") toast("Audio and video now go through the server");
    if (this.#isShown && mode === "mesh") toast("Audio and video now go from browser to browser");
    this.dispatchEvent(new CustomEvent("mode", { detail: mode }));
  }

  /** Shows a notice if peers cannot receive each other, or if another mode is better. */
  #drawAdvice() {
    const place = byId("mode-notice");
    const advice = this.#protocol.forTwo ? null : adviceFor(this.#call);
    if (!advice || advice.text === this.#declined) return showText(place, "");
    if (place.firstChild?.textContent === advice.text) return;
    showText(place, advice.text);
    const { mode, text } = advice;
    if (mode) place.append(button(`Change to ${mode === "sfu" ? "SFU" : "mesh"}`, () => this.#call.ask(mode).catch((error) => this.#notice(explain(error)))));
    place.append(button("Not now", () => {
      this.#declined = text;
      showText(place, "");
    }));
  }

  /** @param {string} id empty for none */
  #drawSpeaker(id) {
    this.#tiles.speaking(this.#speaker, false);
    this.#speaker = id;
    this.#tiles.speaking(id, true);
  }

  async #preferLayer(id, layer) {
    try {
      await this.#call.preferLayer(id, layer);
    } catch (error) {
      this.#notice(explain(error));
    }
  }

  #drawServer(isOnline = this.#isOnline) {
    const wasOnline = this.#isOnline;
    this.#isOnline = isOnline;
    const place = byId("server-state");
    place.dataset.state = isOnline ? "online" : "offline";
    place.textContent = isOnline ? `Connected over ${this.#protocol.name}${this.mode === "sfu" ? ", media by SFU" : ""}` : "Reconnecting…";
    if (isOnline === wasOnline) return;
    clearTimeout(this.#outageTimer);
    if (isOnline) this.#notice("");
    else this.#outageTimer = setTimeout(() => this.#notice(OUTAGES[this.mode ?? "mesh"], { stays: true }), OUTAGE_MS);
  }

  /** Shows a notice for some seconds. @param {string} text */
  notify(text) {
    this.#notice(text);
  }

  #notice(text, { stays = false } = {}) {
    clearTimeout(this.#noticeTimer);
    showText(byId("call-notice"), text);
    if (text && !stays) this.#noticeTimer = setTimeout(() => showText(byId("call-notice"), ""), NOTICE_MS);
  }

  /** Audible autoplay requires a user gesture, which is missing after a reload. */
  #offerAudio() {
    this.#notice("Your browser has blocked audio. ", { stays: true });
    byId("call-notice").append(button("Turn on audio", () => {
      this.#notice("");
      this.#tiles.play();
    }));
  }

  async #measure() {
    for (const member of this.#call.members.values()) {
      const stats = await member.peer?.stats().catch(() => null);
      const tile = this.#tiles.tile(member.id);
      if (!stats || !tile) continue;
      this.#people.measure(member, stats);
      if (this.mode === "sfu") this.#quality.measure(tile, stats);
    }
  }

  #detectSpeech() {
    if (this.mode === "sfu") return;
    for (const { id, peer } of this.#call.members.values()) this.#tiles.speaking(id, (peer?.audioLevel ?? 0) > SPEAKING_LEVEL);
  }
}

/** Returns the stream itself if this is its only track, otherwise a new one. @param {MediaStream} stream @param {MediaStreamTrack | null} track */
function withTrack(stream, track) {
  const [shown] = stream.getVideoTracks();
  return shown === (track ?? undefined) ? stream : new MediaStream(track ? [track] : []);
}

function button(text, act) {
  const element = Object.assign(document.createElement("button"), { type: "button", className: "button button-small", textContent: text });
  element.addEventListener("click", act);
  return element;
}
