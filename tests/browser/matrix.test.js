/**
 * The oldest and the newest of the versions in matrix.long.test.js.
 */
import { CELLS, runMatrix } from "./matrix/run.js";

const selected = (browser) => {
  const cells = CELLS.filter((cell) => cell.browser === browser);
  return [cells.at(0), cells.at(-1)].filter(Boolean);
};
const [chromium, firefox] = [selected("chromium"), selected("firefox")];

runMatrix([chromium[0], ...firefox.slice(0, 1)], firefox.length ? [[chromium.at(-1), firefox.at(-1)]] : []);
