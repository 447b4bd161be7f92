// A form that is signed gets the signature of the reader's passkey before it is sent, and one that enrols gets the key that the device made.
// Everything else about these forms is as for any other.
const PARTS = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];
const SENTENCES = {
  NotAllowedError: "The passkey was not used: it was put off, or it took too long. Nothing was sent.",
  SecurityError: "This page was opened under another address than the one that passkeys are for. Open Countersign under its own address.",
  InvalidStateError: "This device has one of your passkeys already.",
};
const ready = new WeakSet();

document.documentElement.classList.add("scripted");
document.addEventListener("submit", onSubmit, true);

function onSubmit(event) {
  const form = event.target;
  const work = form.dataset.sign ? sign : form.dataset.enrol ? enrol : null;
  if (!work || ready.delete(form)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  void prepare(form, work);
}

async function prepare(form, work) {
  const button = form.querySelector("button[type=submit]");
  const message = form.closest(".message");
  button.disabled = true;
  try {
    await work(form);
  } catch (error) {
    say(message, error.part ?? sentence(SENTENCES[error.name] ?? `The passkey could not be used: ${error.message}`));
  } finally {
    button.disabled = false;
  }
}

// Whoever has no passkey is told by the answer what to do, and an asker withdraws without one.
async function sign(form) {
  const options = await asked(form.dataset.sign);
  let assertion = "";
  if (options.publicKey.allowCredentials?.length) {
    const { credentials } = navigator;
    if (!credentials) throw new Error("this browser has none, or this page is not on https.");
    assertion = plain(await credentials.get(readable(options)));
  }
  // Its card may have been told again meanwhile; the same address is the same verdict on the same plan.
  const current = form.isConnected ? form : document.querySelector(`form[data-sign="${CSS.escape(form.dataset.sign)}"]`);
  if (!current) throw new Error("what you signed has changed meanwhile; look at it again.");
  if (current !== form && form.elements.reason) current.elements.reason.value = form.elements.reason.value;
  send(current, "assertion", assertion);
}

async function enrol(form) {
  if (!navigator.credentials) throw new Error("this browser has none, or this page is not on https.");
  const body = new URLSearchParams(new FormData(form));
  const options = await asked(form.dataset.enrol, { method: "POST", body });
  send(form, "credential", plain(await navigator.credentials.create(readable(options))));
}

function send(form, name, value) {
  form.elements.namedItem(name).value = value;
  form.querySelector("button[type=submit]").disabled = false;
  ready.add(form);
  form.requestSubmit();
}

async function asked(address, more = {}) {
  const response = await fetch(address, { ...more, headers: { "Countersign-Part": "1" } });
  if (response.ok) return response.json();
  throw Object.assign(new Error(), { part: window.countersign.parse(await response.text()) });
}

function say(message, part) {
  const own = message?.querySelector(":scope > .answers");
  if (own?.isConnected) own.replaceChildren(part);
  else window.countersign.tell(part);
  part.scrollIntoView({ block: "nearest" });
}

function sentence(text) {
  const part = window.countersign.parse('<div class="said bad" role="alert"><p class="text"></p></div>');
  part.querySelector("p").textContent = text;
  return part;
}

// The options as a browser wants them, and its answer as JSON (https://www.w3.org/TR/webauthn-3); older browsers cannot do it themselves.
function readable({ publicKey }) {
  const made = { ...publicKey, challenge: bytes(publicKey.challenge) };
  if (publicKey.user) made.user = { ...publicKey.user, id: bytes(publicKey.user.id) };
  for (const name of ["allowCredentials", "excludeCredentials"]) {
    if (publicKey[name]) made[name] = publicKey[name].map((one) => ({ ...one, id: bytes(one.id) }));
  }
  return { publicKey: made };
}

function plain(credential) {
  const response = {};
  for (const name of PARTS) if (credential.response[name]) response[name] = text(credential.response[name]);
  return JSON.stringify({ id: credential.id, rawId: text(credential.rawId), type: credential.type, response });
}

function bytes(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
}

function text(buffer) {
  const binary = Array.from(new Uint8Array(buffer), (one) => String.fromCharCode(one)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
