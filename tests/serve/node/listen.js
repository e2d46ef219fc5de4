// A client as Node's `ws` has it by default: prints each message as one line of JSON.
//   node listen.js URL COUNT [PROTOCOL]
const WebSocket = require("ws");

const [url, count, protocol] = process.argv.slice(2);
const socket = new WebSocket(url, protocol ? [protocol] : [], { perMessageDeflate: true });
let left = Number(count);

socket.on("open", () => {
  console.log(JSON.stringify({ open: socket.extensions, protocol: socket.protocol }));
  socket.send("a compressible message ".repeat(200)); // means nothing, and hurts nothing
});
socket.on("message", (data, isBinary) => {
  console.log(JSON.stringify({ text: data.toString(), isBinary }));
  if (--left === 0) socket.close(1000);
});
socket.on("close", (code) => console.log(JSON.stringify({ close: code })));
socket.on("error", (error) => console.log(JSON.stringify({ error: error.message })));
