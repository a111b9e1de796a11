// A TCP gate before a real server, which can pass, hang (take connections and bytes, and say nothing), fall silent (as a network that is cut: what is
// there stays and nothing passes), refuse (reset), or answer HTTP errors itself.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export class Gate {
  // target: {host, port} or {path}, or null where nothing is behind it. `address`: where it listens.
  static async open(target = null, address = '127.0.0.1') {
    const gate = new Gate(target);
    gate.listener.listen(0, address);
    await once(gate.listener, 'listening');
    return gate;
  }

  constructor(target) {
    this.target = target;
    this.mode = 'pass';
    this.sockets = new Set();
    this.listener = createServer((socket) => this.#take(socket));
  }

  get port() { return this.listener.address().port; }
  get url() { return `http://${this.listener.address().address}:${this.port}`; }

  // 'pass', 'hang', 'silent', 'refuse', or an HTTP status. Connections that are there are cut: what they were in the middle of is not known any more.
  set(mode) {
    this.mode = mode;
    for (const socket of this.sockets) mode === 'silent' ? socket.unpipe().pause() : socket.destroy();
  }

  close() {
    for (const socket of this.sockets) socket.destroy();
    return new Promise((done) => this.listener.close(done));
  }

  #keep(socket) {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('error', () => {});
  }

  #take(socket) {
    this.#keep(socket);
    if (this.mode === 'refuse') return socket.resetAndDestroy();
    if (this.mode === 'hang' || this.mode === 'silent') return socket.resume();
    if (this.mode !== 'pass') {
      // Once for each connection: when the head is there.
      socket.once('data', () => socket.end(`HTTP/1.1 ${this.mode} Said by the gate\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`));
      return undefined;
    }
    const behind = connect(this.target);
    this.#keep(behind);
    socket.pipe(behind).pipe(socket);
    socket.on('close', () => behind.destroy());
    behind.on('close', () => socket.destroy());
    return undefined;
  }
}
