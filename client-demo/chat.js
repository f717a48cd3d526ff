/**
 * The chat: its messages go through the server, so that clients of all protocols and both media modes take part. The page stores them for
 * a reload.
 *
 * Clients of `/signal` receive no such messages, and without the server no client does: then the data channels of a mesh are used.
 *
 * @module chat
 */
import { bdi, byId } from "./dom.js";
import { remember, remembered } from "./identity.js";
import { cleanName } from "./parlor/name.js";

/** Name of the application message: `{ text, name }`. */
const TOPIC = "chat-message";
/** Names that other frontends use for such messages. */
const TOPICS = new Set([TOPIC, "chat", "message", "send-message"]);

/** Maximum length of a message, in characters. */
const TEXT_LIMIT = 2000;
/** Maximum number of messages that are stored for a reload. */
const KEPT = 200;
/** A message within this time after another of the same person has no heading, in milliseconds. */
const HEADING_MS = 120_000;

/** @typedef {{ id: string, name: string, text: string, self: boolean, at: number }} Message */

/** Event: `message`, detail: a {@link Message} of another person. */
export class Chat extends EventTarget {
  #log = byId("chat-log");
  #key;
  #self;
  #signaling;
  #call;
  /** @type {Message[]} */
  #messages;
  #last = { id: "", at: 0 };

  /**
   * @param {{ room: string, self: { id: string, name: string }, signaling: import("./parlor/parlor.js").Signaling,
   *   call: import("./parlor/auto.js").AutoCall, signal: AbortSignal }} options `signal` removes the listeners
   */
  constructor({ room, self, signaling, call, signal }) {
    super();
    this.#key = `parlor.chat.${room}`;
    this.#self = self;
    this.#signaling = signaling;
    this.#call = call;
    this.#messages = JSON.parse(remembered("session", this.#key) ?? "[]");
    for (const message of this.#messages) this.#draw(message);
    byId("chat-form").addEventListener("submit", (event) => this.#submit(event), { signal });
    call.addEventListener("chat", ({ detail: { member, text } }) => this.#receive(member.id, text), { signal });
    signaling.addEventListener("application", ({ detail: { from, topic, data } }) => {
      if (TOPICS.has(topic)) this.#receive(from, textOf(data), data?.name ?? data?.userName);
    }, { signal });
  }

  clear() {
    this.#log.firstElementChild.replaceChildren();
    byId("chat-empty").hidden = false;
  }

  async #submit(event) {
    event.preventDefault();
    const text = byId("chat-text").value.trim();
    if (!text) return;
    byId("chat-text").value = "";
    const item = this.#add({ ...this.#self, text, self: true, at: Date.now() });
    const isSent = await this.#signaling.message(TOPIC, { text, name: this.#self.name }).then(() => true, () => this.#call.chat(text) > 0);
    if (!isSent) item.append(paragraph("message-note", "No one was here to receive this."));
  }

  #receive(id, text, ownName) {
    if (typeof text !== "string" || !text.trim()) return;
    const name = this.#call.members.get(id)?.name || cleanName(ownName) || "Guest";
    const message = { id, name, text: text.slice(0, TEXT_LIMIT), self: false, at: Date.now() };
    this.#add(message);
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  /** @param {Message} message */
  #add(message) {
    this.#messages = [...this.#messages, message].slice(-KEPT);
    remember("session", this.#key, JSON.stringify(this.#messages));
    return this.#draw(message);
  }

  /** @param {Message} message */
  #draw({ id, name, text, self, at }) {
    const item = document.createElement("li");
    item.className = self ? "message message-self" : "message";
    if (id !== this.#last.id || at - this.#last.at > HEADING_MS) {
      const heading = paragraph("message-heading");
      const author = document.createElement("b");
      author.append(self ? "You" : bdi(name));
      const when = document.createElement("time");
      when.textContent = new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      heading.append(author, when);
      item.append(heading);
    }
    this.#last = { id, at };
    const body = paragraph("message-text");
    body.dir = "auto";
    body.append(...withLinks(text));
    item.append(body);
    // A user who has scrolled up is reading; the position is kept.
    const atEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 60;
    this.#log.firstElementChild.append(item);
    byId("chat-empty").hidden = true;
    if (atEnd || self) this.#log.scrollTop = this.#log.scrollHeight;
    return item;
  }
}

/** Returns the text of a message, in the forms that frontends use. */
function textOf(data) {
  return typeof data === "string" ? data : (data?.text ?? data?.message ?? data?.content);
}

function paragraph(className, text = "") {
  return Object.assign(document.createElement("p"), { className, textContent: text });
}

/** Returns the text as nodes, with web addresses as links. Never as markup, since another user wrote it. */
function withLinks(text) {
  return text.split(/(https?:\/\/[^\s<>"]+)/).map((part, index) => {
    if (index % 2 === 0) return part;
    return Object.assign(document.createElement("a"), { href: part, target: "_blank", rel: "noopener noreferrer", textContent: part });
  });
}
