// What every page shares: forms are sent without loading the page, regions are read again when something changed, and keys.
// Without this file everything works by sending forms and loading the page again.
const region = document.querySelector("[data-live]");
const live = document.getElementById("live");
let stream = null;
let reading = false;
let stale = false;
let sending = 0;
let missed = false;
let held = 0;

window.countersign = { keep, own, parse, place, tell };
reveal();
addEventListener("resize", reveal);
document.addEventListener("submit", send);
document.addEventListener("keydown", onKey);
if (region) {
  document.addEventListener("visibilitychange", connect);
  document.addEventListener("sent", read);
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", connect);
  connect();
}

// Where a row of links is longer than a phone is wide, the one for this page is in view.
function reveal() {
  for (const one of document.querySelectorAll("nav [aria-current]")) one.parentElement.scrollLeft = one.offsetLeft - one.parentElement.offsetLeft - 48;
}

// A hidden tab gives its connection back: a browser has six for one site, and there may be a tab for each of the cast.
function connect() {
  if (document.hidden) return disconnect();
  if (stream && stream.readyState !== EventSource.CLOSED) return;
  const address = new URL(region.dataset.live, location.href);
  const acting = new URLSearchParams(location.search).get("as");
  if (acting) address.searchParams.set("as", acting);
  const again = stream !== null || stale;
  stream = new EventSource(address);
  stream.addEventListener("open", () => say("on", "live"));
  stream.addEventListener("error", () => {
    say("off", "reconnecting …");
    if (stream && stream.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  });
  stream.addEventListener("changed", read);
  stream.addEventListener("items", (event) => items(JSON.parse(event.data)));
  stream.addEventListener("region", (event) => show(own(body(event.data))));
  if (again) read();
}

function disconnect() {
  if (stream) stale = true;
  stream?.close();
  stream = null;
}

function say(state, text) {
  if (!live) return;
  live.className = "live " + state;
  live.textContent = text;
}

// The page again, without its frame; what is being read meanwhile makes one more reading.
async function read() {
  const wait = held - Date.now();
  if (wait > 0) return void setTimeout(read, wait + 10);
  stale = false;
  if (reading) return void (stale = true);
  reading = true;
  try {
    const response = await fetch(location.href, { headers: { "Countersign-Part": "1" } });
    const fresh = response.ok && body(await response.text());
    // Asked for before an answer came, it would take the answer away with its row.
    if (sending || Date.now() < held) stale = true;
    else if (fresh) show(fresh);
  } catch {
    say("off", "the hub does not answer …");
  } finally {
    reading = false;
    if (stale) setTimeout(read, 500);
  }
}

// What has come, changed or gone in an inbox; where that makes another page of it, all is read again.
function items(told) {
  if (sending) return void (missed = true);
  if (Date.now() < held) return read();
  const list = region.querySelector("ol.log");
  const gone = Object.keys(told).filter((id) => !told[id] && document.getElementById(id));
  const left = (list?.childElementCount ?? 0) - gone.length;
  if (!list || left < 1 || left + Object.keys(told).length > 20 || list.childElementCount >= 20) return read();
  for (const id of gone) document.getElementById(id).remove();
  for (const [id, html] of Object.entries(told)) if (html) item(list, document.getElementById(id), own(parse(html)));
}

function item(list, before, after) {
  if (before?.dataset.version === after.dataset.version) return;
  if (before) {
    const focused = focusPlace();
    keep(before, after);
    answered(before, after);
    after.classList.toggle("picked", before.classList.contains("picked"));
    before.replaceWith(after);
    return refocus(focused);
  }
  const until = (one) => one.querySelector("time[data-until]")?.dateTime ?? "";
  const next = [...list.children].find((one) => !until(after) || until(one) > until(after));
  list.insertBefore(after, next ?? null);
}

// What was answered beneath an item stays there.
function answered(before, after) {
  const answers = before.querySelector(":scope > .answers");
  if (answers?.childElementCount) after.querySelector(":scope > .answers")?.replaceWith(answers);
}

// Parts that have an id and stayed the same are left alone, with the answers beneath them and what is being written in them.
function show(fresh) {
  const picked = region.querySelector(".picked");
  const focused = focusPlace();
  for (const after of fresh.querySelectorAll("[id][data-version]")) {
    const before = document.getElementById(after.id);
    if (!before) continue;
    if (before.dataset.version === after.dataset.version) after.replaceWith(before);
    else {
      keep(before, after);
      answered(before, after);
    }
  }
  keep(region, fresh);
  region.replaceChildren(...fresh.childNodes);
  if (picked) region.querySelector(same(picked))?.classList.add("picked");
  refocus(focused);
}

// What has the keyboard has it still when its place was told again: the same button of the same item, or else the item.
function focusPlace() {
  const one = document.activeElement;
  const item = one?.closest("[data-open], [id][data-version]");
  return item && region.contains(item) ? { one, item: same(item), within: one === item ? "" : place(item, one) } : null;
}

function refocus(kept) {
  if (!kept || document.activeElement === kept.one) return;
  const item = region.querySelector(kept.item);
  const one = kept.one.isConnected ? kept.one : ((kept.within && item?.querySelector(kept.within)) || item);
  if (!one) return;
  if (one === item) one.tabIndex = -1;
  one.focus({ preventScroll: true });
}

function same(item) {
  return item.id ? `#${CSS.escape(item.id)}` : `[data-open="${CSS.escape(item.dataset.open)}"]`;
}

// j and k walk through what can be opened or decided; a, d and o press what the picked one has.
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  const list = document.querySelector("[data-keys]");
  if (!list) return;
  const items = [...list.querySelectorAll("[data-open]")];
  const at = items.findIndex((one) => one.classList.contains("picked"));
  if (event.key === "j" || event.key === "k") pick(items, at < 0 ? 0 : at + (event.key === "j" ? 1 : -1));
  else if (at >= 0 && event.key === "o") location.assign(items[at].dataset.open);
  else if (at >= 0 && (event.key === "a" || event.key === "d")) press(items[at], event.key === "a" ? "approve" : "deny");
  else return;
  event.preventDefault();
}

