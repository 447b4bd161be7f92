// Keeps the room live; what pages share, such as sending forms, is in console.js.
const { keep, own, parse, place, tell } = window.countersign;
const log = document.getElementById("log");
const answers = document.getElementById("answers");
const live = document.getElementById("live");
const line = document.getElementById("line");
let stream = null;
let seen = "";
let cameBack = false;

if (log) {
  for (const said of [...answers.children]) tell(said);
  document.addEventListener("visibilitychange", connect);
  line.addEventListener("keydown", recall);
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", connect);
  document.addEventListener("sent", remember);
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
    show(own(parse(event.data)));
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

// Up and down bring back what was typed in this tab.
const said = [];
let at = 0;

function remember(event) {
  if (event.target.id !== "say") return;
  said.push(event.detail);
  at = said.length;
  line.value = "";
}

function recall(event) {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step || !said.length || (line.value && at === said.length)) return;
  event.preventDefault();
  at = Math.min(Math.max(at + step, 0), said.length);
  line.value = said[at] ?? "";
}
