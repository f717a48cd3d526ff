export class ScreenSender {
    /** @param {RTCPeerConnection} connection */
    constructor(connection: RTCPeerConnection);
    /** The tracks to send. @type {Record<typeof KINDS[number], MediaStreamTrack | null>} */
    tracks: Record<(typeof KINDS)[number], MediaStreamTrack | null>;
    /** @param {RTCRtpTransceiver} transceiver */
    owns(transceiver: RTCRtpTransceiver): boolean;
    /** Sends the tracks, and nothing in place of a missing one. Each change is negotiated. */
    fill(): void;
    #private;
}
/**
 * Sends a screen and its audio over a connection, beside the camera and the microphone.
 *
 * @module peer-screen
 */
declare const KINDS: readonly ["screen", "screenAudio"];
export {};
