/**
 * The media server: the client of docs/sfu.md with unmodified mediasoup-client from npm, in Chromium.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import test, { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { PATIENCE_MS, launch } from "./support/people.js";
import { eventually, startServer } from "./support/server.js";

const DOCS = new URL("../../docs/sfu.md", import.meta.url);

/** The script of the page. */
const PAGE = `
import { joinCall } from "client";
window.seen = new Map();
window.ended = [];
window.notices = [];
window.go = async (url, { name, tracks, simulcast }) => {
  window.session = await joinCall(url, "room", {
    onTrack(consumer, userId) {
      const element = document.createElement(consumer.kind);
      element.srcObject = new MediaStream([consumer.track]);
      element.autoplay = element.muted = true;
      document.body.append(element);
      window.seen.set(consumer.id, { consumer, userId });
    },
    onEnd: (consumer) => window.ended.push(consumer.id),
  });
  for (const type of ["consumer:layers-changed", "producer:paused", "producer:resumed", "room:active-speaker"]) {
    window.session.handlers[type] = (payload) => window.notices.push({ type, payload });
  }
  window.producers = {};
  if (!tracks) return;
  if (tracks !== true) {
    for (const kind of tracks) await produce[kind]();
    return;
  }
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 480, frameRate: 20 } });
  const [audio] = stream.getAudioTracks();
  const [video] = stream.getVideoTracks();
  const encodings = simulcast && [
    { rid: "r0", scaleResolutionDownBy: 4, maxBitrate: 60_000 },
    { rid: "r1", scaleResolutionDownBy: 2, maxBitrate: 150_000 },
  ];
  window.producers.audio = await window.session.sending.produce({ track: audio, stopTracks: false });
  window.producers.video = await window.session.sending.produce({ track: video, stopTracks: false, ...(encodings && { encodings }) });
};
const produce = {
  async audio() {
    const [track] = (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks();
    window.producers.audio = await window.session.sending.produce({ track });
  },
  async video() {
    const [track] = (await navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 240, frameRate: 20 } })).getVideoTracks();
    window.producers.video = await window.session.sending.produce({ track });
  },
  // A canvas in place of a shared screen, with the content hint of one.
  async screen() {
    const canvas = document.body.appendChild(Object.assign(document.createElement("canvas"), { width: 640, height: 480 }));
    const context = canvas.getContext("2d");
    let number = 0;
    setInterval(() => {
      context.fillStyle = "white";
      context.fillRect(0, 0, 640, 480);
      context.fillStyle = "black";
      context.fillText(String(number++), 100, 100);
    }, 50);
    const [track] = canvas.captureStream(20).getVideoTracks();
    track.contentHint = "detail";
    const encodings = [{ rid: "r0", scaleResolutionDownBy: 2, maxBitrate: 150_000 }, { rid: "r1", maxBitrate: 600_000 }];
    window.producers.screen = await window.session.sending.produce({ track, encodings });
  },
};
window.frames = async () => {
  const counts = {};
  for (const { consumer } of window.seen.values()) {
    if (consumer.closed || consumer.kind !== "video") continue;
    for (const report of (await consumer.getStats()).values()) {
      if (report.type === "inbound-rtp") counts[consumer.id] = { decoded: report.framesDecoded ?? 0, width: report.frameWidth ?? 0 };
    }
  }
  return counts;
};
window.audioPackets = async () => {
  let packets = 0;
  for (const { consumer } of window.seen.values()) {
    if (consumer.closed || consumer.kind !== "audio") continue;
    for (const report of (await consumer.getStats()).values()) packets += report.type === "inbound-rtp" ? report.packetsReceived : 0;
  }
  return packets;
};
`;

async function bundle() {
  const client = /```js\n(import [\s\S]*?)```/.exec(await readFile(DOCS, "utf8"))?.[1];
  assert(client, "docs/sfu.md has a client");
  const here = fileURLToPath(new URL(".", import.meta.url));
  const plugin = {
    name: "client",
    setup(esbuild) {
      esbuild.onResolve({ filter: /^client$/ }, () => ({ path: "client", namespace: "docs" }));
      esbuild.onLoad({ filter: /.*/, namespace: "docs" }, () => ({ contents: client, resolveDir: here }));
    },
  };
  const { outputFiles } = await build({
    stdin: { contents: PAGE, resolveDir: here }, bundle: true, format: "iife", write: false, plugins: [plugin],
  });
  return outputFiles[0].text;
}