function pick(items, to) {
  const one = items[Math.min(Math.max(to, 0), items.length - 1)];
  items.forEach((each) => each.classList.toggle("picked", each === one));
  if (!one) return;
  one.tabIndex = -1;
  one.focus({ preventScroll: true });
  one.scrollIntoView({ block: "nearest" });
}

// What asks for a reason or a confirmation is opened; a second press of the key would not answer it.
function press(item, intent) {
  const asked = item.querySelector(`details[data-keep="${intent}"]`);
  if (asked) {
    asked.open = true;
    asked.querySelector("textarea, button")?.focus();
    return;
  }
  const form = [...item.querySelectorAll("form")].find((one) => one.elements.namedItem("intent")?.value === intent);
  form?.requestSubmit();
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
  // What was chosen stays chosen while it is about the same plan.
  for (const chosen of before.querySelectorAll('input[name^="pick."]:checked')) {
    const same = after.querySelector(`input[name="${CSS.escape(chosen.name)}"]`);
    if (same?.value === chosen.value) same.checked = true;
  }
}

// What is told to many readers at once has no token in its forms: each reader's page puts in its own.
function own(part) {
  const mine = document.querySelector('input[name="csrf"]:not([value=""])')?.form.elements;
  for (const token of part.querySelectorAll('input[name="csrf"][value=""]')) {
    const { elements } = token.form;
    token.value = mine?.namedItem("csrf").value ?? "";
    elements.namedItem("as").value = mine?.namedItem("as").value ?? "";
    elements.namedItem("key").value = key();
  }
  return part;
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
  const typed = form.elements.namedItem("text")?.value ?? "";
  // The card may be replaced by its next version before the answer is here; the message stays.
  const message = form.closest(".message");
  button.disabled = true;
  sending += 1;
  try {
    const response = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { "Countersign-Part": "1" },
    });
    answer(form, message, parse(await response.text()), response.ok);
    form.elements.namedItem("key").value = key();
    // An item that leaves an inbox stays until its answer can be read.
    if (response.ok && region?.dataset.keys === "cards") held = Date.now() + 1200;
    if (response.ok) form.dispatchEvent(new CustomEvent("sent", { bubbles: true, detail: typed }));
  } catch {
    // The key stays the same, so sending again is the same request.
    const note = parse('<div class="said bad" role="alert"><p class="text"></p></div>');
    note.querySelector("p").textContent = "The hub does not answer. Nothing is lost: send it again in a moment.";
    answer(form, message, note, false);
  } finally {
    button.disabled = false;
    sending -= 1;
    if (region && missed && !sending) {
      missed = false;
      read();
    }
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
  const log = document.getElementById("log");
  if (!log) return document.getElementById("answers")?.replaceChildren(part);
  const item = document.createElement("li");
  item.className = "message";
  item.append(part);
  log.append(item);
  document.getElementById("empty")?.remove();
}

function parse(html) {
  return body(html).firstElementChild;
}

function body(html) {
  return new DOMParser().parseFromString(html, "text/html").body;
}

function key() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (one) => one.toString(16).padStart(2, "0")).join("");
}
