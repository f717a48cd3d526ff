/**
 * Error messages for users: the problem, and what the user can do.
 *
 * @module errors
 */

const SIGNALING = {
  ROOM_FULL: "This room is full. Ask someone to leave, or choose another room.",
  ROOM_NOT_FOUND: "There is no such room. Check the link, or ask for a new one.",
  INVALID_MESSAGE: "The server did not accept the room or the name. Both may have up to 128 ordinary characters.",
  UNAUTHORIZED: "This server asks for a token, and yours is missing or has expired. Ask for a new link.",
  FORBIDDEN: "Your token does not allow this room.",
  RATE_LIMITED: "Too many messages at once. Wait a moment and try again.",
  LIMIT_REACHED: "The server has reached its limit of rooms. Try again later.",
  REPLACED: "You joined this room from another tab or device, and the call continues there.",
  HUNG_UP: "The other person hung up.",
  ROOM_CLOSED: "The room was closed by its operator.",
  SHUTTING_DOWN: "The server is restarting. Try again in a moment.",
  PAYLOAD_TOO_LARGE: "The message is too large for the server.",
  UNREACHABLE: "The server cannot be reached. Check your network, then try again.",
  OFFLINE: "The connection to the server was lost. Try again.",
  TRANSPORT_ERROR: "The media server is not available, so the call is a mesh.",
  NO_BUNDLE: "The media server needs mediasoup-client, which this server does not have, so the call is a mesh.",
  TARGET_NOT_FOUND: "That person has left.",
  TIMEOUT: "The server did not respond in time. Try again.",
};

/**
 * @param {{ code?: string, message?: string }} error a SignalingError
 * @returns {string}
 */
export function explain(error) {
  return SIGNALING[error.code] ?? `Something went wrong on the server (${error.message || error.code || "no reason given"}).`;
}

const DEVICES = { audio: "microphone", video: "camera", both: "camera or microphone" };

/**
 * @param {{ audio: Error | null, video: Error | null }} problems the reason why a device could not be opened, by kind
 * @returns {string} empty if nothing is wrong
 */
export function explainDevices({ audio, video }) {
  const same = audio && video && audio.name === video.name;
  if (same) return explainDevice(audio, DEVICES.both);
  return [audio && explainDevice(audio, DEVICES.audio), video && explainDevice(video, DEVICES.video)].filter(Boolean).join(" ");
}

function explainDevice(error, device) {
  switch (error.name) {
    case "NotAllowedError":
      if (/system/i.test(error.message)) return `The operating system refused access to your ${device.replace(" or ", " and ")}. Allow it for the browser in the system’s privacy settings, then try again.`;
      return `The browser refused access to your ${device.replace(" or ", " and ")}. Allow it beside the address bar, then try again.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `No ${device} was found. Connect one, then try again.`;
    case "NotReadableError":
    case "AbortError":
      return `Your ${device} is in use by another program. Close that, then try again.`;
    case "NotSupportedError":
      return "This page was loaded without https, so the browser does not allow camera and microphone. Open it with https, or on this computer as localhost.";
    default:
      return `Your ${device} could not be opened (${error.message || error.name}).`;
  }
}

/** Shown while the system, or a switch at the device, has muted the microphone. */
export const SILENCED = "Your microphone is muted by the system or by a switch at the device: the others cannot hear you. Unmute it there.";

/** Appended to device problems, since joining without a device is always possible. */
export const CAN_STILL_JOIN = "You can join without it: you will see and hear the others.";

const DEPARTURES = { timeout: "lost the connection", disconnected: "lost the connection", kicked: "was removed" };

/**
 * @param {string} name
 * @param {string} reason of `user-left`
 */
export function explainDeparture(name, reason) {
  return `${name} ${DEPARTURES[reason] ?? "left"}`;
}
