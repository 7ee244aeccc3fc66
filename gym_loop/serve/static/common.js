// What all pages share: the token, requests, a pace for them, and the picture.

export const $ = (id) => document.getElementById(id);
export const number = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

const KEPT = "gym-loop-token"; // in this tab alone, and never in an address
let token = sessionStorage.getItem(KEPT) ?? "";
let asking = null;

const address = new URL(location.href);
if (address.searchParams.has("token")) {
  token = address.searchParams.get("token");
  sessionStorage.setItem(KEPT, token);
  address.searchParams.delete("token");
  history.replaceState(null, "", address);
}

export const hasToken = () => token !== "";

/** A request that was refused; `message` is the server's sentence. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Send a request to the server of this page; asks for the token where one is needed. */
export async function ask(path, { method = "GET", body } = {}) {
  const headers = {};
  const used = token;
  if (used) headers.Authorization = `Bearer ${used}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const options = { method, headers, cache: "no-store", credentials: "omit" };
  if (body !== undefined) options.body = JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refusal(0, "The server cannot be reached.");
  }
  if (response.status === 401) {
    if (token === used) await askForToken();
    return ask(path, { method, body });
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw new Refusal(response.status, answer.message ?? `The server answered ${response.status}.`);
}

export const askJson = async (path, options) => (await ask(path, options)).json();

function askForToken() {
  asking ??= new Promise((resolve) => {
    const dialog = $("token-dialog");
    $("token-wrong").hidden = !token;
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    $("token-form").onsubmit = (event) => {
      event.preventDefault();
      token = $("token").value.trim();
      sessionStorage.setItem(KEPT, token);
      $("token").value = "";
      dialog.close();
      asking = null;
      resolve();
    };
    dialog.showModal();
  });
  return asking;
}

/** Say something to everyone, screen readers too. */
export const say = (text) => {
  $("said").textContent = text;
};

/** Show what went wrong, or, with nothing, that it is over. */
export const trouble = (text = "") => {
  if ($("trouble").textContent !== text) $("trouble").textContent = text;
};

/**
 * Do something again and again: one at a time, `pause` ms from start to start, never while the
 * page is hidden, and rarely while it fails. Returns a function that does it at once.
 */
export function keep(work, pause) {
  let timer = 0;
  let busy = false;
  const turn = async () => {
    clearTimeout(timer);
    if (busy || document.hidden) return;
    busy = true;
    const start = performance.now();
    let rest;
    try {
      await work();
      rest = pause() - (performance.now() - start);
      if (failed === turn) trouble((failed = null) ?? "");
    } catch (error) {
      failed = turn;
      trouble(error.message);
      rest = 2000;
    }
    busy = false;
    timer = setTimeout(turn, Math.max(rest, 0));
  };
  document.addEventListener("visibilitychange", turn);
  turn();
  return turn;
}
let failed = null; // the work whose trouble is shown

/** Show a JPEG in an image, and let go of the one before. */
export async function show(image, blob) {
  const before = image.src;
  image.src = URL.createObjectURL(blob);
  await image.decode().catch(() => {});
  image.classList.toggle("tiny", image.naturalWidth < 300);
  image.hidden = false;
  if (before.startsWith("blob:")) URL.revokeObjectURL(before);
}

/** Set an element's text, if it is another one: what is unchanged is not read out again. */
export function put(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

/** A duration in seconds, as people say it. */
export function duration(seconds) {
  if (seconds < 100) return `${Math.floor(seconds)} s`;
  if (seconds < 6000) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
}
