// The least that a server on ws can do for a room, in the words of ws.json: join (j ROOM -> J), and send (s ID TEXT -> A ID) to those in it (M TEXT).
// At its best: no compression, bufferutil for the masks, NODE_ENV=production, and each message framed once for all members of its room.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { Sender, WebSocketServer } from 'ws';

const require = createRequire(import.meta.url);
if (require('bufferutil') === require('bufferutil/fallback')) throw new Error('bufferutil has no binary for this platform: the figures would be too low');

const rooms = new Map();
const http = createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false, clientTracking: false, skipUTF8Validation: true });
const frameOf = (data) => Buffer.concat(Sender.frame(data, { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: false }));

server.on('connection', (ws, request) => {
  const socket = request.socket;
  let room = null;
  ws.on('message', (data) => {
    if (data[0] === 106) {  // j
      const name = data.toString('latin1', 2);
      room = rooms.get(name) ?? new Set();
      rooms.set(name, room);
      room.add(socket);
      ws.send('J');
      return;
    }
    const space = data.indexOf(32, 2);
    const text = Buffer.allocUnsafe(data.length - space + 1);
    text[0] = 77;  // M
    data.copy(text, 1, space);
    const frame = frameOf(text);
    for (const member of room) member.write(frame);
    ws.send('A ' + data.toString('latin1', 2, space));
  });
  ws.on('close', () => room?.delete(socket));
  ws.on('error', () => {});
});

http.listen(Number(process.env.PORT ?? 0), process.env.HOST ?? '127.0.0.1', () => {
  console.log(`listening on port ${http.address().port}`);
});
