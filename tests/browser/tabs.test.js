/**
 * Two tabs of one browser in one room: the second starts with its microphone off.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { launch, Person } from "./support/people.js";
import { startServer } from "./support/server.js";

const isMicrophoneOn = () => document.getElementById("tool-mic").getAttribute("aria-pressed") === "true";

test("a second tab in the same room starts muted, and only there", async (t) => {
  const server = await startServer();
  t.after(() => server.stop());
  const browser = await launch();
  t.after(() => browser.close());

  const first = await Person.open(browser, "First");
  const second = Object.assign(new Person(), { name: "Second", context: first.context, page: await first.context.newPage() });
  await first.join(server.url, "try");
  await second.join(server.url, "try");
  await first.until("the first tab is not muted", isMicrophoneOn);
  assert.equal(await second.page.evaluate(isMicrophoneOn), false);
  assert.match(await second.page.locator("#call-notice").textContent(), /microphone is off.*another tab/);
  // One click turns it on.
  await second.page.getByRole("button", { name: "Microphone" }).click();
  await second.until("the second tab is unmuted", isMicrophoneOn);

  // Another room, and another browser in the same room, are not affected.
  const third = Object.assign(new Person(), { name: "Third", context: first.context, page: await first.context.newPage() });
  await third.join(server.url, "elsewhere");
  const other = await Person.open(browser, "Other");
  await other.join(server.url, "try");
  for (const person of [third, other]) assert.equal(await person.page.evaluate(isMicrophoneOn), true, person.name);
});
