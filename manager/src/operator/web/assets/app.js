// Times told by their distance, pages that follow what happens, logs that grow. Everything reads without this script.
"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/* Times */

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function distance(then) {
  const seconds = (then - Date.now()) / 1000;
  for (const [unit, length] of UNITS) {
    // A day and a half is better told as 36 hours.
    if (Math.abs(seconds) >= length * (unit === "day" ? 2 : 1)) return relative.format(Math.trunc(seconds / length), unit);
  }
  return relative.format(0, "second");
}

// As when.rs writes durations.
function took(seconds) {
  const two = (n) => String(n).padStart(2, "0");
  const s = Math.floor(seconds);
  if (s < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
  const days = Math.floor(s / 86400);
  return days < 10 ? `${days} days ${Math.floor((s % 86400) / 3600)} h` : `${days} days`;
}

// The manager writes times in the zone that was chosen; those told by their distance keep that in the tool tip.
function showTimes() {
  for (const time of $$("time[data-show]")) {
    const then = new Date(time.dateTime);
    time.title ||= time.textContent;
    // What is due and has not begun waits for its turn.
    time.textContent = distance(time.dataset.show === "due" ? Math.max(then, Date.now()) : then);
  }
}

// The browser's own zone, among those that can be chosen.
function offerZone() {
  const [zones, own] = [$("#zone"), Intl.DateTimeFormat().resolvedOptions().timeZone];
  if (!zones || !own) return;
  const offered = [...zones.options].find((option) => option.value === own) ?? new Option(own, own);
  offered.textContent = `${own} (this browser)`;
  if (!offered.parentElement) zones.add(offered);
}

function countOn() {
  for (const span of $$("[data-since]")) span.textContent = took((Date.now() - new Date(span.dataset.since)) / 1000);
  for (const bar of $$("progress[data-expected]")) moveBar(bar, Number(bar.dataset.expected));
}

// As progress.rs writes it.
function moveBar(bar, expected) {
  const passed = Math.max(0, (Date.now() - new Date(bar.dataset.began)) / 1000);
  const percent = Math.min(99, (100 * passed) / expected);
  const left = Math.floor(expected - passed);
  bar.value = percent;
  const says = left < 1 ? "longer than usual" : left < 60 ? `about ${left} s left` : `about ${Math.ceil(left / 60)} min left`;
  $(".left", bar.parentElement).textContent = `${Math.floor(percent)}%, ${says}`;
}

/* Copying */

// Without TLS, elsewhere than on the manager's host, browsers have no clipboard for scripts; what is selected they copy.
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("not copied");
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await copy(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copy failed";
  }
  button.focus();
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});

/* Putting a newer version of the page in place */

let fetching = false;
let again = false;

async function refresh() {
  if (fetching) { again = true; return; }
  fetching = true;
  try {
    // The log comes line by line: it need not be read again for this.
    const answer = await fetch(location.href, { headers: { accept: "text/html", "x-refresh": "1" } });
    if (answer.redirected && new URL(answer.url).pathname === "/login") { location.reload(); return; }
    if (answer.ok) swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // The stream of events says when the manager is back.
  } finally {
    fetching = false;
  }
  if (again) { again = false; refresh(); }
}

function swap(fresh) {
  if (document.title !== fresh.title) {
    document.title = fresh.title;
    $("#announce").textContent = fresh.title.split(" · ").slice(0, 2).join(", ");
  }
  const now = fresh.getElementById("content");
  if (!now) return;
  const picked = $$("#content input:checked");
  merge(said, now);
  said = now;
  // A row that came in may have brought one that is picked until somebody picks another.
  for (const input of picked) if (input.isConnected) input.checked = true;
  prepare();
  countOn();
}

// What the server said last, and which node of the page each of its nodes became. Two answers of the server are compared, not
// an answer with the page: that has what the script and its reader made of it (ages, what is open, what is focused). Only what
// the server says differently is touched, and what stays is the same node as before.
let said = $("#content").cloneNode(true);
const nodes = new WeakMap();

function pair(told, shown) {
  nodes.set(told, shown);
  told.childNodes.forEach((child, place) => pair(child, shown.childNodes[place]));
}

function made(told) {
  const shown = document.importNode(told, true);
  pair(told, shown);
  return shown;
}

// By this a node is known again in the server's next answer. A control that does something else is another node, so a press
// that has begun on one never presses the other; and so is another time, for its tool tip.
function key(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return node.nodeName;
  const name = node.dataset.part || node.id;
  if (name) return `${node.nodeName} ${name}`;
  if (node.nodeName === "TIME") return node.outerHTML;
  if (!node.matches("a, button, form, input, option")) return node.nodeName;
  return [node.nodeName, ...DOES.map((does) => node.getAttribute(does))].join("\n");
}
const DOES = ["href", "action", "formaction", "form", "name", "value", "data-copy"];

