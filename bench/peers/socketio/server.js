// The least that a Socket.IO server can do for a room: join, and broadcast to those in it. In memory, no accounts, no history, nothing durable.
// At its best: WebSocket only, no compression, bufferutil for the masks (loaded by ws when it is installed), NODE_ENV=production.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { Server } from 'socket.io';

const require = createRequire(import.meta.url);
if (require('bufferutil') === require('bufferutil/fallback')) throw new Error('bufferutil has no binary for this platform: the figures would be too low');

const http = createServer();
const io = new Server(http, { transports: ['websocket'], perMessageDeflate: false, httpCompression: false, serveClient: false });

io.on('connection', (socket) => {
  let room = '';
  socket.on('join', (name, ack) => {
    room = name;
    socket.join(room);
    ack({ ok: true });
  });
  socket.on('send', (text, ack) => {
    io.to(room).emit('message', text);
    ack?.({ ok: true });
  });
});

http.listen(Number(process.env.PORT ?? 0), process.env.HOST ?? '127.0.0.1', () => {
  console.log(`listening on port ${http.address().port}`);
});
