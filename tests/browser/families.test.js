/**
 * Pages that speak the events of six families of public frontends (`families/`), with the server's default settings: two pages of each
 * hold a call, and pages of different families hold one with each other.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { createServer } from "node:http";
import { extname } from "node:path";
import { after, before, describe, test } from "node:test";
import { launch } from "./support/people.js";
import { eventually, startServer } from "./support/server.js";

const FAMILIES = ["standard", "add-peer", "signal-exchange", "room-colon", "snake", "user-connected"];

/** Members of a room, in the order of joining. In all these families the joining peer offers. */
const MIXED = [
  ["add-peer", "standard"],
  ["add-peer", "signal-exchange", "envelope"],
  ["envelope", "standard"],
];

/** Number of decoded frames that prove that media flows. */
const FRAMES = 3;
const TIMEOUT_MS = 30_000;

describe("families of frontends", () => {
  let server, files, browser, context;

  before(async () => {
    const root = new URL("families/", import.meta.url);
    const types = { ".html": "text/html", ".js": "text/javascript" };
    files = createServer(({ url }, response) => {
      const path = new URL(url, root).pathname.slice(1);
      const file = createReadStream(new URL(path.split("/").at(-1), root));
      file.on("error", () => response.writeHead(404).end());
      file.once("open", () => response.writeHead(200, { "content-type": types[extname(path)] }));
      file.pipe(response);
    }).listen(0, "127.0.0.1");
    await once(files, "listening");
    server = await startServer();
    browser = await launch();
    context = await browser.newContext({ permissions: ["camera", "microphone"], viewport: { width: 320, height: 240 } });
  });

  after(async () => {
    await browser?.close();
    files?.close();
    await server?.stop();
  });

  for (const families of [...FAMILIES.map((family) => [family, family]), ...MIXED]) {
    test(families.join(" and "), async () => {
      const room = families.join("-");
      const pageErrors = [];
      const pages = [];
      for (const [index, family] of families.entries()) {
        const page = await context.newPage();
        page.on("pageerror", (error) => pageErrors.push(`${family}: ${error}`));
        const query = new URLSearchParams({ family, server: server.url, room });
        await page.goto(`http://localhost:${files.address().port}/page.html?${query}`);
        await eventually(`${family} is in the room`, () => server.participants(room), (ids) => ids.length === index + 1, TIMEOUT_MS);
        await page.waitForFunction(() => window.joined, null, { timeout: TIMEOUT_MS });
        pages.push(page);
      }
      const seesAll = (page, family) => eventually(
        `${family} decodes video of all the others`,
        () => page.evaluate(() => window.call.report()),
        (peers) => peers.length === families.length - 1 && peers.every(({ state, frames }) => state === "connected" && frames >= FRAMES),
        TIMEOUT_MS,
      ).catch((error) => assert.fail([error.message, ...pageErrors].join("\n")));
      await Promise.all(pages.map((page, index) => seesAll(page, families[index])));
      await Promise.all(pages.map((page) => page.close()));
      assert.deepEqual(pageErrors, []);
      await eventually("no peer is left in the room", () => server.participants(room), (ids) => ids.length === 0);
    });
  }
});
