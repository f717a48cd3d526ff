// The reference: renders docs/openapi.json and docs/asyncapi.json.
(() => {
  "use strict";

  // -------------------------------------------------------------------------------------------------------------- words

  /** Creates an element. Attributes that are undefined or false are omitted, and so are children that are null or false. */
  const h = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  };

  /** Renders text in which `this` is code. */
  const words = (text) => text.split(/(`[^`]+`)/).filter(Boolean).map((part) => (part.startsWith("`") ? h("code", {}, part.slice(1, -1)) : part));
  const paragraphs = (text) => (text ?? "").split("\n\n").filter(Boolean).map((part) => h("p", {}, words(part)));

  /** Renders JSON with highlighted tokens. */
  const json = (value) => {
    const tokens = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;
    const text = JSON.stringify(value, null, 2);
    const out = [];
    let end = 0;
    for (const token of text.matchAll(tokens)) {
      out.push(text.slice(end, token.index));
      const [whole, string, colon, word] = token;
      if (string && colon) out.push(h("span", { class: "j-key" }, string), colon);
      else out.push(h("span", { class: string ? "j-text" : word ? "j-word" : "j-number" }, whole));
      end = token.index + whole.length;
    }
    return [...out, text.slice(end)];
  };

  const example = (value, title) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return h("figure", { class: "example" },
      h("figcaption", {}, h("span", {}, title), h("button", { type: "button", class: "copy", "data-copy": text }, "Copy")),
      h("pre", { tabindex: "0", "aria-label": title }, h("code", {}, typeof value === "string" ? value : json(value))));
  };

  const heading = (level, id, ...children) =>
    h(`h${level}`, {}, ...children, h("a", { class: "anchor", href: `#${id}`, "aria-label": "Link to this" }, "#"));

  // ------------------------------------------------------------------------------------------------------------ schemas

  /** Resolves a reference within this document; keys beside the reference take precedence. */
  const resolver = (root) => function resolve(schema) {
    if (!schema?.$ref) return schema ?? {};
    const target = schema.$ref.slice(2).split("/").reduce((at, key) => at[key.replaceAll("~1", "/")], root);
    const { $ref, ...own } = schema;
    return { ...resolve(target), ...own };
  };

  const quoted = (value) => h("code", {}, JSON.stringify(value));
  const listed = (parts, between) => parts.flatMap((part, index) => (index ? [between, part] : [part]));

  /** Describes the type of a value. */
  const kind = (schema, resolve) => {
    const { type, anyOf, oneOf, items, format } = schema;
    if ("const" in schema) return [quoted(schema.const)];
    if (schema.enum) return listed(schema.enum.map(quoted), " | ");
    const choices = anyOf ?? oneOf;
    if (choices) return listed(choices.map((choice) => kind(resolve(choice), resolve)), " | ").flat();
    if (Array.isArray(type)) return [type.map((name) => (name === "string" ? "text" : name)).join(" | ")];
    if (type === "array") return ["array of ", ...(items ? kind(resolve(items), resolve) : ["anything"])];
    if (type === "string") return [format === "date-time" ? "text, ISO 8601" : "text"];
    return [type ?? "anything"];
  };

  /** Describes the bounds of a value. Patterns are explained by the descriptions. */
  const bounds = ({ minimum, maximum, default: preset }) => {
    const isBounded = Number.isSafeInteger(maximum);
    const out = [];
    if (minimum !== undefined && isBounded) out.push(`${minimum} to ${maximum}`);
    else if (minimum) out.push(`at least ${minimum}`);
    if (preset !== undefined) out.push(`default ${preset}`);
    return out.length > 0 && h("small", {}, ` ${out.join(", ")}`);
  };

  /** Returns the object in a schema, if one of its choices or its items is an object. */
  const objectIn = (schema, resolve) => {
    if (schema.properties) return schema;
    if (schema.type === "array" && schema.items) return objectIn(resolve(schema.items), resolve);
    for (const choice of schema.anyOf ?? schema.oneOf ?? []) {
      const found = objectIn(resolve(choice), resolve);
      if (found) return found;
    }
    return null;
  };

  const rowsOf = (schema, resolve, path = []) => Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const value = resolve(property);
    const isOptional = !schema.required?.includes(name);
    const inner = objectIn(value, resolve);
    const parents = path.length > 0 && h("span", { class: "parents" }, `${path.join(".")}.`);
    const row = h("tr", {},
      h("th", { scope: "row" }, h("code", {}, parents, name, isOptional && h("span", { class: "optional", title: "optional" }, "?"))),
      h("td", { class: "type" }, kind(value, resolve), bounds(value)),
      h("td", {}, words(value.description ?? "")));
    const step = value.type === "array" ? `${name}[]` : name;
    return [row, ...(inner ? rowsOf(inner, resolve, [...path, step]) : [])];
  });

  const table = (heads, rows, label) => h("div", { class: "table", role: "region", "aria-label": label, tabindex: "0" },
    h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", {}, rows)));

  const fields = (schema, resolve, label) => {
    const object = objectIn(resolve(schema), resolve);
    const rows = object ? rowsOf(object, resolve) : [];
    return rows.length > 0 && table(["Field", "Type", "Meaning"], rows, label);
  };

  const schemaCards = (schemas, part, resolve) => Object.entries(schemas).map(([name, schema]) => {
    const id = `${part}-schema-${name}`;
    return h("article", { class: "card", id },
      heading(4, id, h("code", { class: "name" }, name)),
      paragraphs(schema.description),
      fields(schema, resolve, `Fields of ${name}`) || h("p", { class: "quiet" }, kind(schema, resolve)));
  });

  // --------------------------------------------------------------------------------------------------------------- REST

  const METHODS = ["get", "post", "put", "patch", "delete"];
  const badge = (method) => h("span", { class: `method method-${method}` }, method.toUpperCase());

  const codesOf = (response, resolve) => {
    const schema = resolve(Object.values(response.content ?? {})[0]?.schema);
    return (schema.allOf ?? []).flatMap((part) => resolve(part).properties?.code?.enum ?? []);
  };

  const renderResponse = (status, response, resolve) => {
    const [type, content] = Object.entries(response.content ?? {})[0] ?? [];
    const headers = Object.entries(response.headers ?? {});
    return h("section", { class: "response" },
      h("p", { class: "response-line" }, h("span", { class: `status status-${status[0]}` }, status), h("span", {}, words(response.description))),
      headers.length > 0 && table(["Header", "Type", "Meaning"], headers.map(([name, value]) => {
        const header = resolve(value);
        return h("tr", {}, h("th", { scope: "row" }, h("code", {}, name)), h("td", { class: "type" }, kind(resolve(header.schema), resolve)), h("td", {}, words(header.description)));
      }), `Headers of ${status}`),
      content && type.includes("json") && fields(content.schema, resolve, `Body of ${status}`),
      content && example(content.example, type.split(";")[0]));
  };

  const restOperation = (path, method, operation, shared, resolve) => {
    const id = `rest-${operation.operationId}`;
    const parameters = [...(shared ?? []), ...(operation.parameters ?? [])].map(resolve);
    const body = operation.requestBody?.content["application/json"];
    const responses = Object.entries(operation.responses).map(([status, response]) => [status, resolve(response)]);
    const refusals = responses.filter(([status, response]) => codesOf(response, resolve).length > 0);
    const successes = responses.filter((entry) => !refusals.includes(entry));
    const token = operation.security?.length > 0 && h("span", { class: "tag" }, "API_TOKEN, if set");
    return h("article", { class: "card", id },
      heading(4, id, badge(method), h("code", { class: "name" }, path)),
      h("p", { class: "summary" }, words(operation.summary), token),
      paragraphs(operation.description),
      parameters.length > 0 && [h("h5", {}, "Parameters"), table(["Name", "Type", "Meaning"], parameters.map((parameter) => {
        const schema = resolve(parameter.schema);
        return h("tr", {},
          h("th", { scope: "row" }, h("code", {}, parameter.name, !parameter.required && h("span", { class: "optional", title: "optional" }, "?")), h("small", {}, ` in the ${parameter.in}`)),
          h("td", { class: "type" }, kind(schema, resolve), bounds(schema)),
          h("td", {}, words([parameter.description, schema.description].filter(Boolean).join(" "))));
      }), "Parameters")],
      body && [h("h5", {}, "Body", !operation.requestBody.required && h("span", { class: "tag" }, "optional")), fields(body.schema, resolve, "Body"),
        Object.values(body.examples ?? {}).map(({ summary, value }) => example(value, summary))],
      h("h5", {}, "Responses"), successes.map(([status, response]) => renderResponse(status, response, resolve)),
      refusals.length > 0 && [h("h5", {}, "Refusals"), table(["Status", "Code", "When"], refusals.map(([status, response]) => h("tr", {},
        h("th", { scope: "row" }, h("span", { class: `status status-${status[0]}` }, status)),
        h("td", { class: "type" }, listed(codesOf(response, resolve).map((code) => h("code", {}, code)), " ")),
        h("td", {}, words(response.description), Object.entries(response.headers ?? {}).map(([name, header]) => [" ", h("code", {}, name), ": ", words(resolve(header).description.replace(/^./, (first) => first.toLowerCase()))])))), "Refusals")]);
  };

  const rest = (document) => {
    const resolve = resolver(document);
    const operations = Object.entries(document.paths).flatMap(([path, item]) =>
      METHODS.filter((method) => item[method]).map((method) => ({ path, method, operation: item[method], shared: item.parameters })));
    const groups = document.tags.map((tag) => ({ ...tag, operations: operations.filter(({ operation }) => operation.tags.includes(tag.name)) }));
    const section = h("section", { class: "part", id: "rest" }, heading(2, "rest", "REST"), paragraphs(document.info.description),
      groups.map(({ name, description, operations }) => [
        h("section", { class: "group", id: `rest-${name}` }, heading(3, `rest-${name}`, name), paragraphs(description)),
        operations.map(({ path, method, operation, shared }) => restOperation(path, method, operation, shared, resolve))]),
      h("section", { class: "group", id: "rest-schemas" }, heading(3, "rest-schemas", "Schemas")), schemaCards(document.components.schemas, "rest", resolve));
    const links = groups.map(({ name, operations }) => ({
      title: name, id: `rest-${name}`,
      links: operations.map(({ path, method, operation }) => ({ id: `rest-${operation.operationId}`, label: [badge(method), h("span", {}, path)] })),
    }));
    links.push({ title: "Schemas", id: "rest-schemas", folded: true, links: schemaLinks(document, "rest") });
    return { section, title: "REST", id: "rest", links };
  };

  const schemaLinks = (document, part) => Object.keys(document.components.schemas).map((name) => ({ id: `${part}-schema-${name}`, label: [name] }));

  // --------------------------------------------------------------------------------------------------------- WebSockets

  const last = (reference) => reference.$ref.split("/").at(-1);
  const idOf = (key) => `message-${key}`;

  const messageCard = (key, message, direction, replies, resolve) => {
    const id = idOf(key);
    return h("article", { class: "card", id },
      heading(4, id, h("span", { class: `origin origin-${direction}` }, direction === "client" ? "you send" : "you receive"), h("code", { class: "name" }, message.title)),
      h("p", { class: "summary" }, words(message.summary)),
      replies.length > 0 && h("p", { class: "replies" }, "Response: ", listed(replies.map(({ key, title }) => h("a", { href: `#${idOf(key)}` }, h("code", {}, title))), " or "), "."),
      fields(message.payload, resolve, `Fields of ${message.title}`),
      message.examples.map(({ payload }) => example(payload, "Example")));
  };

  const sockets = (document) => {
    const resolve = resolver(document);
    const { messages } = document.components;
    const operations = Object.values(document.operations);
    const protocols = Object.entries(document.channels).map(([name, channel]) => {
      const of = (action) => operations.filter((operation) => operation.action === action && last(operation.channel) === name);
      const replies = new Map();
      for (const { messages: asked, reply } of of("receive")) {
        for (const ask of asked) replies.set(last(ask), (reply?.messages ?? []).map((one) => ({ key: last(one), title: messages[last(one)].title })));
      }
      const keys = (action) => of(action).flatMap((operation) => operation.messages.map(last));
      return { name, channel, replies, client: keys("receive"), server: keys("send") };
    });
    const cards = ({ replies, client, server, name }) => [["client", client, "You send"], ["server", server, "You receive"]].map(([direction, keys, title]) => {
      const id = `protocol-${name}-${direction}`;
      return [h("div", { class: "direction", id }, heading(4, id, title)), keys.map((key) => messageCard(key, messages[key], direction, replies.get(key) ?? [], resolve))];
    });
    const section = h("section", { class: "part", id: "websocket" }, heading(2, "websocket", "WebSocket"), paragraphs(document.info.description),
      protocols.map((protocol) => {
        const { name, channel } = protocol;
        const id = `protocol-${name}`;
        const given = [
          ...Object.entries(channel.parameters ?? {}).map(([parameter, { description }]) => [parameter, "in the path", ["text"], description]),
          ...Object.entries(channel.bindings?.ws?.query?.properties ?? {}).map(([parameter, schema]) => [parameter, "in the query", kind(schema, resolve), schema.description, true]),
        ];
        return [
          h("section", { class: "group", id }, heading(3, id, channel.title, h("code", { class: "address" }, channel.address)),
            h("p", { class: "summary" }, words(channel.summary)), paragraphs(channel.description),
            given.length > 0 && table(["Parameter", "Type", "Meaning"], given.map(([parameter, where, type, description, isOptional]) => h("tr", {},
              h("th", { scope: "row" }, h("code", {}, parameter, isOptional && h("span", { class: "optional", title: "optional" }, "?")), h("small", {}, ` ${where}`)),
              h("td", { class: "type" }, type), h("td", {}, words(description)))), "Parameters")),
          cards(protocol)];
      }),
      h("section", { class: "group", id: "websocket-schemas" }, heading(3, "websocket-schemas", "Schemas")), schemaCards(document.components.schemas, "websocket", resolve));
    const links = protocols.flatMap(({ name, channel, client, server }) => [{
      title: channel.title, note: channel.address, id: `protocol-${name}`,
      links: [...client.map((key) => [key, "client", "→"]), ...server.map((key) => [key, "server", "←"])].map(([key, direction, arrow]) => ({
        id: idOf(key), label: [h("span", { class: `arrow origin-${direction}`, "aria-label": direction === "client" ? "you send" : "you receive", role: "img" }, arrow), h("span", {}, messages[key].title)],
      })),
    }]);
    links.push({ title: "Schemas", id: "websocket-schemas", folded: true, links: schemaLinks(document, "websocket") });
    return { section, title: "WebSocket", id: "websocket", links };
  };

  // ----------------------------------------------------------------------------------------------------------- the page

  const contents = (parts) => parts.map(({ title, id, links }) => [
    h("p", { class: "contents-part" }, h("a", { href: `#${id}` }, title)),
    links.map((group) => h("details", { open: !group.folded },
      h("summary", {}, group.title, group.note && h("code", {}, group.note)),
      h("ul", {}, group.links.map((link) => h("li", {}, h("a", { href: `#${link.id}` }, link.label))))))]);

  const follower = (nav) => {
    const links = new Map([...nav.querySelectorAll("#page-contents li a")].map((link) => [link.hash.slice(1), link]));
    const visible = new Set();
    let current;
    const observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) isIntersecting ? visible.add(target) : visible.delete(target);
      const first = [...visible].sort((a, b) => a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1)[0];
      const link = first && links.get(first.id);
      if (!link || link === current) return;
      current?.removeAttribute("aria-current");
      link.setAttribute("aria-current", "location");
      current = link;
      // Scrolls only the contents, not the page.
      const { top, bottom } = link.getBoundingClientRect();
      const frame = nav.getBoundingClientRect();
      if (frame.height > 0 && (top < frame.top || bottom > frame.bottom)) nav.scrollTop += top - frame.top - frame.height / 3;
    }, { rootMargin: "-80px 0px -60% 0px" });
    for (const id of links.keys()) observer.observe(document.getElementById(id));
  };

  const load = async (file) => {
    const response = await fetch(`/docs/${file}`);
    if (!response.ok) throw new Error(`${file}: the server answered ${response.status}`);
    return response.json();
  };

  const copied = async (button) => {
    const notice = document.getElementById("notice");
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      notice.textContent = "Copied.";
    } catch {
      notice.textContent = "The browser does not allow copying.";
    }
    notice.classList.add("is-shown");
    setTimeout(() => notice.classList.remove("is-shown"), 1600);
  };

  const start = async () => {
    document.addEventListener("click", ({ target }) => {
      const button = target.closest("[data-copy]");
      if (button) copied(button);
    });

    const reference = document.getElementById("reference");
    try {
      const [openapi, asyncapi] = await Promise.all([load("openapi.json"), load("asyncapi.json")]);
      const parts = [rest(openapi), sockets(asyncapi)];
      reference.replaceChildren(...parts.map(({ section }) => section));
      document.getElementById("page-contents").replaceChildren(...contents(parts).flat(Infinity));
      follower(document.getElementById("contents"));
      // Again, now that the target exists.
      if (location.hash) location.replace(location.hash);
    } catch (error) {
      reference.replaceChildren(h("p", { class: "state state-error", role: "alert" }, `The documents cannot be displayed. ${error.message}`));
    }
    reference.removeAttribute("aria-busy");
  };
  start();
})();
