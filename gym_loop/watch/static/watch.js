// The page of a run: its agent at play, and what came of the last episodes.
import { $, ask, duration, keep, number, put, say, show, trouble } from "./common.js";

const PAUSE = 33; // ms between two pictures, at least
let seen = 0;
let paused = false;
let told = 0; // the finished episode that was said last

const value = (one) => (one === null || one === undefined ? "no number" : number.format(one));
const readable = (action) => {
  if (action === null || action === undefined) return "–";
  return Array.isArray(action) ? action.map((one) => one.toFixed(2)).join(", ") : String(action);
};

async function look() {
  if (paused) return;
  const response = await ask(`live/views/${seen}`);
  const view = JSON.parse(response.headers.get("gym-loop-view"));
  const blob = response.status === 200 ? await response.blob() : null;
  if (view.number !== seen) tell(view);
  seen = view.number;
  if (!blob) return;
  await show($("frame"), blob);
  $("no-frame").hidden = true;
}

function tell(view) {
  if (!view.run) return;
  put("title", `${view.run} at play`);
  document.title = `gym-loop: ${view.run}`;
  put("summary", `${view.agent} on ${view.env}`);
  $("frame").alt = `${view.env}, played by the agent of ${view.run}`;
  if (view.state === "waiting") {
    put("no-frame", "Waiting for the run's first checkpoint …");
    return;
  }
  if (!view.draws) put("no-frame", "This environment gives no pictures.");
  put("episode", number.format(view.episode));
  put("return", value(view.return));
  put("step", number.format(view.step));
  put("reward", value(view.reward));
  put("action", readable(view.action));
  $("action").classList.toggle("small-text", Array.isArray(view.action));
  put("checkpoint", number.format(view.checkpoint.step));
  $("checkpoint").title = `loaded ${duration(view.checkpoint.age)} ago`;
  const [last] = view.results;
  if (!last || last.episode === told) return;
  told = last.episode;
  say(`Episode ${last.episode}: return ${value(last.return)} in ${last.length} steps.`);
  $("rows").replaceChildren(...view.results.map(row));
  $("results").hidden = false;
  $("none").hidden = true;
}

function row(result) {
  const tr = document.createElement("tr");
  const texts = [result.episode, value(result.return), result.length, result.checkpoint];
  for (const one of texts) {
    const td = tr.insertCell();
    td.className = "number";
    td.textContent = typeof one === "number" ? number.format(one) : one;
  }
  return tr;
}

$("pause").onclick = () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  say(paused ? "Paused: while nobody watches, nothing is played." : "");
  again();
};
$("next").onclick = async () => {
  try {
    await ask("live/next", { method: "POST" });
    say("The next episode begins.");
  } catch (error) {
    trouble(error.message);
  }
};
document.onkeydown = (event) => {
  const busy = event.ctrlKey || event.altKey || event.metaKey || event.repeat;
  if (busy || event.target.tagName === "INPUT") return;
  const target = document.querySelector(`[aria-keyshortcuts="${CSS.escape(event.key.toLowerCase())}"]`);
  if (target) {
    event.preventDefault();
    target.click();
  }
};

const again = keep(look, () => (paused ? 500 : PAUSE));
