/**
 * The common part of the pages of all families: the camera, and one RTCPeerConnection for each peer. A family is a module that translates
 * between it and the events of its frontends.
 */

/** The calls of one page. `window.call` is what the tests read. */
export class Call {
  #connections = new Map();
  #stream;
  #sendCandidate;

  /** @param {(id: string, candidate: RTCIceCandidate) => void} [sendCandidate] left out where descriptions carry all candidates */
  static async start(sendCandidate) {
    const call = new Call();
    call.#sendCandidate = sendCandidate;
    call.#stream = await navigator.mediaDevices.getUserMedia({ video: { width: 160, height: 120 }, audio: true });
    window.call = call;
    return call;
  }

  /** Opens a connection to a peer, and returns its offer. */
  async offer(id) {
    const connection = this.#open(id);
    await connection.setLocalDescription();
    return this.#describe(connection);
  }

  /** Applies the offer of a peer, and returns the answer. */
  async answer(id, offer) {
    const connection = this.#open(id);
    await connection.setRemoteDescription(offer);
    await this.#addWaiting(id);
    await connection.setLocalDescription();
    return this.#describe(connection);
  }

  /** Applies the answer of a peer. */
  async accept(id, answer) {
    await this.#connections.get(id).connection.setRemoteDescription(answer);
    await this.#addWaiting(id);
  }

  /** Adds a candidate of a peer, which may arrive before its description. */
  async candidate(id, candidate) {
    const { connection, waiting } = this.#connections.get(id);
    if (connection.remoteDescription) await connection.addIceCandidate(candidate);
    else waiting.push(candidate);
  }

  close(id) {
    this.#connections.get(id)?.connection.close();
    this.#connections.delete(id);
  }

  /** The id of the only peer, in families without ids. */
  static ONLY = "the only peer";

  /** Returns the state of each connection, and the number of decoded video frames. */
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

  async #describe(connection) {
    if (!this.#sendCandidate && connection.iceGatheringState !== "complete") {
      await new Promise((resolve) => {
        connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve();
      });
    }
    return connection.localDescription.toJSON();
  }

  async #addWaiting(id) {
    const { connection, waiting } = this.#connections.get(id);
    for (const candidate of waiting.splice(0)) await connection.addIceCandidate(candidate);
  }
}