function merge(before, now) {
  const shown = nodes.get(before);
  nodes.set(now, shown);
  if (now.nodeType !== Node.ELEMENT_NODE) {
    if (before.data !== now.data) shown.data = now.data;
    return;
  }
  mergeAttributes(before, now, shown);
  // The log comes line by line.
  if ("keep" in now.dataset) return;
  const told = [...before.childNodes];
  if (told.length === shown.childNodes.length && told.every((child, place) => nodes.get(child) === shown.childNodes[place])) {
    mergeChildren(told, [...now.childNodes], shown);
  } else if (before.innerHTML !== now.innerHTML) {
    // The script has written what is there.
    shown.replaceChildren(...[...now.childNodes].map(made));
  }
}

function mergeAttributes(before, now, shown) {
  for (const { name } of [...before.attributes, ...now.attributes]) {
    const value = now.getAttribute(name);
    if (before.getAttribute(name) === value || (name === "open" && shown.dataset.touched)) continue;
    if (value === null) shown.removeAttribute(name);
    else shown.setAttribute(name, value);
  }
}

function mergeChildren(before, now, shown) {
  const left = new Map();
  for (const child of before) left.set(key(child), [...(left.get(key(child)) ?? []), child]);
  const wanted = now.map((child) => {
    const same = left.get(key(child))?.shift();
    if (!same) return made(child);
    merge(same, child);
    return nodes.get(same);
  });
  for (const gone of [...left.values()].flat()) nodes.get(gone).remove();
  const there = [...shown.childNodes];
  const stays = unmoved(wanted.map((node) => there.indexOf(node)), wanted.map(isHeld));
  for (let place = wanted.length - 1; place >= 0; place--) {
    if (!stays.has(place)) shown.insertBefore(wanted[place], wanted[place + 1] ?? null);
  }
}

// A node that is taken out of the page and put back loses the focus, and a press that has begun.
const isHeld = (node) => node.contains(document.activeElement) || (node.nodeType === Node.ELEMENT_NODE && node.matches(":active"));

// Which nodes are not moved, by where each is now (-1: nowhere yet): as many as can be, and those that are held.
function unmoved(places, held) {
  const runs = [];
  let best = -1;
  places.forEach((place, index) => {
    if (place < 0) return;
    runs[index] = { weight: 0, after: -1 };
    for (let other = 0; other < index; other++) {
      if (runs[other]?.weight > runs[index].weight && places[other] < place) runs[index] = { weight: runs[other].weight, after: other };
    }
    runs[index].weight += held[index] ? places.length : 1;
    if (best < 0 || runs[index].weight > runs[best].weight) best = index;
  });
  const stays = new Set();
  for (; best >= 0; best = runs[best].after) stays.add(best);
  return stays;
}

function prepare() {
  showTimes();
  for (const button of $$("[data-copy]")) button.hidden = false;
}

// What somebody has opened or closed stays so.
document.addEventListener("click", (event) => {
  const details = event.target.closest("summary")?.parentElement;
  if (details) details.dataset.touched = "1";
});

/* Events */

let stream = null;
let logEnd = null;

function connect() {
  const address = document.body.dataset.events;
  if (!address || stream) return;
  const url = new URL(address, location.href);
  if (logEnd !== null) url.searchParams.set("from", logEnd);
  stream = new EventSource(url);
  stream.addEventListener("hello", () => { linked(true); refresh(); });
  stream.addEventListener("changed", refresh);
  stream.addEventListener("progress", (event) => showProgress(JSON.parse(event.data)));
  stream.addEventListener("log", (event) => { logEnd = event.lastEventId; addLines(JSON.parse(event.data)); });
  stream.addEventListener("end", () => { disconnect(); ended(); refresh(); });
  stream.addEventListener("error", () => {
    linked(false);
    // A refused stream is not tried again by the browser.
    if (stream && stream.readyState === EventSource.CLOSED) { stream = null; setTimeout(connect, 5000); }
  });
}

function disconnect() {
  if (stream) stream.close();
  stream = null;
}

function linked(well) {
  const link = $("#link");
  if (!link) return;
  link.hidden = false;
  link.classList.toggle("lost", !well);
  link.textContent = well ? "live" : "connection lost, reconnecting";
}

function ended() {
  delete document.body.dataset.events;
  for (const id of ["#link", "#follow-label"]) if ($(id)) $(id).hidden = true;
}

function showProgress({ target, stage, fraction, detail }) {
  const key = target ? `${target} ${stage}` : stage;
  const row = $(`.stages [data-stage="${CSS.escape(key)}"]`);
  const shown = row && $(".detail", row);
  if (!shown) return;
  shown.textContent = fraction >= 0 ? `${Math.floor(100 * fraction)}% · ${detail}` : detail;
}

/* The log */

const LINES_KEPT = 5000;

function element(name, kind, text = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.textContent = text;
  return made;
}

