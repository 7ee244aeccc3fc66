// One episode of CartPole over one WebSocket: push to where the pole falls. It runs in a web page
// and in Node 22 or newer (Node 20 needs --experimental-websocket).
const socket = new WebSocket(globalThis.process?.argv[2] ?? "ws://127.0.0.1:5000/gym");
const waiting = []; // replies come in the order of the requests

socket.onmessage = ({ data }) => waiting.shift().resolve(data);
socket.onclose = ({ code, reason }) => {
  for (const request of waiting) request.reject(new Error(`${code} ${reason}`));
};

function ask(method, params) {
  return new Promise((resolve, reject) => {
    waiting.push({ resolve, reject });
    socket.send(JSON.stringify({ method, params }));
  });
}

await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
const instance_id = await ask("make", { env_id: "CartPole-v1", seed: 0 }); // bare, not JSON
let observation = JSON.parse(await ask("reset", { instance_id }));
let done = false;
let total = 0;
while (!done) {
  const action = observation[2] > 0 ? 1 : 0;
  let reward;
  [observation, reward, done] = JSON.parse(await ask("step", { instance_id, action }));
  total += reward;
}
await ask("close", { instance_id });
console.log(`return ${total}`);

// Every error closes the connection; its reason says what was wrong.
await ask("reset", { instance_id }).catch((error) => console.log(error.message.slice(0, 15)));
