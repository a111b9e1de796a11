// What a command can fail with. Beside the server's codes there are three of our own, for what
// happens on this side of the wire: `disconnected`, `timeout` and `busy`.

export class CommandError extends Error {
  constructor({ code, message, retryAfterMs, fields, reason }) {
    super(message ?? code);
    this.name = 'CommandError';
    this.code = code;
    this.retryAfterMs = retryAfterMs;
    this.fields = fields;
    this.reason = reason;
  }
}
