// One episode of CartPole, and some steps of four copies at once, over the native protocol. It runs in
// a web page and in Node 22 or newer (Node 20 needs --experimental-websocket).
const socket = new WebSocket(globalThis.process?.argv[2] ?? "ws://127.0.0.1:5000/native");
socket.binaryType = "arraybuffer";
const waiting = new Map(); // by number: what to do with the reply
let last = 0;

const ARRAYS = {
  "<f4": Float32Array, "<f8": Float64Array, "|i1": Int8Array, "<i2": Int16Array, "<i4": Int32Array,
  "<i8": BigInt64Array, "|u1": Uint8Array, "|b1": Uint8Array, "<u2": Uint16Array, "<u4": Uint32Array,
};
const padded = (size) => size + ((8 - (size % 8)) % 8);

function write(number, fields) {
  const body = []; // typed arrays, each at a multiple of 8
  let size = 0;
  const replace = (key, value) => {
    if (!ArrayBuffer.isView(value)) return value;
    const dtype = Object.keys(ARRAYS).find((name) => value instanceof ARRAYS[name]);
    const offset = size;
    body.push([offset, value]);
    size += padded(value.byteLength);
    return { $a: [dtype, [value.length], offset] };
  };
  const header = new TextEncoder().encode(JSON.stringify(fields, replace));
  const start = padded(16 + header.length);
  const message = new Uint8Array(start + size);
  const view = new DataView(message.buffer);
  message.set([71, 76, 78, 1]); // GLN, version 1
  view.setUint32(4, header.length, true);
  view.setBigUint64(8, BigInt(number), true);
  message.set(header, 16);
  for (const [offset, array] of body) {
    message.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), start + offset);
  }
  return message;
}

function read(data) {
  const view = new DataView(data);
  const size = view.getUint32(4, true);
  const start = padded(16 + size);
  const revive = (key, value) => {
    if (value === null || typeof value !== "object" || !("$a" in value)) return value;
    const [dtype, shape, offset] = value.$a;
    const count = shape.reduce((product, one) => product * one, 1);
    return Object.assign(new ARRAYS[dtype](data, start + offset, count), { shape });
  };
  const header = new TextDecoder().decode(new Uint8Array(data, 16, size));
  return [Number(view.getBigUint64(8, true)), JSON.parse(header, revive)];
}

function ask(op, fields = {}) {
  return new Promise((resolve, reject) => {
    waiting.set((last += 1), { resolve, reject });
    socket.send(write(last, { op, ...fields }));
  });
}

socket.onmessage = ({ data }) => {
  const [number, fields] = read(data);
  const { resolve, reject } = waiting.get(number);
  waiting.delete(number);
  if (fields.error) reject(new Error(`${fields.error.code}: ${fields.error.message}`));
  else resolve(fields);
};

await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
await ask("hello", { version: 1 });
const { instance } = await ask("make", { env_id: "CartPole-v1" });
let { observation } = await ask("reset", { instance, seed: 0 });
let total = 0;
for (let over = false; !over; ) {
  const step = await ask("step", { instance, action: observation[2] > 0 ? 1 : 0 });
  observation = step.observation;
  total += step.reward;
  over = step.terminated || step.truncated;
}
console.log(`return ${total}`);
await ask("step", { instance, action: 7 }).catch((error) => console.log(error.message.slice(0, 12)));
await ask("close", { instance });

const copies = await ask("make", { env_id: "CartPole-v1", num_envs: 4 });
await ask("reset", { instance: copies.instance, seed: 0 });
const actions = BigInt64Array.of(0n, 1n, 0n, 1n);
const steps = [1, 2, 3].map(() => ask("step", { instance: copies.instance, action: actions }));
for (const { observation } of await Promise.all(steps)) { // three requests were under way at once
  console.log(observation.shape.join("x"), observation[0].toFixed(6));
}
socket.close();
