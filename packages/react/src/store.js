/**
 * The state of one call, as immutable snapshots that React can subscribe to.
 *
 * @module store
 */
import { Mesh, SocketIoSignaling } from "@parlor/client";

const NO_PEERS = Object.freeze([]);

export class RoomStore {
  #listeners = new Set();
  #state = Object.freeze({ status: "idle", error: null, speaker: null });
  /** @type {readonly object[]} */
  #peers = NO_PEERS;
  #abort = new AbortController();
  signaling = null;
  call = null;

  /** Subscribes to changes; returns the function that ends it. Bound, since React calls it alone. */
  subscribe = (listener) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
  state = () => this.#state;
  peers = () => this.#peers;

  /**
   * Joins the room. Does not throw: the outcome is in the state.
   * @param {string} roomId
   * @param {object} options those of `useRoom`
   */
  async open(roomId, { Signaling = SocketIoSignaling, Call = Mesh, url, userId, name, token, metadata, tracks, ...more }) {
    this.signaling = new Signaling({ url, userId, name, token, metadata });
    this.call = new Call({ signaling: this.signaling, name, ...more });
    this.#listen();
    this.send(tracks);
    this.#update({ status: "joining" });
    try {
      await this.signaling.join(roomId);
    } catch (error) {
      this.#end("failed", error);
      return;
    }
    this.#update({ status: "joined" });
  }

  /** Sends these tracks to all peers; a kind that is missing is no longer sent. */
  send(tracks) {
    this.call?.send({ audio: tracks?.audio ?? null, video: tracks?.video ?? null });
  }

  /** Leaves the room. */
  close() {
    this.#end("left", null);
  }

  #listen() {
    const { signal } = this.#abort;
    const on = (target, name, handle) => target.addEventListener(name, ({ detail }) => handle(detail), { signal });
    for (const name of ["joined", "changed", "stream", "left"]) on(this.call, name, () => this.#drawPeers());
    on(this.call, "speaker", ({ id }) => this.#update({ speaker: id }));
    on(this.call, "failed", (error) => this.#update({ error }));
    on(this.signaling, "offline", () => this.#update({ status: "offline" }));
    on(this.signaling, "online", () => this.#update({ status: "joined" }));
    on(this.signaling, "ended", (error) => this.#end("ended", error));
  }

  #end(status, error) {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort();
    this.call?.close();
    this.signaling?.leave();
    this.#peers = NO_PEERS;
    this.#update({ status, error, speaker: null });
  }

  #drawPeers() {
    this.#peers = Object.freeze([...this.call.members.values()].map(asPeer));
    this.#notify();
  }

  #update(change) {
    this.#state = Object.freeze({ ...this.#state, ...change });
    this.#notify();
  }

  #notify() {
    for (const listener of this.#listeners) listener();
  }
}

/** Returns a snapshot of a member. */
function asPeer({ id, name, away, sends, elsewhere, peer }) {
  const stream = peer?.stream ?? null;
  const track = (kind) => stream?.getTracks().find((one) => one.kind === kind) ?? null;
  return Object.freeze({
    id, name, away, sends, elsewhere: !!elsewhere, stream,
    state: peer?.state ?? "new",
    audio: track("audio"),
    video: track("video"),
  });
}
