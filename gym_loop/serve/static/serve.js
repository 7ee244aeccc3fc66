// The page of a server: what is open, and one environment seen live and stepped by hand.
import { $, Refusal, ask, askJson, duration, hasToken, keep, number, put, say, show, trouble }
  from "./common.js";

const MOST_BUTTONS = 64;
const MOST_FIELDS = 16;
let fps = 10;
let chosen = null; // the instance that is looked at: {id, env, seen, action, steps...}
const own = new Set(); // instances that this page has made

const route = (instance, rest) => `v1/envs/${encodeURIComponent(instance.id)}/${rest}`;
const post = (path, body) => ask(path, { method: "POST", body });

// -- what is open ---------------------------------------------------------------------------

function row(instance) {
  const tr = document.createElement("tr");
  tr.dataset.id = instance.id;
  const th = document.createElement("th");
  th.scope = "row";
  const button = document.createElement("button");
  button.append(code(instance.id));
  button.setAttribute("aria-label", `Look at ${instance.env}, instance ${instance.id}`);
  button.onclick = () => attempt(() => choose(instance, true));
  th.append(button);
  tr.append(th);
  for (const kind of ["", "number", "number", "number", "number"]) {
    const td = document.createElement("td");
    td.className = kind;
    tr.append(td);
  }
  return tr;
}

function code(text) {
  const element = document.createElement("code");
  element.textContent = text;
  return element;
}

function fill(tr, one) {
  const texts = [one.env, number.format(one.steps), total(one), duration(one.age), duration(one.idle)];
  texts.forEach((text, index) => {
    const cell = tr.cells[index + 1];
    if (cell.textContent !== text) cell.textContent = text;
  });
  const picked = chosen?.id === one.id;
  tr.classList.toggle("picked", picked);
  tr.querySelector("button").setAttribute("aria-pressed", picked);
}

const total = (one) => (one.return === null ? "no number" : number.format(one.return));

async function refreshRows() {
  const { instances, others } = await askJson("live/instances");
  const body = $("rows");
  const known = new Map([...body.rows].map((tr) => [tr.dataset.id, tr]));
  for (const one of instances) {
    const tr = known.get(one.id) ?? body.appendChild(row(one));
    known.delete(one.id);
    fill(tr, one);
    if (chosen?.id === one.id) showNumbers(one);
  }
  for (const tr of known.values()) tr.remove();
  $("open").hidden = !instances.length;
  $("none").hidden = instances.length > 0;
  $("others").hidden = !others;
  put("others", `${number.format(others)} more are open; the oldest are shown.`);
  const count = instances.length + others;
  put("summary", `Protocol gym-http-api v1, ${number.format(count)} open`);
  if (chosen && !others && !instances.some((one) => one.id === chosen.id)) leave("It was closed.");
}

async function refreshEnvironments() {
  const found = await askJson("live/environments");
  fps = found.fps;
  const ids = found.environments;
  put("served", `${number.format(ids.length)} served environments`);
  $("env-ids").replaceChildren(...ids.map((id) => Object.assign(new Option(), { value: id })));
  $("served-list").replaceChildren(
    ...ids.map((id) => {
      const item = document.createElement("li");
      item.append(code(id));
      return item;
    }),
  );
  $("env-id").value ||= ids.includes("CartPole-v1") ? "CartPole-v1" : (ids[0] ?? "");
  writeExample();
}

function writeExample() {
  const here = new URL(".", location.href).href;
  const header = hasToken() ? " \\\n    -H 'Authorization: Bearer TOKEN'" : "";
  const json = " \\\n    -H 'Content-Type: application/json' -d ";
  const env = $("env-id").value.replaceAll("'", "") || "CartPole-v1";
  $("example").textContent = [
    `curl -X POST ${here}v1/envs/${header}${json}'${JSON.stringify({ env_id: env })}'`,
    '# {"instance_id":"3c657dbc"}',
    `curl -X POST ${here}v1/envs/3c657dbc/reset/${header}`,
    `curl -X POST ${here}v1/envs/3c657dbc/step/${header}${json}'{"action": 0}'`,
  ].join("\n");
}

$("make").onsubmit = (event) => {
  event.preventDefault();
  attempt(async () => {
    const body = { env_id: $("env-id").value.trim() };
    if ($("seed").value) body.seed = Number($("seed").value);
    const made = await (await post("v1/envs/", body)).json();
    const instance = { id: made.instance_id, env: body.env_id };
    own.add(instance.id);
    await post(route(instance, "reset/"));
    await choose(instance, true);
    say(`${instance.env} was made and reset.`);
  });
};
$("env-id").onchange = writeExample;

