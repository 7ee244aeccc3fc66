// One episode of CartPole from JavaScript: push to where the pole falls. Node 18 or newer.
const url = `${process.argv[2] ?? "http://127.0.0.1:5000"}/v1/envs`;

async function post(path, body) {
  const reply = await fetch(url + path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body ?? {}),
  });
  if (reply.status === 204) return null;
  const content = await reply.json();
  if (!reply.ok) throw new Error(content.message);
  return content;
}

const { instance_id } = await post("/", { env_id: "CartPole-v1", seed: 0 });
let { observation } = await post(`/${instance_id}/reset/`);
let done = false;
let total = 0;
while (!done) {
  const action = observation[2] > 0 ? 1 : 0;
  let reward;
  ({ observation, reward, done } = await post(`/${instance_id}/step/`, { action }));
  total += reward;
}
await post(`/${instance_id}/close/`);
console.log(`return ${total}`);
