/**
 * What the pages of all families share: the camera, and one RTCPeerConnection for each peer. A family is a module that translates
 * between this and the events of its frontends.
 */

/** The calls of one page. `window.call` is what the tests read. */
export class Call {
  #connections = new Map();
  #stream;
  #sendCandidate;

  /** @param {(id: string, candidate: RTCIceCandidate) => void} [sendCandidate] left out where descriptions carry all candidates */
  static async begin(sendCandidate) {
    const call = new Call();
    call.#sendCandidate = sendCandidate;
    call.#stream = await navigator.mediaDevices.getUserMedia({ video: { width: 160, height: 120 }, audio: true });
    window.call = call;
    return call;
  }

  /** Makes the connection to a peer, and an offer for it. */
  async offer(id) {
    const connection = this.#open(id);
    await connection.setLocalDescription();
    return this.#described(connection);
  }

  /** Takes the offer of a peer; returns the answer. */
  async answer(id, offer) {
    const connection = this.#open(id);
    await connection.setRemoteDescription(offer);
    await this.#takeWaiting(id);
    await connection.setLocalDescription();
    return this.#described(connection);
  }

  /** Takes the answer of a peer. */
  async accept(id, answer) {
    await this.#connections.get(id).connection.setRemoteDescription(answer);
    await this.#takeWaiting(id);
  }

  /** Takes a candidate of a peer, which may come before the description that it belongs to. */
  async candidate(id, candidate) {
    const { connection, waiting } = this.#connections.get(id);
    if (connection.remoteDescription) await connection.addIceCandidate(candidate);
    else waiting.push(candidate);
  }

  close(id) {
    this.#connections.get(id)?.connection.close();
    this.#connections.delete(id);
  }

  /** The one peer, in families that know none by an id. */
  static ONLY = "the other one";

  /** The state of each connection, and how many video frames of the peer have been decoded. */
  async report() {
    const lines = [...this.#connections.values()].map(async ({ connection }) => {
      const stats = [...(await connection.getStats()).values()];
      const frames = stats.find(({ type, kind }) => type === "inbound-rtp" && kind === "video")?.framesDecoded ?? 0;
      return { state: connection.connectionState, frames };
    });
    return Promise.all(lines);
  }

  #open(id) {
    this.close(id);
    const connection = new RTCPeerConnection();
    this.#connections.set(id, { connection, waiting: [] });
    for (const track of this.#stream.getTracks()) connection.addTrack(track, this.#stream);
    connection.ontrack = ({ streams: [stream] }) => {
      const video = document.createElement("video");
      Object.assign(video, { srcObject: stream, autoplay: true, muted: true });
      document.body.append(video);
    };
    connection.onicecandidate = ({ candidate }) => candidate && this.#sendCandidate?.(id, candidate);
    return connection;
  }

  async #described(connection) {
    if (!this.#sendCandidate && connection.iceGatheringState !== "complete") {
      await new Promise((resolve) => {
        connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve();
      });
    }
    return connection.localDescription.toJSON();
  }

  async #takeWaiting(id) {
    const { connection, waiting } = this.#connections.get(id);
    for (const candidate of waiting.splice(0)) await connection.addIceCandidate(candidate);
  }
}