// A line as log_lines.rs writes it.
function lineOf({ n, at, text, bad }) {
  const line = element("span", bad ? "line bad" : "line");
  // A line without an end comes in pieces.
  if (!document.getElementById(`L${n}`)) line.id = `L${n}`;
  const number = element("a", "no", n);
  number.href = `${$("#log-lines").dataset.line}${n}#L${n}`;
  line.append(number);
  if (at) line.append(element("span", "at", at));
  line.append(`${text}\n`);
  return line;
}

// The section that lines are in; one that begins now is open. What the agent said has none.
function sectionOf({ id, name }) {
  const log = $("#log-lines");
  if (!name) return log;
  // Without an id it is the one that was last when the stream was lost.
  const there = id ? $(`#part-${id}`) : $$(".part", log).at(-1);
  if (there) return there;
  const section = element("details", "part");
  section.id = `part-${id}`;
  section.open = true;
  const summary = element("summary");
  summary.append(element("h3", "", name), element("span", "told"));
  section.append(summary);
  log.append(section);
  return section;
}

function addLines({ again, parts }) {
  const log = $("#log-lines");
  const follows = $("#follow")?.checked;
  if (again) log.replaceChildren();
  let count = 0;
  for (const part of parts) {
    const section = sectionOf(part);
    if (part.told) $(".told", section).textContent = part.told;
    if (part.lines.length === 0) continue;
    if (section.lastElementChild?.tagName !== "PRE") section.append(element("pre"));
    section.lastElementChild.append(...part.lines.map(lineOf));
    count += part.lines.length;
  }
  $("#log-hint").textContent = "";
  const lines = $$(".line", log);
  for (const line of lines.slice(0, Math.max(0, lines.length - LINES_KEPT))) {
    line.remove();
    $("#log-hint").textContent = "Earlier lines are not shown here; the full log has them.";
  }
  filterLines(count);
  if (follows) log.scrollTop = log.scrollHeight;
}

// What a line says, without its number and time.
const textOf = (line) => [...line.childNodes].slice($$(".no, .at", line).length).map((node) => node.textContent).join("");

// While somebody types, only lines that contain it are shown, and their sections; Enter searches the whole file.
function filterLines(newest = Infinity) {
  const wanted = $("#search").value.trim().toLowerCase();
  const lines = $$("#log-lines .line");
  for (const line of newest === Infinity ? lines : lines.slice(lines.length - newest)) {
    line.hidden = wanted !== "" && !textOf(line).toLowerCase().includes(wanted);
  }
  for (const section of $$("#log-lines .part")) {
    section.hidden = wanted !== "" && !$(".line:not([hidden])", section);
    if (wanted !== "") section.open = true;
  }
}

function startLog() {
  const log = $("#log-lines");
  if (!log) return;
  const searched = new URLSearchParams(location.search).get("q");
  const follow = $("#follow");
  $("#search").addEventListener("input", () => filterLines());
  $("#open-all")?.addEventListener("click", (event) => {
    event.preventDefault();
    for (const section of $$(".part", log)) section.open = true;
  });
  if (searched) { markFound(log, searched); return; }
  const wanted = $(".line[aria-current]", log);
  // Where a build failed, if that is not at the end; while more comes, the end is followed.
  const failing = follow ? undefined : $$("[data-failing]:not(:last-child) .bad", log).at(-1);
  const line = wanted ?? failing;
  log.scrollTop = line ? line.offsetTop - log.clientHeight / 2 : log.scrollHeight;
  if (!follow) return;
  $("#follow-label").hidden = false;
  follow.addEventListener("change", () => { if (follow.checked) log.scrollTop = log.scrollHeight; });
  // Whoever scrolls up wants to read; whoever scrolls to the end wants to follow again.
  log.addEventListener("scroll", () => {
    follow.checked = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
  });
}

function markFound(log, wanted) {
  const needle = wanted.trim().toLowerCase();
  for (const line of $$(".line", log)) {
    const text = line.lastChild;
    const start = text.data.toLowerCase().indexOf(needle);
    if (start < 0) continue;
    const rest = text.splitText(start);
    rest.splitText(Math.min(needle.length, rest.length));
    const mark = document.createElement("mark");
    rest.replaceWith(mark);
    mark.append(rest);
  }
}

/* Charts: what is pointed at is told in words */

document.addEventListener("pointerover", (event) => {
  const point = event.target.closest?.(".chart .hit");
  const readout = point && $(".readout", point.closest("figure"));
  if (readout) readout.textContent = $("title", point).textContent.replaceAll("\n", " · ");
});

/* Beginning */

pair(said, $("#content"));
offerZone();
prepare();
countOn();
startLog();
connect();
setInterval(countOn, 1000);
setInterval(showTimes, 30000);
// Browsers open few connections to one host: a page that nobody looks at needs none.
document.addEventListener("visibilitychange", () => { if (document.hidden) disconnect(); else connect(); });
