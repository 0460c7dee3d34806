"use strict";
// Texts of strangers are only ever assigned to textContent; no markup is built from strings.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 30;

  function make(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function address(row) {
    const line = make("p", "soft");
    const shown = row.url || row.location || "";
    let web = false;
    try { web = ["http:", "https:"].includes(new URL(row.url).protocol); } catch { web = false; }
    if (web) {
      const link = make("a", "", shown);
      link.href = row.url;
      link.rel = "noreferrer noopener nofollow";
      line.append(link);
    } else line.append(shown);
    return line;
  }

  const number = value => Number(value.toPrecision(4)).toString();

  function quote(row) {
    const box = make("details", "quote");
    const head = make("summary");
    head.append(make("span", "tag", row.rule), make("span", "lead", (row.text || row.url || row.location || "").slice(0, 120)));
    const body = make("div");
    const facts = [row.source, row.language, "document " + row.id];
    if (row.value !== null) facts.push("measured " + number(row.value));
    if (row.threshold !== null) facts.push("threshold " + number(row.threshold));
    body.append(make("p", "soft", facts.filter(Boolean).join(" \u00b7 ")), address(row));
    const text = make("div", "text", row.text === null ? "The text was not stored; rejected.keep_text keeps it." : row.text);
    text.dir = "auto";
    text.tabIndex = 0;
    body.append(text);
    box.append(head, body);
    return box;
  }

  const form = document.getElementById("filter");
  if (form) {
    const list = document.getElementById("documents-found");
    const told = document.getElementById("documents-count");
    const more = document.getElementById("documents-more");
    let shown = PAGE;
    for (const name of ["rule", "language", "source"]) {
      const counts = new Map();
      for (const row of data.documents) {
        const value = row[name] || "";
        counts.set(value, (counts.get(value) || 0) + 1);
      }
      for (const [value, count] of [...counts].sort((a, b) => b[1] - a[1])) {
        const option = make("option", "", `${value || "unknown"} (${count})`);
        option.value = value;
        form.elements[name].append(option);
      }
      form.elements[name].value = "*";
    }
    const draw = () => {
      const words = form.elements.words.value.toLowerCase();
      const found = data.documents.filter(row =>
        ["rule", "language", "source"].every(name => ["*", row[name] || ""].includes(form.elements[name].value)) &&
        (!words || `${row.text || ""} ${row.url || ""} ${row.id}`.toLowerCase().includes(words)));
      list.replaceChildren(...found.slice(0, shown).map(quote));
      told.textContent = `${found.length} of ${data.documents.length} quoted documents`;
      more.hidden = found.length <= shown;
    };
    form.addEventListener("input", () => { shown = PAGE; draw(); });
    form.addEventListener("submit", event => event.preventDefault());
    more.addEventListener("click", () => {
      const first = shown;
      shown += PAGE;
      draw();
      list.children[first].querySelector("summary").focus();
    });
    draw();
  }

  const pairs = document.getElementById("pairs");
  for (const pair of pairs ? data.pairs : []) {
    const box = make("article", "pair");
    box.append(make("h3", "", `similarity ${pair.similarity.toFixed(3)}, one of ${pair.size} documents`));
    const sides = make("div", "sides");
    for (const [side, title, tag] of [[1, "deleted", "del"], [2, "kept in its place", "ins"]]) {
      const column = make("div");
      const row = side === 1 ? pair.deleted : pair.survivor;
      const text = make("div", "text");
      text.dir = "auto";
      text.tabIndex = 0;
      for (const change of pair.changes) {
        if (change[side]) text.append(change[0] ? change[side] : make(tag, "", change[side]));
      }
      column.append(make("p", "soft", `${title}: document ${row.id}, ${row.source}`), address(row), text);
      sides.append(column);
    }
    box.append(sides);
    pairs.append(box);
  }
})();