let browser, script;

before(async () => {
  [browser, script] = await Promise.all([launch(), bundle()]);
});

after(() => browser?.close());

async function setUp(t, env = {}) {
  const pages = createServer((request, response) => {
    const isScript = request.url === "/page.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : "<!doctype html><link rel=icon href=data:,><body><script src=/page.js></script>");
  }).listen(0, "127.0.0.1");
  await once(pages, "listening");
  t.after(() => pages.close());
  const origin = `http://localhost:${pages.address().port}`;
  const server = await startServer({ env: { CLIENT_URL: origin, RESUME_SECONDS: "0", ...env } });
  t.after(() => server.stop("SIGKILL"));
  const contexts = [];
  t.after(() => Promise.all(contexts.map((context) => context.close())));
  const pageErrors = [];
  const open = async (options) => {
    const context = await browser.newContext({ permissions: ["camera", "microphone"] });
    contexts.push(context);
    const tab = await context.newPage();
    tab.on("pageerror", (error) => pageErrors.push(String(error)));
    await tab.goto(origin);
    await tab.evaluate(([url, given]) => window.go(url, given), [`${server.url.replace("http", "ws")}/ws`, options]);
    return tab;
  };
  return { server, open, pageErrors };
}

/** Waits until an asynchronous predicate holds in a page. */
async function until(tab, what, predicate, argument) {
  const end = Date.now() + PATIENCE_MS;
  let last;
  while (Date.now() < end) {
    last = await tab.evaluate(predicate, argument);
    if (last) return last;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const seen = await tab.evaluate(async () => JSON.stringify({ sending: window.session.sending.connectionState, receiving: window.session.receiving.connectionState, frames: await window.frames(), notices: window.notices, ended: window.ended }));
  throw new Error(`${what}: not within ${PATIENCE_MS} ms; seen ${seen}`);
}

/** Waits until some more frames of a number of videos are decoded. */
async function sees(tab, others) {
  const before = await tab.evaluate(() => window.frames());
  await until(tab, `video of ${others} is decoded`, async ([before, others]) => {
    const now = Object.entries(await window.frames());
    return now.filter(([id, { decoded }]) => decoded > (before[id]?.decoded ?? 0) + 5).length >= others;
  }, [before, others]);
}

test("three in a room, through the media server", async (t) => {
  const { server, open, pageErrors } = await setUp(t);
  const anna = await open({ name: "anna", tracks: true });
  const ben = await open({ name: "ben", tracks: true });
  await sees(ben, 1);
  await sees(anna, 1);
  const late = await open({ name: "late", tracks: false });
  await sees(late, 2);
  await until(late, "audio is received", async () => (await window.audioPackets()) > 25);
  await until(late, "an active speaker is announced", () => window.notices.some(({ type }) => type === "room:active-speaker"));

  // A paused consumer receives nothing, and continues after it is resumed.
  const [id] = await late.evaluate(() => [...window.seen.values()].filter(({ consumer }) => consumer.kind === "video").map(({ consumer }) => consumer.id));
  await late.evaluate((consumerId) => window.session.request("consumer:pause", { consumerId }), id);
  const received = (tab, id) => tab.evaluate(async (id) => {
    for (const report of (await window.seen.get(id).consumer.getStats()).values()) if (report.type === "inbound-rtp") return report.packetsReceived;
  }, id);
  const before = await received(late, id);
  await sees(late, 1);
  const meanwhile = (await received(late, id)) - before;
  assert(meanwhile < 20, `only packets in flight: ${meanwhile}`);
  await late.evaluate((consumerId) => window.session.request("consumer:resume", { consumerId }), id);
  await sees(late, 2);

  // Pausing and closing a producer is announced.
  await anna.evaluate(() => window.session.request("producer:pause", { producerId: window.producers.video.id }));
  await until(late, "notified of the pause", () => window.notices.some(({ type }) => type === "producer:paused"));
  await anna.evaluate(() => window.session.request("producer:resume", { producerId: window.producers.video.id }));
  await sees(late, 2);
  // An ICE restart, as after a change of network.
  await anna.evaluate(async () => {
    const { sending, request } = window.session;
    const { iceParameters } = await request("transport:restart-ice", { transportId: sending.id });
    await sending.restartIce({ iceParameters });
  });
  await sees(late, 2);
  await anna.close();
  await until(late, "notified of the end", () => window.ended.length === 2);
  await sees(late, 1);
  await ben.close();
  await late.close();
  assert.deepEqual(pageErrors, []);
  await eventually("no peer is left", server.health, ({ rooms, connections }) => rooms === 0 && connections === 0);
});

/** The first track determines how Chromium numbers the streams of a transport. */
for (const tracks of [["video"], ["video", "audio"], ["screen", "video", "audio"], ["audio", "screen"]]) {
  test(`${tracks.join(", then ")}`, async (t) => {
    const { open, pageErrors } = await setUp(t);
    const ben = await open({ name: "ben" });
    const anna = await open({ name: "anna", tracks });
    await sees(ben, tracks.filter((kind) => kind !== "audio").length);
    if (tracks.includes("audio")) {
      await until(ben, "audio is received", async () => (await window.audioPackets()) > 25);
      await until(ben, "an active speaker is announced", () => window.notices.some(({ type }) => type === "room:active-speaker"));
    }
    await anna.close();
    assert.deepEqual(pageErrors, []);
  });
}

test("layers of a camera", async (t) => {
  const { open, pageErrors } = await setUp(t);
  const anna = await open({ name: "anna", tracks: true, simulcast: true });
  const ben = await open({ name: "ben", tracks: false });
  await sees(ben, 1);
  const width = (expected) => until(ben, `${expected} pixels`, async (expected) => Object.values(await window.frames()).some(({ width }) => width === expected), expected);
  const layers = (spatialLayer) => ben.evaluate((spatialLayer) => {
    const [video] = [...window.seen.values()].filter(({ consumer }) => consumer.kind === "video");
    return window.session.request("consumer:layers", { consumerId: video.consumer.id, spatialLayer });
  }, spatialLayer);
  // With little bandwidth or time, there are other layers in between.
  const expectLayer = (spatialLayer) => until(ben, `notified of layer ${spatialLayer}`, (spatialLayer) => {
    const changes = window.notices.filter(({ type }) => type === "consumer:layers-changed");
    return changes.at(-1)?.payload.spatialLayer === spatialLayer;
  }, spatialLayer);
  await width(320);
  await expectLayer(1);
  assert.equal((await layers(0)).spatialLayer, 0);
  await width(160);
  await expectLayer(0);
  assert.equal((await layers(7)).spatialLayer, 1);
  await width(320);
  await expectLayer(1);
  await sees(ben, 1);
  await anna.close();
  assert.deepEqual(pageErrors, []);
});

for (const mimeType of ["video/VP9", "video/H264", "video/AV1"]) {
  test(`${mimeType}, also for a peer that joins later`, async (t) => {
    const { open, pageErrors } = await setUp(t);
    const anna = await open({ name: "anna", tracks: false });
    const canSend = await anna.evaluate((mimeType) => RTCRtpSender.getCapabilities("video").codecs.some((codec) => codec.mimeType === mimeType), mimeType);
    if (!canSend) {
      t.skip("this Chromium cannot encode it");
      return;
    }
    const ben = await open({ name: "ben", tracks: false });
    await anna.evaluate(async (mimeType) => {
      const { rtpCapabilities } = await window.session.request("router:capabilities", {});
      const codec = rtpCapabilities.codecs.find((codec) => codec.mimeType === mimeType);
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 240, frameRate: 20 } });
      await window.session.sending.produce({ track: stream.getAudioTracks()[0] });
      window.producers.video = await window.session.sending.produce({ track: stream.getVideoTracks()[0], codec });
    }, mimeType);
    await sees(ben, 1);
    const late = await open({ name: "late", tracks: false });
    await sees(late, 1);
    const used = await late.evaluate(() => [...window.seen.values()].find(({ consumer }) => consumer.kind === "video").consumer.rtpParameters.codecs[0].mimeType);
    assert.equal(used, mimeType);
    // It continues after a pause, with a requested keyframe.
    const consumerId = await late.evaluate(() => [...window.seen.values()].find(({ consumer }) => consumer.kind === "video").consumer.id);
    await late.evaluate((consumerId) => window.session.request("consumer:pause", { consumerId }), consumerId);
    await sees(ben, 1);
    await late.evaluate((consumerId) => window.session.request("consumer:resume", { consumerId }), consumerId);
    await sees(late, 1);
    assert.deepEqual(pageErrors, []);
  });
}

test("without a media server", async (t) => {
  const { open } = await setUp(t, { SFU: "off" });
  await assert.rejects(open({ name: "anna" }), /no media server configured/);
});
