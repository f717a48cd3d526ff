/**
 * Accessibility: small windows, unusual names, focus, and the rules of axe in the lobby, the call, the chat and the settings, light and dark.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch, Person } from "./support/people.js";
import { startServer } from "./support/server.js";

const AXE = readFileSync(fileURLToPath(new URL("node_modules/axe-core/axe.min.js", import.meta.url)), "utf8");
const MIN_TILE = { width: 96, height: 54 };
const NAMES = {
  long: "Dorothea Wolfeschlegelsteinhausenbergerdorff the Elder",
  rightToLeft: "סבטלנה (ירושלים)",
  hidden: "\u202eA\u200bn\u2060n\u202c",
  emoji: "👩‍👩‍👧‍👦 Family 🏳️‍🌈",
};

describe("accessibility", () => {
  let server, browser, ada;

  before(async () => {
    server = await startServer({ env: { MAX_ROOM_SIZE: "40" } });
    browser = await launch();
    ada = await Person.open(browser, "Ada");
  });

  after(async () => {
    await browser?.close();
    await server?.stop();
  });

  /** Checks the rules of axe in both themes. */
  async function checkRules(what) {
    for (const colorScheme of ["light", "dark"]) {
      await ada.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await ada.until(`the page is ${colorScheme}`, (wanted) => document.documentElement.dataset.theme === wanted, colorScheme);
      await ada.page.evaluate(AXE);
      const found = await ada.page.evaluate(async () => {
        const { violations } = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
        return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`));
      });
      assert.deepEqual(found, [], `${what}, ${colorScheme}`);
    }
  }

  const isVisible = (id) => ada.page.evaluate((id) => {
    const { top, bottom, left, right } = document.getElementById(id).getBoundingClientRect();
    const element = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    return top >= 0 && bottom <= innerHeight && left >= 0 && right <= innerWidth && element?.id === id;
  }, id);
  const focused = () => ada.page.evaluate(() => document.activeElement.id);

  test("Join is visible without scrolling, on a phone and on a small laptop", async () => {
    await ada.page.goto(`${server.url}/?room=salon`);
    await ada.devicesAsked();
    for (const [width, height] of [[390, 844], [1280, 720], [360, 640], [844, 390]]) {
      await ada.page.setViewportSize({ width, height });
      assert.ok(await isVisible("join"), `at ${width}×${height}`);
    }
    await ada.page.setViewportSize({ width: 1280, height: 720 });
    await ada.openOptions();
    await checkRules("the lobby");
  });

  test("the focus is on Join after a refusal, and on the room name in the call", async () => {
    const full = await startServer({ env: { MAX_ROOM_SIZE: "1" } });
    const first = await Person.open(browser, "First");
    await first.join(full.url, "salon");
    await ada.requestJoin(full.url, "salon");
    await ada.page.getByText("This room is full").waitFor();
    assert.equal(await focused(), "join");
    await first.hangUp();
    await full.stop();
    await ada.join(server.url, "salon");
    assert.equal(await focused(), "room-name");
  });

  test("names are shown with their own direction, without characters that hide or reorder text", async () => {
    await ada.page.evaluate(addPeople, Object.values(NAMES));
    const shown = await ada.until("all are shown", (count) => {
      const names = [...document.querySelectorAll(".tile:not(.tile-self) bdi.tile-name")].map(({ textContent }) => textContent);
      return names.length === count && names;
    }, Object.keys(NAMES).length);
    assert.deepEqual(shown.sort(), [NAMES.long.slice(0, 40), NAMES.rightToLeft, "Ann", NAMES.emoji].sort());
    const faces = await ada.page.evaluate(() => [...document.querySelectorAll(".tile:not(.tile-self) .tile-face")].map(({ textContent }) => textContent));
    assert.ok(faces.includes("👩‍👩‍👧‍👦🏳️‍🌈"), faces.join());
  });

  test("the call, the people, the chat and the settings", async () => {
    await checkRules("the call");
    await ada.page.keyboard.press("t");
    await checkRules("the people");
    await ada.page.keyboard.press("t");
    await ada.sendMessage("Hello");
    await checkRules("the chat");
    await ada.page.keyboard.press("Escape");
    await ada.page.keyboard.press("?");
    await checkRules("the settings");
    await ada.page.keyboard.press("Escape");
    await ada.page.getByRole("dialog").waitFor({ state: "hidden" });
    await ada.page.getByRole("button", { name: "More" }).click();
    await checkRules("the menu");
    await ada.page.keyboard.press("Escape");
  });

  test("the accessible names of the buttons contain their text", async () => {
    const mismatches = await ada.page.evaluate(() => [...document.querySelectorAll(".tool")].flatMap((tool) => {
      const word = tool.querySelector(".tool-word").textContent.toLowerCase();
      return tool.getAttribute("aria-label").toLowerCase().includes(word) ? [] : [`${word}: ${tool.getAttribute("aria-label")}`];
    }));
    assert.deepEqual(mismatches, []);
  });

  test("beside a large tile the small ones keep a minimum size and scroll, and nothing else does", async () => {
    await ada.page.evaluate(addPeople, Array.from({ length: 20 }, (_, index) => `Listener ${index + 1}`));
    await ada.until("all of them are shown", () => document.querySelectorAll(".tile").length === 25);
    await ada.page.locator(".tile:not(.tile-self)").first().dblclick();
    for (const [width, height] of [[390, 844], [844, 390], [1280, 720]]) {
      await ada.page.setViewportSize({ width, height });
      const layout = await ada.until("the tiles fit", () => {
        const list = document.getElementById("tiles");
        const boxes = [...list.querySelectorAll(".tile:not(.tile-focus)")].map((tile) => tile.getBoundingClientRect());
        const page = document.documentElement;
        const result = {
          width: Math.min(...boxes.map(({ width }) => width)),
          height: Math.min(...boxes.map(({ height }) => height)),
          scrolls: list.scrollWidth > list.clientWidth || list.scrollHeight > list.clientHeight,
          page: page.scrollWidth > page.clientWidth || page.scrollHeight > page.clientHeight,
        };
        return result.scrolls && result;
      });
      assert.ok(layout.width >= MIN_TILE.width && layout.height >= MIN_TILE.height, `${width}×${height}: ${JSON.stringify(layout)}`);
      assert.equal(layout.page, false, "the page itself does not scroll");
      assert.ok(await ada.page.evaluate(() => {
        const list = document.getElementById("tiles");
        const before = list.querySelector(".tile-focus").getBoundingClientRect();
        list.scrollTo(10_000, 10_000);
        const after = list.querySelector(".tile-focus").getBoundingClientRect();
        return before.top === after.top && before.left === after.left && list.scrollLeft + list.scrollTop > 0;
      }), "the large tile stays while the others scroll");
    }
    // The lobby of the full room requests its members after that server has stopped.
    assert.deepEqual(ada.consoleErrors.filter((one) => !one.includes("ERR_CONNECTION_REFUSED")), []);
    await ada.hangUp();
  });
});

/** Runs in the page: adds people who send no media. */
function addPeople(names) {
  window.guests = [...(window.guests ?? []), ...names.map((displayName) => {
    const socket = new WebSocket(`ws://${location.host}/ws`);
    const payload = { roomId: window.parlor.room(), displayName, metadata: { media: "auto" } };
    socket.onopen = () => socket.send(JSON.stringify({ type: "room:join", payload, timestamp: Date.now() }));
    return socket;
  })];
}
