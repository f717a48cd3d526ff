// Every page of the documentation: the contents on small screens, and search.
(() => {
  "use strict";

  const MOST_RESULTS = 20;
  /** Characters of a text that are shown around the first match. */
  const EXCERPT = 180;
  let index;
  const load = () => (index ??= fetch("/docs/search.json").then((response) => response.json()));

  /** Returns the sections that contain every word, best first: matches in headings count most. */
  const find = (sections, words) => {
    const rank = ({ page, heading, text }) => {
      let total = 0;
      for (const word of words) {
        const score = (heading.toLowerCase().includes(word) ? 10 : 0) + (page.toLowerCase().includes(word) ? 4 : 0)
          + Math.min(3, text.toLowerCase().split(word).length - 1);
        if (!score) return 0;
        total += score;
      }
      return total;
    };
    const ranked = sections.map((section) => ({ section, score: rank(section) })).filter(({ score }) => score > 0);
    return ranked.sort((a, b) => b.score - a.score).slice(0, MOST_RESULTS).map(({ section }) => section);
  };

  const element = (tag, attributes, ...children) => {
    const made = Object.assign(document.createElement(tag), attributes);
    made.append(...children);
    return made;
  };

  const excerpt = (text, words) => {
    const first = Math.min(...words.map((word) => text.toLowerCase().indexOf(word)).filter((at) => at >= 0), text.length);
    const start = Math.max(0, first - 60);
    const part = (start ? "… " : "") + text.slice(start, start + EXCERPT) + (start + EXCERPT < text.length ? " …" : "");
    const pattern = new RegExp(`(${words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})`, "i");
    return element("p", {}, ...part.split(new RegExp(pattern, "gi")).map((piece) => (pattern.test(piece) ? element("mark", {}, piece) : piece)));
  };

  const search = async (input, results, article) => {
    const asked = input.value;
    const words = asked.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) {
      results.hidden = true;
      article.hidden = false;
      return;
    }
    const found = find(await load(), words);
    // Superseded by a later key press.
    if (input.value !== asked) return;
    const items = found.map(({ url, page, heading, text }) => {
      const title = heading && heading !== page ? `${page}: ${heading}` : page;
      return element("li", {}, element("a", { href: url }, title), excerpt(text, words));
    });
    results.replaceChildren(
      element("h2", {}, found.length ? `Results for “${asked.trim()}”` : `Nothing found for “${asked.trim()}”`), element("ul", {}, ...items));
    results.hidden = false;
    article.hidden = true;
  };

  const at = (id) => document.getElementById(id);
  const [nav, menu, input, results, article] = [at("contents"), at("menu"), at("search"), at("results"), at("article")];
  const fold = (isOpen) => {
    menu.setAttribute("aria-expanded", isOpen);
    nav.classList.toggle("is-open", isOpen);
  };
  menu.addEventListener("click", () => fold(menu.getAttribute("aria-expanded") !== "true"));
  nav.addEventListener("click", ({ target }) => target.closest("a") && fold(false));
  const update = () => search(input, results, article);
  input.addEventListener("focus", load, { once: true });
  input.addEventListener("input", update);
  const clear = () => {
    input.value = "";
    update();
  };
  results.addEventListener("click", ({ target }) => target.closest("a") && clear());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      fold(false);
      clear();
    } else if (event.key === "/" && !event.target.closest("input, textarea, select")) {
      event.preventDefault();
      input.focus();
    }
  });
})();