// -- the one that is looked at --------------------------------------------------------------

async function choose(instance, focus) {
  stopPlaying();
  chosen = { id: instance.id, env: instance.env, seen: "", frames: true, action: null, over: false };
  const current = chosen;
  $("viewer-title").replaceChildren(`${instance.env} `, code(instance.id));
  $("nothing").hidden = true;
  $("stage").hidden = false;
  $("frame").hidden = true;
  $("frame").alt = `Current picture of ${instance.env}, instance ${instance.id}`;
  $("actions").replaceChildren();
  put("no-frame", "Waiting for its first reset …");
  $("no-frame").hidden = false;
  put("reward", "–");
  say("");
  if (focus) $("viewer").focus({ preventScroll: innerWidth > 992 });
  history.replaceState(null, "", `#${encodeURIComponent(instance.id)}`);
  refresh();
  const { info } = await askJson(route(current, "action_space/"));
  if (chosen === current) await buildActions(info);
}

function leave(why) {
  stopPlaying();
  chosen = null;
  $("stage").hidden = true;
  $("nothing").hidden = false;
  $("viewer-title").textContent = "Nothing chosen";
  put("nothing", `${why} Choose an open environment to see it live.`);
  history.replaceState(null, "", location.pathname);
}

function showNumbers(one) {
  put("return", total(one));
  put("steps", number.format(one.steps));
  put("episodes", number.format(one.episodes));
  if (!one.frames) {
    chosen.frames = false;
    $("frame").hidden = true;
    $("no-frame").hidden = false;
    put("no-frame", fps ? "This environment gives no pictures." : "This server shows no pictures.");
  }
}

async function lookOnce() {
  const current = chosen;
  if (!current?.frames) return;
  let response;
  try {
    response = await ask(`live/frames/${encodeURIComponent(current.id)}/${current.seen}`);
  } catch (error) {
    if (chosen !== current) return;
    if (error.status === 404) current.frames = false;
    throw error;
  }
  const one = JSON.parse(response.headers.get("gym-loop-instance"));
  if (chosen !== current) return;
  showNumbers(one);
  if (response.status === 204) return;
  const blob = await response.blob();
  if (chosen !== current) return;
  current.seen = one.shows;
  await show($("frame"), blob);
  $("no-frame").hidden = true;
}

// -- by hand --------------------------------------------------------------------------------

async function reset() {
  const current = chosen;
  await post(route(current, "reset/"));
  current.over = false;
  if (chosen !== current) return;
  put("reward", "–");
  say("A new episode has begun.");
}

async function step(action) {
  const current = chosen;
  const { reward, done } = await (await post(route(current, "step/"), { action })).json();
  if (chosen !== current) return;
  put("reward", reward === null ? "no number" : number.format(reward));
  current.over = done;
  if (done) {
    await refreshRows();
    say(`The episode is over: return ${$("return").textContent}.`);
  }
}

async function randomStep() {
  if (chosen.over) return reset();
  const current = chosen;
  const { action } = await askJson(route(current, "action_space/sample"));
  return chosen === current ? step(action) : undefined;
}

/** Do what a button asks for; its trouble is shown. */
async function attempt(work) {
  try {
    await work();
    trouble();
  } catch (error) {
    stopPlaying();
    if (!(error instanceof Refusal || error instanceof SyntaxError)) throw error;
    const needsReset = chosen && /must be reset/.test(error.message);
    trouble(needsReset ? "It must be reset before its first step." : error.message);
  } finally {
    look();
  }
}

/** The same with the chosen instance, one thing at a time: what is in a hurry may be left out. */
async function use(work, inHurry = false) {
  const current = chosen;
  if (!current || (inHurry && current.busy)) return;
  while (current.busy) await current.busy;
  if (chosen !== current) return;
  current.busy = attempt(work);
  await current.busy;
  current.busy = null;
}

let playing = 0;
function stopPlaying() {
  clearTimeout(playing);
  playing = 0;
  $("play").setAttribute("aria-pressed", "false");
}
async function playOn() {
  const start = performance.now();
  if (!document.hidden) await use(randomStep);
  if (!playing) return;
  playing = setTimeout(playOn, Math.max(0, 1000 / Math.max(fps, 1) - (performance.now() - start)));
}
function togglePlaying() {
  if (playing) return stopPlaying();
  $("play").setAttribute("aria-pressed", "true");
  playing = setTimeout(playOn, 0);
}

async function close() {
  const current = chosen;
  const ours = own.has(current.id);
  if (!ours && !confirm(`Close ${current.env}, which another program may be using?`)) return;
  stopPlaying();
  await post(route(current, "close/"));
  leave("It was closed.");
  await refreshRows();
}

