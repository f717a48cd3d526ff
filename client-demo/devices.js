/**
 * The lists of devices to choose from, in the lobby and in the settings.
 *
 * @module devices
 */
import { byId } from "./dom.js";

const NONE = { video: "No camera", audio: "No microphone", speaker: "The system’s loudspeaker" };

/**
 * Fills select fields with the available devices.
 * @param {import("./media.js").LocalMedia} media
 * @param {Partial<Record<"video" | "audio" | "speaker", string>>} fields the ids of the fields, by kind
 * @returns {Promise<boolean>} whether there is any device to choose
 */
export async function fillDevices(media, fields) {
  let isAny = false;
  for (const [kind, id] of Object.entries(fields)) {
    const devices = await media.devices(kind);
    const options = devices.map(({ id: value, label, chosen }) => new Option(label, value, chosen, chosen));
    byId(id).replaceChildren(...(options.length ? options : [new Option(NONE[kind], "")]));
    byId(id).disabled = !options.length;
    isAny ||= options.length > 0;
  }
  return isAny;
}
