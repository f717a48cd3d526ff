/**
 * The user interface of a call: shows the state of mesh or SFU, media and signaling, and executes user actions.
 *
 * @module call
 */
import { Chat } from "./chat.js";
import { announce, byId, dress, say } from "./dom.js";
import { explain, explainDeparture, explainDevices } from "./errors.js";
import { Panel } from "./panel.js";
import { betterMode } from "./modes.js";
import { Mesh } from "./parlor/parlor.js";
import { Sfu } from "./parlor/sfu.js";
import { People, stateOf } from "./people.js";
import { Quality } from "./quality.js";
import { Tiles } from "./tiles.js";

const STATS_INTERVAL_MS = 1000;
const SPEAKING_INTERVAL_MS = 200;
const SPEAKING_LEVEL = 0.03;
const NOTICE_MS = 6000;
/** Time without a connection to the server before a prominent notice is shown, in milliseconds: most losses are shorter. */
const OUTAGE_MS = 2000;
/** Minimum width at which the panel does not cover the videos, so that it starts open. */
const ROOMY = "(min-width: 1000px)";

/** The notice for a user who is alone in a two-peer call. */
const FOR_TWO = { title: "Nobody has come yet", text: "This call waits for the one person who opens its link." };

/** Events: `leave`; `ended`, detail: the SignalingError with the reason; `mode`, detail: the Mode to continue in. */
export class Call extends EventTarget {
  #signaling;
  #media;
  #self;
  #link;
  #protocol;
  #mode;
  /** The other members. @type {Mesh | Sfu} */
  #others;
  #tiles = new Tiles(byId("tiles"));
  #quality = new Quality();
  #people;
  #chat = new Chat();
  #panel;
  /** The active speaker, if the server reports it. */
  #speaker = "";
  /** The recommended mode that the user has declined, with the text of the recommendation. */
  #declined = "";
  #selfStream = new MediaStream();
  #abort = new AbortController();
  #timers = [];
  #noticeTimer = 0;
  #outageTimer = 0;
  #unread = 0;

