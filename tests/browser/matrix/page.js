/**
 * Runs in a page: a peer that uses mediasoup-client, sends canvases of one color and the audio of the browser's fake microphone, and recognizes
 * them at the other side. Not with tones: Firefox runs no AudioContext on a machine without an audio device.
 */
import { Device } from "mediasoup-client";

const COLORS = { red: [220, 40, 40], green: [40, 200, 40], blue: [40, 40, 220], violet: [200, 60, 200] };
const LAYERS = [{ rid: "r0", scaleResolutionDownBy: 2, maxBitrate: 60_000 }, { rid: "r1", maxBitrate: 150_000 }];
const SCREEN = [{ maxBitrate: 50_000 }];
/** Makes Chromium send the upper layer at once and permanently: on a busy machine its estimate is too low. */
const CODEC_OPTIONS = { videoGoogleStartBitrate: 1000, videoGoogleMinBitrate: 600 };
const TIMEOUT_MS = 30_000;

/** Repeats `isTrue` until it returns true. */
async function until(what, isTrue) {
  const end = Date.now() + TIMEOUT_MS;
  while (!(await isTrue())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${TIMEOUT_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A client of the envelope protocol with mediasoup-client. */
class Peer {
  #socket;
  #requests = new Map();
  #stops = [];

  static async join(url, room, id, handlerName) {
    const peer = new Peer();
    peer.#socket = new WebSocket(url);
    peer.#socket.onmessage = ({ data }) => {
      const { type, payload, correlationId } = JSON.parse(data);
      const request = peer.#requests.get(correlationId);
      peer.#requests.delete(correlationId);
      if (type === "error") request?.reject(new Error(`${payload.code}: ${payload.message}`));
      else request?.resolve(payload);
    };
    await new Promise((resolve, reject) => Object.assign(peer.#socket, { onopen: resolve, onerror: reject }));
    await peer.request("room:join", { roomId: room, user: { id } });
    await peer.#createTransports(handlerName);
    return peer;
  }

  request(type, payload = {}) {
    const correlationId = crypto.randomUUID();
    return new Promise((resolve, reject) => {
      this.#requests.set(correlationId, { resolve, reject });
      this.#socket.send(JSON.stringify({ type, payload, timestamp: Date.now(), correlationId }));
    });
  }

  async #createTransports(handlerName) {
    this.device = new Device({ handlerName });
    await this.device.load({ routerRtpCapabilities: (await this.request("router:capabilities")).rtpCapabilities });
    const connect = (transport) => transport.on("connect", ({ dtlsParameters }, done, fail) => {
      this.request("transport:connect", { transportId: transport.id, dtlsParameters }).then(done, fail);
    });
    this.sending = connect(this.device.createSendTransport(await this.request("transport:create", { direction: "send" })));
    this.sending.on("produce", ({ kind, rtpParameters, appData }, done, fail) => {
      this.request("produce", { transportId: this.sending.id, kind, rtpParameters, appData }).then(done, fail);
    });
    this.receiving = connect(this.device.createRecvTransport(await this.request("transport:create", { direction: "recv" })));
  }

  /** Sends a color. Returns a camera, whose color can be changed. */
  async sendVideo(color, encodings) {
    const canvas = document.body.appendChild(Object.assign(document.createElement("canvas"), { width: 640, height: 360 }));
    const camera = { color };
    let count = 0;
    const timer = setInterval(() => {
      const context = canvas.getContext("2d");
      context.fillStyle = `rgb(${COLORS[camera.color]})`;
      context.fillRect(0, 0, 640, 360);
      // Some change, so that each frame is encoded.
      context.fillStyle = "black";
      context.fillRect((count++ * 8) % 640, 0, 8, 8);
    }, 50);
    this.#stops.push(() => clearInterval(timer));
    const [track] = canvas.captureStream(20).getVideoTracks();
    camera.producer = await this.sending.produce({ track, encodings, codecOptions: CODEC_OPTIONS });
    return camera;
  }

  async sendAudio() {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false } });
    return { producer: await this.sending.produce({ track: stream.getAudioTracks()[0] }) };
  }

  async receive(producerId) {
    // Before version 3.18, capabilities have no direction.
    const rtpCapabilities = this.device.recvRtpCapabilities ?? this.device.rtpCapabilities;
    const created = await this.request("consume", { transportId: this.receiving.id, producerId, rtpCapabilities });
    const consumer = await this.receiving.consume(created);
    const element = document.body.appendChild(document.createElement(consumer.kind));
    Object.assign(element, { srcObject: new MediaStream([consumer.track]), autoplay: true });
    await this.request("consumer:resume", { consumerId: consumer.id });
    return { consumer, element };
  }

  async restartIce() {
    for (const transport of [this.sending, this.receiving]) {
      if (transport.connectionState === "new") continue;
      const { iceParameters } = await this.request("transport:restart-ice", { transportId: transport.id });
      await transport.restartIce({ iceParameters });
    }
  }

  leave() {
    this.#stops.forEach((stop) => stop());
    this.#socket.close(1000);
    this.sending.close();
    this.receiving.close();
  }
}

