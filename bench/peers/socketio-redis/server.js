// The room broadcast of ../socketio, through the Redis adapter: how Socket.IO is run where there is more than one process.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createAdapter } from '@socket.io/redis-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const require = createRequire(import.meta.url);
if (require('bufferutil') === require('bufferutil/fallback')) throw new Error('bufferutil has no binary for this platform: the figures would be too low');

const publisher = createClient({ url: `redis://127.0.0.1:${process.env.REDIS_PORT}` });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(publisher, subscriber), transports: ['websocket'], perMessageDeflate: false, httpCompression: false, serveClient: false,
});

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