  /**
   * Create it before joining, so that no event of the room is missed.
   * @param {{ signaling: import("./parlor/parlor.js").Signaling, media: import("./media.js").LocalMedia,
   *   self: { id: string, name: string }, room: string, protocol: import("./protocols.js").Protocol, link: string, iceServers?: RTCIceServer[],
   *   mode: import("./modes.js").Mode, Device?: new () => import("mediasoup-client").types.Device }} options `Device`: for the SFU
   */
  constructor({ signaling, media, self, room, protocol, link, iceServers, mode, Device }) {
    super();
    this.#signaling = signaling;
    this.#media = media;
    this.#self = self;
    this.#link = link;
    this.#protocol = protocol;
    this.#mode = mode;
    this.#others = Device ? new Sfu({ signaling, Device }) : new Mesh({ signaling, name: self.name, iceServers });
    this.#people = new People(mode);
    this.#panel = new Panel({ hasChat: !Device });
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

  /** @returns {Map<string, RTCPeerConnection | import("./parlor/sfu-peer.js").SfuPeer>} */
  connections() {
    const present = [...this.#others.members.values()].filter(({ peer }) => peer);
    return new Map(present.map(({ id, peer }) => [id, peer.connection ?? peer]));
  }

  show() {
    byId("call").hidden = false;
    this.#drawServer("online");
    if (matchMedia(ROOMY).matches) this.#panel.open("people");
    else this.#drawTools();
    this.#drawInvite();
    this.#timers.push(setInterval(() => this.#measure(), STATS_INTERVAL_MS));
    this.#timers.push(setInterval(() => this.#listenForVoices(), SPEAKING_INTERVAL_MS));
  }

  /**
   * Leaves the call, and resets the page.
   * @param {{ mayComeBack?: boolean }} [options] whether the other peer of a two-peer call should wait
   */
  close({ mayComeBack = false } = {}) {
    this.#abort.abort();
    this.#timers.forEach(clearInterval);
    clearTimeout(this.#noticeTimer);
    clearTimeout(this.#outageTimer);
    this.#others.close();
    say(byId("mode-notice"), "");
    if (this.#signaling.hangUp && !mayComeBack) this.#signaling.hangUp();
    else this.#signaling.leave();
    this.#tiles.clear();
    this.#people.clear();
    this.#chat.clear();
    this.#panel.dispose();
    byId("call").hidden = true;
  }

  /** Handles a keyboard shortcut. @param {string} key @returns {boolean} whether the key is one */
  shortcut(key) {
    if (key === "escape") this.#panel.close();
    const button = { m: "mic", v: "camera", s: "screen", p: "people", c: "chat" }[key];
    if (button) byId(`tool-${button}`).click();
    if (key === "l") byId("copy-link-call").click();
    return !!button || key === "l" || key === "escape";
  }

  #listen() {
    const { signal } = this.#abort;
    const on = (target, type, handle) => target.addEventListener(type, (event) => handle(event.detail, event), { signal });

    on(this.#others, "joined", (member) => {
      this.#drawMember(member);
      this.#drawInvite();
      this.#drawMode();
      announce(`${member.name} joined`);
    });
    on(this.#others, "changed", (member) => this.#drawMember(member));
    on(this.#others, "stream", (member) => this.#drawMember(member));
    on(this.#others, "left", ({ id, name, reason }) => {
      this.#tiles.remove(id);
      this.#people.remove(id);
      this.#drawInvite();
      this.#drawMode();
      announce(explainDeparture(name, reason));
    });
    on(this.#others, "chat", ({ member, text }) => this.#receiveChat(member, text));
    on(this.#others, "speaker", ({ id }) => this.#drawSpeaker(id));
    on(this.#others, "failed", (error) => this.#notice(`The server does not take or give some media: ${explain(error)}`));
    on(this.#quality, "layer", ({ id, layer }) => this.#preferLayer(id, layer));

    on(this.#signaling, "offline", () => this.#drawServer("offline"));
    on(this.#signaling, "online", () => this.#drawServer("online"));
    on(this.#signaling, "ended", (error) => this.dispatchEvent(new CustomEvent("ended", { detail: error })));

    on(this.#media, "change", () => this.#drawSelf());
    on(this.#media, "lost", (kind) => this.#notice(`Your ${kind === "audio" ? "microphone" : "camera"} went away.`));
    on(this.#chat, "send", (text) => this.#sendChat(text));
    on(this.#panel, "change", () => this.#drawTools());
    on(this.#tiles, "blocked", () => this.#offerSound());

    on(byId("tool-mic"), "click", () => this.#switchDevice("audio", this.#media.setMicrophone(!this.#media.microphoneOn)));
    on(byId("tool-camera"), "click", () => this.#switchDevice("video", this.#media.setCamera(!this.#media.cameraOn)));
    on(byId("tool-screen"), "click", () => this.#switchScreen());
    on(byId("tool-people"), "click", () => this.#panel.toggle("people"));
    on(byId("tool-chat"), "click", () => this.#panel.toggle("chat"));
    on(byId("tool-leave"), "click", () => this.dispatchEvent(new Event("leave")));
  }

  /** Applies a change of the local state to the other members, the tile, the list and the buttons. */
  #drawSelf() {
    const media = this.#media;
    const sends = { audio: media.microphoneOn, video: !!media.video, screen: !!media.screen };
    this.#others.send({ audio: media.microphone, video: media.video }, sends);

    const [shown] = this.#selfStream.getVideoTracks();
    if (shown !== (media.video ?? undefined)) this.#selfStream = new MediaStream(media.video ? [media.video] : []);
    this.#tiles.show({
      ...this.#self,
      self: true,
      stream: this.#selfStream,
      video: sends.video,
      screen: sends.screen,
      muted: !sends.audio,
      state: "",
    });
    this.#people.showSelf({ ...this.#self, microphone: sends.audio, camera: sends.video, screen: sends.screen });
    this.#drawTools();
  }

  /** @param {import("./parlor/parlor.js").Member | import("./parlor/sfu.js").SfuMember} member */
  #drawMember(member) {
    const stream = member.peer?.stream ?? null;
    const track = stream?.getVideoTracks()[0];
    this.#tiles.show({
      id: member.id,
      name: member.name,
      self: false,
      stream,
      // The announcement of a peer takes precedence; other clients do not announce, and the state of the track is shown.
      video: !!track && (member.sends ? member.sends.video : !track.muted),
      screen: !!track && !!member.sends?.screen,
      muted: !!member.sends && !member.sends.audio,
      away: member.away,
      state: member.peer?.state === "connected" && !member.away ? "" : stateOf(member, this.#mode),
    });
    if (this.#mode.id === "sfu") {
      this.#quality.show(this.#tiles.tile(member.id), member, member.sends?.video ? (member.peer?.layers ?? null) : null);
      // A muted peer is not speaking.
      if (this.#speaker === member.id && !member.sends?.audio) this.#drawSpeaker("");
    }
    this.#people.show(member);
  }

  #drawTools() {
    const { microphoneOn, cameraOn, screen, canShareScreen } = this.#media;
    const look = (id, options) => dress(byId(`tool-${id}`), options);
    look("mic", {
      name: microphoneOn ? "mic" : "mic-off", word: microphoneOn ? "Mute" : "Unmute",
      label: "Microphone", title: microphoneOn ? "Mute" : "Unmute", key: "m", pressed: microphoneOn,
    });
    look("camera", {
      name: cameraOn ? "camera" : "camera-off", word: "Camera",
      label: "Camera", title: cameraOn ? "Camera off" : "Camera on", key: "v", pressed: cameraOn,
    });
    look("screen", {
      name: "screen", word: screen ? "Stop" : "Share", label: "Share screen",
      title: screen ? "Stop sharing your screen" : "Share your screen", key: "s", pressed: !!screen,
    });
    byId("tool-screen").hidden = !canShareScreen;
    // Chat uses data channels between browsers, which do not exist here.
    byId("tool-chat").hidden = this.#mode.id === "sfu";
    const { shown } = this.#panel;
    if (shown === "chat") this.#unread = 0;
    look("people", { name: "people", word: "People", label: "People", title: "People", key: "p" });
    look("chat", {
      name: "chat", word: "Chat", label: this.#unread ? `Chat, ${this.#unread} unread` : "Chat", title: "Chat", key: "c",
    });
    byId("tool-people").setAttribute("aria-expanded", String(shown === "people"));
    byId("tool-chat").setAttribute("aria-expanded", String(shown === "chat"));
    byId("tool-chat").dataset.unread = this.#unread ? String(Math.min(this.#unread, 99)) : "";
    look("leave", { name: "leave", word: "Leave", label: "Leave the call", title: "Leave the call" });
  }

  #drawInvite() {
    this.#tiles.invite(this.#others.members.size ? "" : this.#link, this.#protocol.forTwo ? FOR_TWO : undefined);
  }

  /** Shows a notice if peers cannot receive each other, or if another mode is recommended. */
  #drawMode() {
    const place = byId("mode-notice");
    const better = this.#protocol.forTwo ? null : betterMode(this.#mode, [...this.#others.members.values()]);
    if (!better || better.text === this.#declined) return say(place, "");
    if (place.firstChild?.textContent === better.text) return;
    say(place, better.text);
    const button = (words, act) => {
      const element = Object.assign(document.createElement("button"), { type: "button", className: "button button-small", textContent: words });
      element.addEventListener("click", act);
      return element;
    };
    const { signal } = this.#abort;
    place.append(
      button(`Change to ${better.mode.name}`, () => signal.aborted || this.dispatchEvent(new CustomEvent("mode", { detail: better.mode }))),
      button("Not now", () => {
        this.#declined = better.text;
        say(place, "");
      }),
    );
  }

  /** @param {string} id empty for none */
  #drawSpeaker(id) {
    this.#tiles.speaking(this.#speaker, false);
    this.#speaker = id;
    this.#tiles.speaking(id, true);
  }

  async #preferLayer(id, layer) {
    try {
      await this.#others.preferLayer(id, layer);
    } catch (error) {
      this.#notice(explain(error));
    }
  }

  /** @param {"online" | "offline"} state */
  #drawServer(state) {
    const place = byId("server-state");
    place.dataset.state = state;
    place.textContent = state === "online" ? `Connected over ${this.#protocol.name}${this.#mode.id === "sfu" ? ", media by SFU" : ""}` : "Reconnecting…";
    clearTimeout(this.#outageTimer);
    if (state === "online") return this.#notice("");
    const words = "The server is unreachable. Your call continues; no one can join until it is back.";
    this.#outageTimer = setTimeout(() => this.#notice(words, { stays: true }), OUTAGE_MS);
  }

  #notice(text, { stays = false } = {}) {
    clearTimeout(this.#noticeTimer);
    say(byId("call-notice"), text);
    if (text && !stays) this.#noticeTimer = setTimeout(() => say(byId("call-notice"), ""), NOTICE_MS);
  }

  async #switchDevice(kind, done) {
    await done;
    const problem = this.#media.problems[kind];
    if (problem) this.#notice(explainDevices({ audio: null, video: null, [kind]: problem }));
  }

  async #switchScreen() {
    if (this.#media.screen) return this.#media.stopScreen();
    try {
      await this.#media.startScreen();
    } catch (error) {
      this.#notice(`Your screen could not be shared (${error.message}).`);
    }
  }

  #sendChat(text) {
    const readers = this.#others.chat(text);
    const note = readers ? "" : "Nobody was here to read this.";
    this.#chat.add({ ...this.#self, text, self: true, note });
  }

  #receiveChat(member, text) {
    this.#chat.add({ id: member.id, name: member.name, text, self: false });
    if (this.#panel.shown === "chat") return;
    this.#unread += 1;
    this.#drawTools();
    announce(`${member.name} says: ${text}`);
  }

  /** Audible autoplay requires a user gesture, which is missing after a reload. */
  #offerSound() {
    const place = byId("call-notice");
    this.#notice("Your browser holds back the sound. ", { stays: true });
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button button-small";
    button.textContent = "Turn it on";
    button.addEventListener("click", () => {
      this.#notice("");
      this.#tiles.play();
    });
    place.append(button);
  }

  async #measure() {
    for (const member of [...this.#others.members.values()]) {
      const stats = await member.peer?.stats().catch(() => null);
      const tile = this.#tiles.tile(member.id);
      if (!stats || !tile) continue;
      this.#people.measure(member, stats);
      if (this.#mode.id === "sfu") this.#quality.measure(tile, stats);
    }
  }

  #listenForVoices() {
    if (this.#mode.id === "sfu") return;
    for (const { id, peer } of this.#others.members.values()) {
      this.#tiles.speaking(id, (peer?.audioLevel ?? 0) > SPEAKING_LEVEL);
    }
  }
}