/** Waits until decoded frames show a color. */
function sees({ element }, color, width) {
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  return until(`${color} video${width ? ` of ${width} pixels` : ""}`, () => {
    if (!element.videoWidth || (width && element.videoWidth !== width)) return false;
    // The centre: the moving bar is at the top.
    context.drawImage(element, element.videoWidth / 2, element.videoHeight / 2, 1, 1, 0, 0, 1, 1);
    const pixel = context.getImageData(0, 0, 1, 1).data;
    const distance = (name) => COLORS[name].reduce((sum, value, index) => sum + (value - pixel[index]) ** 2, 0);
    // Encoders at low bitrates change shades.
    return Object.keys(COLORS).every((name) => distance(color) <= distance(name)) && distance(color) < 100 ** 2;
  });
}

/** Waits until audio is decoded that is not silence. */
async function receivesAudio({ consumer }) {
  const energy = async () => [...(await consumer.getStats()).values()].find(({ type }) => type === "inbound-rtp")?.totalAudioEnergy ?? 0;
  const before = await energy();
  await until("audio", async () => (await energy()) > before);
}

/** Describes the streams of a transport, for errors. */
async function describe(transport) {
  const reports = [...(await transport.getStats()).values()].filter(({ type, kind }) => /bound-rtp/.test(type) && kind === "video");
  const fields = ["rid", "frameWidth", "framesSent", "framesDecoded", "packetsReceived", "pliCount", "qualityLimitationReason"];
  return reports.filter(({ type }) => !type.startsWith("remote")).map((report) => fields.map((field) => report[field] ?? "").join(","));
}

/** A call of two: a screen, a camera in layers, audio, a pause, layer changes, an ICE restart. */
window.callOfTwo = async (url, { handlerName, hasEncodings }) => {
  const sender = await Peer.join(url, "matrix", "sender", handlerName);
  const receiver = await Peer.join(url, "matrix", "receiver", handlerName);
  try {
    await call(sender, receiver, hasEncodings);
  } catch (error) {
    throw new Error(`${error.message}; ${await describe(sender.sending)}; ${await describe(receiver.receiving)}`);
  }
  sender.leave();
  receiver.leave();
};

async function call(sender, receiver, hasEncodings) {
  // Current Chromium accepts the answers of older versions only if audio comes first.
  const voice = await sender.sendAudio();
  const screen = await sender.sendVideo("violet", hasEncodings ? SCREEN : undefined);
  const camera = await sender.sendVideo("red", hasEncodings ? LAYERS : undefined);
  const [ofScreen, ofCamera, ofVoice] = await Promise.all([screen, camera, voice].map(({ producer }) => receiver.receive(producer.id)));
  await Promise.all([sees(ofScreen, "violet"), sees(ofCamera, "red"), receivesAudio(ofVoice)]);

  const consumerId = ofCamera.consumer.id;
  await receiver.request("consumer:pause", { consumerId });
  camera.color = "blue";
  await receiver.request("consumer:resume", { consumerId });
  await sees(ofCamera, "blue");
  for (const [spatialLayer, width] of hasEncodings ? [[0, 320], [1, 640]] : []) {
    await receiver.request("consumer:layers", { consumerId, spatialLayer });
    await sees(ofCamera, "blue", width);
  }

  await sender.restartIce();
  await receiver.restartIce();
  camera.color = "green";
  await Promise.all([sees(ofScreen, "violet"), sees(ofCamera, "green"), receivesAudio(ofVoice)]);
}

/** One side of a call between two pages. Resolves when audio and video of the other side are decoded. */
window.exchange = async (url, handlerName, { id, color, other }) => {
  const peer = await Peer.join(url, "exchange", id, handlerName);
  window.peer = peer;
  await peer.sendAudio();
  await peer.sendVideo(color);
  let found;
  await until("tracks of the other side", async () => {
    found = (await peer.request("producers:list")).producers.filter(({ userId }) => userId === other.id);
    return found.length === 2;
  });
  await Promise.all(found.map(async ({ producerId, kind }) => {
    const received = await peer.receive(producerId);
    await (kind === "video" ? sees(received, other.color) : receivesAudio(received));
  }));
};
