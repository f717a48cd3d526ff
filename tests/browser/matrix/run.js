/**
 * Versions of mediasoup-client in Chromium and Firefox, with each handler that a version has for the browser.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { networkInterfaces } from "node:os";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { launchFirefox } from "../support/firefox.js";
import { launch } from "../support/people.js";
import { eventually, startServer } from "../support/server.js";

/** Firefox offers no loopback candidates if there are others, and does not pair those with loopback. */
const ADDRESS = Object.values(networkInterfaces()).flat().find(({ internal, family }) => !internal && family === "IPv4")?.address;
const PAGE = fileURLToPath(new URL("page.js", import.meta.url));

/** Packages, and their handlers for each browser. */
const HANDLERS = {
  "mediasoup-client-3.6": { chromium: ["Chrome74", "Chrome111"], firefox: ["Firefox60"] },
  "mediasoup-client-3.7": { chromium: ["Chrome74", "Chrome111"], firefox: ["Firefox60", "Firefox120"] },
  "mediasoup-client-3.11": { chromium: ["Chrome74", "Chrome111"], firefox: ["Firefox60", "Firefox120"] },
  "mediasoup-client-3.18": { chromium: ["Chrome74", "Chrome111"], firefox: ["Firefox120"] },
  "mediasoup-client": { chromium: ["Chrome74", "Chrome111"], firefox: ["Firefox120"] },
};

const ALL = Object.entries(HANDLERS).flatMap(([client, handlers]) =>
  Object.entries(handlers).flatMap(([browser, names]) => names.map((handlerName) => ({ client, browser, handlerName }))));

/** Each version, handler and browser. */
export const CELLS = ADDRESS ? ALL : ALL.filter(({ browser }) => browser === "chromium");

/** Firefox60 of the later versions reverses the order of layers, which current Firefox refuses. By default they choose Firefox120 there. */
const hasEncodings = ({ client, handlerName }) => handlerName !== "Firefox60" || client === "mediasoup-client-3.6";

const title = ({ client, browser, handlerName }) => `${client} in ${browser}, ${handlerName}`;

async function bundle(client) {
  const { outputFiles } = await build({
    entryPoints: [PAGE], bundle: true, format: "iife", write: false, alias: { "mediasoup-client": client }, define: { global: "window" },
  });
  return outputFiles[0].text;
}

/** Registers a test of each cell, and of exchanges between the cells of each pair. */
export function runMatrix(cells, pairs) {
  let browsers, server, pages, origin, url;
  const scripts = {};

  before(async () => {
    const clients = [...new Set([...cells, ...pairs.flat()].map(({ client }) => client))];
    await Promise.all(clients.map(async (client) => { scripts[client] = await bundle(client); }));
    pages = createServer((request, response) => {
      const script = scripts[request.url.slice(1).replace(/\.js$/, "")];
      response.setHeader("content-type", script ? "text/javascript" : "text/html");
      response.end(script ?? `<!doctype html><link rel=icon href=data:,><body><script src=${request.url.replace("?", "")}.js></script>`);
    }).listen(0, "127.0.0.1");
    await once(pages, "listening");
    origin = `http://localhost:${pages.address().port}`;
    const media = ADDRESS ? { SFU_HOST: ADDRESS, SFU_PORT: "0" } : {};
    server = await startServer({ env: { CLIENT_URL: origin, RESUME_SECONDS: "0", ...media } });
    url = `${server.url.replace("http", "ws")}/ws`;
    const needed = (name) => [...cells, ...pairs.flat()].some(({ browser }) => browser === name);
    const [chromium, firefox] = await Promise.all([needed("chromium") && launch(), needed("firefox") && launchFirefox()]);
    browsers = { chromium, firefox };
  });

  after(async () => {
    await Promise.all([browsers.chromium, browsers.firefox].map((browser) => browser && browser.close()));
    pages.close();
    await server.stop("SIGKILL");
  });

  async function open({ client, browser }) {
    const page = await browsers[browser].newPage();
    await page.goto(`${origin}/?${client}`);
    return page;
  }

  for (const cell of cells) {
    test(title(cell), async () => {
      const page = await open(cell);
      try {
        await page.evaluate(([url, handler]) => window.callOfTwo(url, handler), [url, { handlerName: cell.handlerName, hasEncodings: hasEncodings(cell) }]);
      } finally {
        await page.close();
      }
      await eventually("no peer is left", server.health, ({ rooms }) => rooms === 0);
    });
  }

  for (const pair of pairs) {
    test(`${title(pair[0])} with ${title(pair[1])}`, async () => {
      const sides = [{ id: "ann", color: "red" }, { id: "ben", color: "blue" }];
      const opened = await Promise.all(pair.map(open));
      try {
        await Promise.all(opened.map((page, index) => page.evaluate(
          ([url, handlerName, side]) => window.exchange(url, handlerName, side),
          [url, pair[index].handlerName, { ...sides[index], other: sides[1 - index] }],
        )));
      } finally {
        await Promise.all(opened.map((page) => page.close()));
      }
      await eventually("no peer is left", server.health, ({ rooms }) => rooms === 0);
    });
  }
}
