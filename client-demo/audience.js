/**
 * Raised hands and reactions: application messages, which clients of all protocols but `/signal` receive.
 *
 * @module audience
 */

/** Names of the application messages. */
const HAND = "raise-hand";
const REACTION = "reaction";

export const REACTIONS = ["👍", "❤️", "😂", "👏", "🎉", "😮"];

/** Events: `hand`, detail `{ id, raised }`; `reaction`, detail `{ id, emoji }`. */
export class Audience extends EventTarget {
  #signaling;
  /** Ids of the peers with a raised hand. @type {Set<string>} */
  #raised = new Set();
  /** Whether the own hand is raised. */
  isRaised = false;

  /**
   * @param {import("./parlor/parlor.js").Signaling} signaling
   * @param {AbortSignal} signal removes the listeners
   */
  constructor(signaling, signal) {
    super();
    this.#signaling = signaling;
    signaling.addEventListener("application", ({ detail }) => this.#receive(detail), { signal });
    // Peers that join later have not received the message.
    signaling.addEventListener("user-joined", ({ detail }) => this.isRaised && this.#send(HAND, { raised: true }, detail.userId), { signal });
    signaling.addEventListener("user-left", ({ detail }) => this.#raised.delete(detail.userId), { signal });
  }

  /** @param {string} id */
  hasRaised(id) {
    return this.#raised.has(id);
  }

  /** @param {boolean} raised */
  raise(raised) {
    this.isRaised = raised;
    this.#send(HAND, { raised });
  }

  /** @param {string} emoji */
  react(emoji) {
    this.#send(REACTION, { emoji });
  }

  #send(topic, data, targetId) {
    // Fails if the room is empty or the server unavailable: no peer could show it.
    this.#signaling.message(topic, data, targetId).catch(() => {});
  }

  #receive({ from, topic, data }) {
    if (topic === HAND && typeof data?.raised === "boolean") {
      if (data.raised) this.#raised.add(from);
      else this.#raised.delete(from);
      this.dispatchEvent(new CustomEvent("hand", { detail: { id: from, raised: data.raised } }));
    } else if (topic === REACTION && REACTIONS.includes(data?.emoji)) {
      this.dispatchEvent(new CustomEvent("reaction", { detail: { id: from, emoji: data.emoji } }));
    }
  }
}
