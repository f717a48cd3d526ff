/**
 * Sends a screen and its audio over a connection, beside the camera and the microphone.
 *
 * @module peer-screen
 */

const KINDS = /** @type {const} */ (["screen", "screenAudio"]);

export class ScreenSender {
  /** The tracks to send. @type {Record<typeof KINDS[number], MediaStreamTrack | null>} */
  tracks = { screen: null, screenAudio: null };

  #connection;
  /** Tells the receiver that these tracks belong together, and not to the camera. */
  #stream = new MediaStream();
  /** @type {Partial<Record<typeof KINDS[number], RTCRtpTransceiver>>} */
  #transceivers = {};

  /** @param {RTCPeerConnection} connection */
  constructor(connection) {
    this.#connection = connection;
  }

  /** @param {RTCRtpTransceiver} transceiver */
  owns(transceiver) {
    return Object.values(this.#transceivers).includes(transceiver);
  }

  /** Sends the tracks, and nothing in place of a missing one. Each change is negotiated. */
  fill() {
    for (const kind of KINDS) {
      const track = this.tracks[kind];
      const transceiver = this.#transceivers[kind];
      if (transceiver && transceiver.sender.track !== track) {
        transceiver.direction = track ? "sendonly" : "inactive";
        transceiver.sender.replaceTrack(track).catch((error) => console.warn("a screen could not be sent", error));
      } else if (!transceiver && track) {
        // Not addTrack, which could take the transceiver of a camera that has never been on.
        this.#transceivers[kind] = this.#connection.addTransceiver(track, { direction: "sendonly", streams: [this.#stream] });
      }
    }
  }
}