const act = () => use(() => step(chosen.action()), true);

function button(text, action, key) {
  const element = document.createElement("button");
  element.textContent = text;
  if (key !== undefined) {
    element.setAttribute("aria-keyshortcuts", key);
    element.append(Object.assign(document.createElement("kbd"), { textContent: key }));
  }
  element.onclick = () => use(() => step(action), true);
  return element;
}

function field(text, attributes, kind = "input") {
  const label = document.createElement("label");
  const name = Object.assign(document.createElement("span"), { textContent: text });
  const input = Object.assign(document.createElement(kind), attributes);
  input.onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      act();
    }
  };
  label.append(name, input);
  return [label, input];
}

function stepButton() {
  const element = Object.assign(document.createElement("button"), { textContent: "Step" });
  element.className = "first";
  element.onclick = act;
  return element;
}

/** What an action is given with: buttons, number fields, or JSON. */
async function buildActions(info) {
  const place = $("actions");
  const size = (info.shape ?? []).reduce((product, one) => product * one, 1);
  if (info.name === "Discrete" && info.n <= MOST_BUTTONS) {
    const start = info.start ?? 0;
    const actions = Array.from({ length: info.n }, (_, index) => start + index);
    const keyed = (action) => (action >= 0 && action <= 9 ? String(action) : undefined);
    place.replaceChildren(...actions.map((one) => button(`Action ${one}`, one, keyed(one))));
  } else if (info.name === "Box" && size > 0 && size <= MOST_FIELDS) {
    const fields = Array.from({ length: size }, (_, index) => boxField(info, index, size));
    chosen.action = () => fields.map(([, input]) => numeric(input));
    if (!info.shape.length) chosen.action = () => numeric(fields[0][1]);
    if (info.shape.length > 1) chosen.action = () => nested(info.shape, fields.map(([, one]) => numeric(one)));
    place.replaceChildren(...fields.map(([label]) => label), stepButton());
  } else {
    const current = chosen;
    const { action } = await askJson(route(current, "action_space/sample"));
    if (chosen !== current) return;
    const attributes = { rows: 2, value: JSON.stringify(action), spellcheck: false };
    const [label, input] = field("Action, as JSON", attributes, "textarea");
    label.className = "grow";
    chosen.action = () => JSON.parse(input.value);
    place.replaceChildren(label, stepButton());
  }
}

function boxField(info, index, size) {
  const bound = (values, infinite) => {
    const value = Array.isArray(values) ? values[index] : values;
    return value === undefined || value === null || Math.abs(value) >= 1e38 ? infinite : value;
  };
  const low = bound(info.low, -Infinity);
  const high = bound(info.high, Infinity);
  const middle = Number.isFinite(low + high) ? Math.min(Math.max(0, low), high) : 0;
  const range = Number.isFinite(low + high) ? `, ${number.format(low)} to ${number.format(high)}` : "";
  const attributes = { type: "number", step: "any", value: middle, className: "small" };
  if (Number.isFinite(low)) attributes.min = low;
  if (Number.isFinite(high)) attributes.max = high;
  return field(`${size > 1 ? `Part ${index}` : "Action"}${range}`, attributes);
}

function numeric(input) {
  if (!input.value.trim() || !input.validity.valid) {
    input.focus();
    throw new Refusal(0, `${input.previousSibling.textContent}: ${input.validationMessage || "a number is needed"}`);
  }
  return Number(input.value);
}

function nested(shape, flat) {
  if (shape.length === 1) return flat;
  const length = flat.length / shape[0];
  return Array.from({ length: shape[0] }, (_, index) =>
    nested(shape.slice(1), flat.slice(index * length, (index + 1) * length)));
}

$("reset").onclick = () => use(reset);
$("random").onclick = () => use(randomStep, true);
$("play").onclick = togglePlaying;
$("close").onclick = () => use(close);
$("viewer").onkeydown = (event) => {
  const typing = /^(INPUT|TEXTAREA)$/.test(event.target.tagName);
  if (typing || !chosen || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const selector = `[aria-keyshortcuts="${CSS.escape(event.key.toLowerCase())}"]`;
  const target = $("viewer").querySelector(selector);
  if (target) {
    event.preventDefault();
    target.click();
  }
};

// -- from now on ----------------------------------------------------------------------------

const refresh = keep(refreshRows, () => 1000);
const look = keep(lookOnce, () => 1000 / Math.max(fps, 1));
const wanted = decodeURIComponent(location.hash.slice(1));
await attempt(async () => {
  await refreshEnvironments();
  const { instances } = await askJson("live/instances");
  const found = instances.find((one) => one.id === wanted);
  if (found) await choose(found, false);
});
