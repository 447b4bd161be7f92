// Makes the page live; without this file everything works by sending forms and loading the page again.
const log = document.getElementById("log");
const answers = document.getElementById("answers");
const live = document.getElementById("live");
const line = document.getElementById("line");
let stream = null;
let seen = "";
let cameBack = false;

if (log) {
  for (const said of [...answers.children]) tell(said);
  document.addEventListener("submit", send);
  document.addEventListener("visibilitychange", connect);
  line.addEventListener("keydown", recall);
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", connect);
  if (matchMedia("(pointer: fine)").matches && !document.querySelector(".questions")) line.focus();
  connect();
}

// A hidden tab gives its connection back: a browser has six for one site, and there may be a tab for each of the cast.
function connect() {
  if (document.hidden) return disconnect();
  if (stream && stream.readyState !== EventSource.CLOSED) return;
  stream = new EventSource(seen ? log.dataset.events.replace(/after=\d+$/, "after=" + seen) : log.dataset.events);
  stream.addEventListener("open", () => {
    say("on", "live");
    // Whoever comes back is told what is stopped; silence means that nothing is.
    if (cameBack) document.getElementById("stopped")?.replaceChildren();
    cameBack = true;
  });
  stream.addEventListener("error", () => {
    say("off", "reconnecting …");
    if (stream && stream.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  });
  stream.addEventListener("stopped", (event) => document.getElementById("stopped")?.replaceWith(parse(event.data)));
  stream.addEventListener("message", (event) => {
    seen = event.lastEventId;
    show(parse(event.data));
  });
}

function disconnect() {
  if (stream) stream.close();
  stream = null;
}

function say(state, text) {
  live.className = "live " + state;
  live.textContent = text;
}

function show(fresh) {
  const old = document.getElementById(fresh.id);
  document.getElementById("empty")?.remove();
  if (!old) {
    fresh.classList.add("fresh");
    log.append(fresh);
  } else if (old.dataset.version !== fresh.dataset.version) {
    const before = old.querySelector(":scope > article");
    const after = fresh.querySelector(":scope > article");
    keep(before, after);
    const focused = before.contains(document.activeElement) ? place(before, document.activeElement) : "";
    before.replaceWith(after);
    old.querySelector(":scope > .beneath")?.remove();
    const beneath = fresh.querySelector(":scope > .beneath");
    if (beneath) after.after(beneath);
    old.dataset.version = fresh.dataset.version;
    if (focused) after.querySelector(focused)?.focus();
  }
}

// What somebody opened or began to write in a card outlives the card's next version.
function keep(before, after) {
  for (const open of before.querySelectorAll("details[open][data-keep]")) {
    const same = after.querySelector(`details[data-keep="${CSS.escape(open.dataset.keep)}"]`);
    if (!same) continue;
    same.open = true;
    const written = open.querySelector("textarea");
    if (written && same.querySelector("textarea")) same.querySelector("textarea").value = written.value;
  }
}

function place(card, element) {
  const asked = element.closest("details[data-keep]");
  if (asked) return `details[data-keep="${CSS.escape(asked.dataset.keep)}"] ${element.localName}`;
  const intent = element.closest("form")?.elements.namedItem("intent")?.value;
  return intent ? `form:has(input[value="${CSS.escape(intent)}"]) button` : "";
}

async function send(event) {
  const form = event.target;
  const path = new URL(form.action).pathname;
  if (!path.startsWith("/room/")) return;
  event.preventDefault();
  const button = form.querySelector("button[type=submit]");
  const typed = form.id === "say" ? line.value : "";
  // The card may be replaced by its next version before the answer is here; the message stays.
  const message = form.closest(".message");
  button.disabled = true;
  try {
    const response = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { "Countersign-Part": "1" },
    });
    answer(form, message, parse(await response.text()), response.ok);
    form.elements.namedItem("key").value = key();
    if (form.id === "say" && response.ok) {
      remember(typed);
      line.value = "";
    }
  } catch {
    // The key stays the same, so sending again is the same request.
    const note = parse('<div class="said bad" role="alert"><p class="text"></p></div>');
    note.querySelector("p").textContent = "The hub does not answer. Nothing is lost: send it again in a moment.";
    answer(form, message, note, false);
  } finally {
    button.disabled = false;
  }
}

function answer(form, message, part, well) {
  const ask = form.closest("details.ask");
  if (ask && well) ask.open = false;
  const own = message?.querySelector(":scope > .answers");
  const old = form.classList.contains("questions") ? form.closest(".said") : null;
  if (old) old.replaceWith(part);
  else if (own) own.replaceChildren(part);
  else tell(part);
  part.scrollIntoView({ block: "nearest" });
  part.querySelector(".questions input:not([type=hidden]), .questions select")?.focus();
}

// What was answered to the reader alone stands where it came, between the cards.
function tell(part) {
  const item = document.createElement("li");
  item.className = "message";
  item.append(part);
  log.append(item);
  document.getElementById("empty")?.remove();
}

function parse(html) {
  return new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
}

function key() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (one) => one.toString(16).padStart(2, "0")).join("");
}

// Up and down bring back what was typed in this tab.
const said = [];
let at = 0;

function remember(text) {
  said.push(text);
  at = said.length;
}

function recall(event) {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step || !said.length || (line.value && at === said.length)) return;
  event.preventDefault();
  at = Math.min(Math.max(at + step, 0), said.length);
  line.value = said[at] ?? "";
}
