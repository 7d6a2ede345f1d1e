(() => {
  "use strict";
  if (window !== window.top) return;
  const own = document.currentScript;
  const NEWS = "/.ringpress/dev";
  const STYLE = `
    :host { all: initial; color-scheme: light dark;
      --paper: #fff; --ink: #1d1f23; --soft: #5d636e; --line: #d9dce1; --code: #f5f6f8;
      --bad: #c02626; --mark: #ffd9d6; --row: #fdeeed; --hint: #0b5c38; }
    @media (prefers-color-scheme: dark) { :host {
      --paper: #1b1d22; --ink: #e8eaee; --soft: #a3a9b5; --line: #383c45; --code: #121317;
      --bad: #ff7b72; --mark: #7a2a2a; --row: #2c1c1e; --hint: #6fd3a0; } }
    * { box-sizing: border-box; }
    .shade { position: fixed; inset: 0; z-index: 2147483647; overflow: auto; padding: 5vh 1rem;
      background: rgb(10 12 16 / .55); font: 15px/1.5 system-ui, sans-serif; color: var(--ink); }
    section { max-width: 62rem; margin: 0 auto; background: var(--paper); border-radius: 10px;
      border-top: 5px solid var(--bad); padding: 1.25rem 1.5rem 1rem; outline: none;
      box-shadow: 0 12px 48px rgb(0 0 0 / .35); }
    header { display: flex; gap: 1rem; align-items: start; }
    h1 { flex: 1; margin: 0; font-size: 1.3rem; line-height: 1.3; color: var(--bad); }
    h2 { margin: 1.4rem 0 .4rem; font-size: .95rem; }
    p { margin: .3rem 0; overflow-wrap: anywhere; }
    .note, .foot { color: var(--soft); font-size: .9rem; }
    .message { margin: 1.2rem 0 .5rem; font-weight: 600; white-space: pre-wrap; }
    .hint { color: var(--hint); }
    .foot { margin-top: 1.2rem; }
    .frame { border: 1px solid var(--line); border-radius: 6px; overflow: hidden; }
    .file { padding: .3rem .75rem; border-bottom: 1px solid var(--line); color: var(--soft); }
    .file, .number, code, td { font: 13px/1.55 ui-monospace, "SFMono-Regular", Menlo, monospace; }
    .lines { position: relative; overflow-x: auto; padding: .4rem 0; background: var(--code); }
    .lines:focus-visible { outline: 2px solid var(--bad); outline-offset: -2px; }
    .lines > div { display: flex; width: max-content; min-width: 100%; }
    .lines .number { flex: none; width: 4.2em; padding-right: 1em; text-align: right;
      color: var(--soft); user-select: none; }
    code { white-space: pre; padding-right: 1rem; }
    .meant { background: var(--row); }
    .meant .number { color: var(--bad); font-weight: 700; }
    mark { background: var(--mark); color: inherit; border-radius: 2px;
      box-shadow: 0 0 0 1px var(--bad); }
    .wide { overflow-x: auto; }
    table { border-collapse: collapse; width: 100%; }
    th, td { text-align: left; padding: .2rem .75rem .2rem 0; vertical-align: top;
      border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
    th { font-size: .8rem; color: var(--soft); font-weight: 500; white-space: nowrap; }
    tr.failed td { color: var(--bad); }
    button { font: inherit; color: inherit; background: none; border: 1px solid var(--line);
      border-radius: 6px; padding: .15rem .6rem; cursor: pointer; }
    .badge { position: fixed; right: 1rem; bottom: 1rem; z-index: 2147483647; color: var(--bad);
      background: var(--paper); border-color: var(--bad); font: 14px/1.6 system-ui, sans-serif;
      box-shadow: 0 4px 16px rgb(0 0 0 / .25); }
    @media (max-width: 40rem) { .shade { padding: 0; } section { border-radius: 0; padding: 1rem; }
      .lines .number { width: 3.2em; } }`;

  let seen = own.dataset.seen;
  let root = null;
  let asked = null;

  const put = (parent, name, content, kind) => {
    const element = parent.appendChild(document.createElement(name));
    if (content !== undefined && content !== null) element.textContent = content;
    if (kind) element.className = kind;
    return element;
  };

  const putLine = (parent, problem, [number, text]) => {
    const row = put(parent, "div");
    put(row, "span", number, "number");
    const code = put(row, "code");
    if (number !== problem.line) return void (code.textContent = text || " ");
    row.className = "meant";
    // Columns count characters, not units of UTF-16.
    const characters = Array.from(text);
    const start = problem.column > 0 ? problem.column - 1 : characters.length;
    code.append(characters.slice(0, start).join(""));
    const meant = characters.slice(start, start + problem.width).join("");
    if (meant) put(code, "mark", meant);
    code.append(characters.slice(start + problem.width).join(""));
  };

  const putProblem = (parent, problem) => {
    put(parent, "p", problem.message, "message");
    if (problem.file) {
      const frame = put(parent, "div", null, "frame");
      put(frame, "div", problem.file + (problem.line ? `:${problem.line}` : ""), "file");
      if (problem.lines.length) {
        const lines = put(frame, "div", null, "lines");
        // For those who scroll by keys.
        lines.tabIndex = 0;
        lines.setAttribute("role", "region");
        lines.setAttribute("aria-label", problem.file);
        problem.lines.forEach((line) => putLine(lines, problem, line));
        const mark = lines.querySelector("mark");
        const hidden = mark ? mark.offsetLeft + mark.offsetWidth - lines.clientWidth : 0;
        if (hidden > 0) lines.scrollLeft = Math.min(mark.offsetLeft - 48, hidden + 48);
      }
    }
    if (problem.hint) put(parent, "p", `help: ${problem.hint}`, "hint");
  };

  const putFetches = (parent, fetches) => {
    put(parent, "h2", "Fetches of this page");
    const table = put(put(parent, "div", null, "wide"), "table");
    const head = put(put(table, "thead"), "tr");
    ["name", "status", "took", "url"].forEach((title) => put(head, "th", title));
    const body = put(table, "tbody");
    for (const fetch of fetches) {
      const row = put(body, "tr", null, fetch.is_failure ? "failed" : "");
      const cells = [fetch.name, fetch.status ?? "none", `${fetch.took_ms} ms`, fetch.url];
      cells.forEach((cell) => put(row, "td", cell));
    }
  };

  const clear = () => {
    if (!root) {
      const host = document.createElement("ringpress-overlay");
      document.documentElement.append(host);
      root = host.attachShadow({ mode: "open" });
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      root.adoptedStyleSheets = [sheet];
    }
    root.replaceChildren();
  };

  const fold = (told) => {
    clear();
    const badge = put(root, "button", `${told.title} · why?`, "badge");
    badge.onclick = () => unfold(told);
  };

  const unfold = (told) => {
    clear();
    const shade = put(root, "div", null, "shade");
    const box = put(shade, "section");
    box.tabIndex = -1;
    box.setAttribute("role", "dialog");
    box.setAttribute("aria-label", told.title);
    const header = put(box, "header");
    put(header, "h1", told.title);
    put(header, "button", "Close").onclick = () => fold(told);
    if (told.note) put(box, "p", told.note, "note");
    told.problems.forEach((problem) => putProblem(box, problem));
    if (told.more) put(box, "p", `and ${told.more} more: ringpress check shows them all`, "note");
    if (told.fetches.length) putFetches(box, told.fetches);
    if (told.pages.length) {
      put(box, "h2", "Pages of this site");
      told.pages.forEach((page) => put(put(box, "p"), "code", page));
    }
    put(box, "p", "This goes away when the files are saved without it. Esc closes it.", "foot");
    shade.onkeydown = (event) => event.key === "Escape" && fold(told);
    shade.onclick = (event) => event.target === shade && fold(told);
    box.focus({ preventScroll: true });
  };

  const show = (told) => (told.folded ? fold(told) : unfold(told));

  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  // One question at a time, and none from pages that nobody sees: a browser has few connections.
  const ask = async () => {
    while (!document.hidden) {
      asked = new AbortController();
      try {
        const url = `${NEWS}?seen=${seen}`;
        const answer = await fetch(url, { signal: asked.signal, cache: "no-store" });
        if (answer.status === 200) {
          const news = await answer.json();
          if (!news.told) return location.reload();
          seen = news.number;
          show(news.told);
        } else if (answer.status !== 204) {
          await pause(2000);
        }
      } catch {
        // The server is away: it may come back, and then has another number.
        if (!document.hidden) await pause(500);
      }
    }
    asked = null;
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) asked?.abort();
    else if (!asked) ask();
  });
  const told = document.getElementById("ringpress-told");
  if (told) show(JSON.parse(told.textContent));
  ask();
})();
