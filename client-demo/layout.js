/**
 * Positions the tiles: a grid, with a small tile in the corner, or one large tile and a strip of small ones.
 *
 * @module layout
 */

const GAP = 10;
/** Aspect ratios of a tile, width by height. Narrow ones are for phones in portrait mode; cameras elsewhere are wide. */
const NARROWEST_UPRIGHT = 0.8;
const NARROWEST = 1.2;
const WIDEST = 16 / 9;
/** Minimum size of a tile, in pixels: if more tiles do not fit, the list scrolls. */
const MIN_SIZE = { w: 96, h: 54 };

/** @typedef {[x: number, y: number, width: number, height: number]} Box */

/**
 * Positions the tiles in their list.
 * @param {HTMLElement} list
 * @param {HTMLElement[]} elements
 * @param {{ focus?: HTMLElement, corner?: HTMLElement }} options `focus`: the large one; `corner`: the small one over the others
 */
export function arrange(list, elements, { focus, corner }) {
  // The size without scrollbars, which may no longer be needed.
  list.classList.remove("scrolls");
  const [width, height] = [list.clientWidth, list.clientHeight];
  if (!width || !height || !elements.length) return;
  const isWide = width > height;
  const narrowest = isWide ? NARROWEST : NARROWEST_UPRIGHT;
  const others = elements.filter((element) => element !== focus && element !== corner);
  if (corner) {
    const w = Math.max(MIN_SIZE.w, Math.min(isWide ? 220 : 150, width * (isWide ? 0.2 : 0.28)));
    const h = isWide ? w / WIDEST : w / NARROWEST_UPRIGHT;
    place([corner], [[width - w - GAP, height - h - GAP, w, h]]);
  }
  let boxes;
  if (focus) {
    // The strip is beside the large tile, or below it on a phone in portrait mode.
    const strip = isWide ? Math.max(MIN_SIZE.w, Math.min(220, width * 0.24)) : Math.max(MIN_SIZE.h, Math.min(130, height * 0.24));
    place([focus], [isWide ? [0, 0, width - strip - GAP, height] : [0, 0, width, height - strip - GAP]]);
    const small = isWide ? grid(others.length, strip, height, narrowest, 1) : grid(others.length, width, strip, narrowest, others.length);
    boxes = small.map(([x, y, w, h]) => /** @type {Box} */ (isWide ? [x + width - strip, y, w, h] : [x, y + height - strip, w, h]));
  } else {
    boxes = grid(others.length, width, height, narrowest);
  }
  place(others, boxes);
  list.classList.toggle("scrolls", boxes.some(([x, y, w, h]) => x + w > width + 1 || y + h > height + 1));
}

/**
 * Returns the arrangement of equal tiles that covers most of the space. If they would be too small, it is larger than the space.
 * @param {number} count
 * @param {number} width
 * @param {number} height
 * @param {number} narrowest the minimum aspect ratio of a tile
 * @param {number} [columns] a fixed number of columns
 * @returns {Box[]}
 */
export function grid(count, width, height, narrowest, columns) {
  let best = { area: -1, columns: 1, w: 0, h: 0 };
  for (let tried = columns ?? 1; tried <= (columns ?? count); tried++) {
    const rows = Math.ceil(count / tried);
    let w = (width - GAP * (tried - 1)) / tried;
    let h = (height - GAP * (rows - 1)) / rows;
    if (w / h > WIDEST) w = h * WIDEST;
    if (w / h < narrowest) h = w / narrowest;
    if (w * h > best.area) best = { area: w * h, columns: tried, w, h };
  }
  if (best.w < MIN_SIZE.w || best.h < MIN_SIZE.h) {
    const fitting = columns ?? Math.max(1, Math.floor((width + GAP) / (MIN_SIZE.w + GAP)));
    const isRow = columns === count;
    const w = Math.max(MIN_SIZE.w, isRow ? 0 : (width - GAP * (fitting - 1)) / fitting);
    best = { area: 0, columns: fitting, w, h: Math.max(MIN_SIZE.h, isRow ? Math.min(height, w / narrowest) : w / WIDEST) };
  }
  const { w, h } = best;
  const rows = Math.ceil(count / best.columns);
  const top = Math.max(0, (height - rows * h - (rows - 1) * GAP) / 2);
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / best.columns);
    // The last row may be incomplete; it is centred like the others.
    const inRow = row === rows - 1 ? count - row * best.columns : best.columns;
    const left = Math.max(0, (width - inRow * w - (inRow - 1) * GAP) / 2);
    return [left + (index % best.columns) * (w + GAP), top + row * (h + GAP), w, h];
  });
}

/** @param {HTMLElement[]} elements @param {Box[]} boxes */
function place(elements, boxes) {
  elements.forEach(({ style }, index) => {
    const [x, y, w, h] = boxes[index].map(Math.floor);
    style.setProperty("--x", `${x}px`);
    style.setProperty("--y", `${y}px`);
    style.setProperty("--w", `${w}px`);
    style.setProperty("--h", `${h}px`);
  });
}
