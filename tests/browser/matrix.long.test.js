/**
 * Every version of mediasoup-client that deployed frontends use, with every handler, in both browsers.
 */
import { CELLS, runMatrix } from "./matrix/run.js";

const cellsOf = (browser) => CELLS.filter((cell) => cell.browser === browser);
const firefox = cellsOf("firefox");
// Pairs the oldest in one browser with the newest in the other, and so on.
const pairs = cellsOf("chromium").slice(-firefox.length).reverse().map((cell, index) => [cell, firefox[index]]);

runMatrix(CELLS, firefox.length ? pairs : []);
