/**
 * The list of chat messages and their input, independent of the transport.
 *
 * @module chat
 */
import { byId } from "./dom.js";

/** A message within this time after another of the same person has no heading, in milliseconds. */
const SAME_BREATH_MS = 120_000;

/** Event: `send`, detail: the text. */
export class Chat extends EventTarget {
  #log = byId("chat-log");
  #last = { id: "", at: 0 };
  #abort = new AbortController();

  constructor() {
    super();
    byId("chat-form").addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        const text = byId("chat-text").value.trim();
        if (!text) return;
        byId("chat-text").value = "";
        this.dispatchEvent(new CustomEvent("send", { detail: text }));
      },
      { signal: this.#abort.signal },
    );
  }

  /** @param {{ id: string, name: string, text: string, self: boolean, note?: string }} message `note`: its delivery state */
  add({ id, name, text, self, note = "" }) {
    const now = Date.now();
    const item = document.createElement("li");
    item.className = self ? "message message-self" : "message";
    if (id !== this.#last.id || now - this.#last.at > SAME_BREATH_MS) {
      const heading = document.createElement("p");
      heading.className = "message-heading";
      const who = document.createElement("b");
      who.textContent = self ? "You" : name;
      const when = document.createElement("time");
      when.textContent = new Date(now).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      heading.append(who, when);
      item.append(heading);
    }
    this.#last = { id, at: now };
    const body = document.createElement("p");
    body.className = "message-text";
    body.append(...withLinks(text));
    item.append(body);
    if (note) {
      const small = document.createElement("p");
      small.className = "message-note";
      small.textContent = note;
      item.append(small);
    }
    // A user who has scrolled up is reading; the position is kept.
    const atEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 60;
    this.#log.append(item);
    byId("chat-empty").hidden = true;
    if (atEnd || self) this.#log.scrollTop = this.#log.scrollHeight;
  }

  clear() {
    this.#abort.abort();
    this.#log.replaceChildren();
    byId("chat-empty").hidden = false;
  }
}

/** Returns the text as nodes, with web addresses as links. Never as markup, since another user wrote it. */
function withLinks(text) {
  return text.split(/(https?:\/\/[^\s<>"]+)/).map((part, index) => {
    if (index % 2 === 0) return part;
    const link = document.createElement("a");
    link.href = part;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    link.textContent = part;
    return link;
  });
}
