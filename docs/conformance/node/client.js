'use strict';
// An agency's client for revision 8 of the protocol, written from docs/protocol.md alone. Plain Node, no packages.
//
//     node client.js HOST:PORT AGENCY FILE.csv [WINDOW]
//
// FILE.csv has rows of first_name,last_name,document,birthdate,number in UTF-8, without a header and without quotes.
// WINDOW batches may be unanswered at a time (default 16; 1 waits for each answer). The winners' documents go to
// standard output, one a line. Exit codes: 0 done, 2 usage, 3 a bad row, 4 the connection failed, 5 the server broke
// the protocol, 6 the server refused a batch.

const fs = require('node:fs');
const net = require('node:net');
const [MAX_FRAME_BYTES, MAX_BATCH_BETS] = [8192, 130];
const [BET_BATCH, WINNERS_REQUEST] = [1, 2];
const [ASK_AGAIN_MS, ASK_TIMES] = [1000, 60];

class Failure extends Error {
  constructor(exitCode, reason) { super(reason); this.exitCode = exitCode; }
}

// ---- bets and batches

const u16 = (value) => Buffer.from([value >> 8, value & 255]);

function text(value, field) {
  const bytes = Buffer.from(value, 'utf8');
  if (bytes.length < 1 || bytes.length > 255) throw new Failure(3, `${field}: expected 1 to 255 bytes`);
  if (/[\u0000-\u001f\u007f-\u009f]/.test(value)) throw new Failure(3, `${field}: a control character`);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

function isDay(value) {
  const parts = /^([0-9]{4})-([0-9]{2})-([0-9]{2})$/.exec(value);
  if (!parts || parts[1] === '0000') return false;
  const day = new Date(`${value}T00:00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(value);
}

function encodeBet(agency, row) {
  const fields = row.split(',');
  if (fields.length !== 5) throw new Failure(3, `expected 5 fields, not ${fields.length}`);
  const [firstName, lastName, document, birthdate, number] = fields;
  if (!/^[0-9]{8}$/.test(document)) throw new Failure(3, 'document: expected eight digits');
  if (!isDay(birthdate)) throw new Failure(3, 'birthdate: expected a day as YYYY-MM-DD');
  if (!/^[0-9]{1,4}$/.test(number)) throw new Failure(3, 'number: expected 0 to 9999');
  const names = [text(firstName, 'first_name'), text(lastName, 'last_name')];
  const body = [Buffer.from([agency]), ...names, Buffer.from(document + birthdate, 'ascii'), u16(Number(number))];
  return Buffer.concat([u16(Buffer.concat(body).length), ...body]);
}

function readBets(path, agency) {
  const content = new TextDecoder('utf-8', { fatal: true }).decode(fs.readFileSync(path)); // a BOM is taken away
  return content.split(/\r?\n/).flatMap((row, index) => {
    if (row === '') return [];
    try {
      return [encodeBet(agency, row)];
    } catch (error) {
      throw new Failure(3, `${path}:${index + 1}: ${error.message}`);
    }
  });
}

function* batches(bets) {
  for (let next = 0; next < bets.length;) {
    const first = next; // type and count take two bytes
    for (let size = 2; next < bets.length && next - first < MAX_BATCH_BETS; next += 1) {
      size += bets[next].length;
      if (size > MAX_FRAME_BYTES) break;
    }
    const count = next - first;
    yield { count, frame: Buffer.concat([Buffer.from([BET_BATCH, count]), ...bets.slice(first, next)]) };
  }
}

// ---- the connection: bytes come in any pieces, and are handed out as many as are asked for

async function connect(address) {
  const [, host, port] = /^\[?(.*?)\]?:([0-9]+)$/.exec(address) || [];
  if (!port) throw new Failure(2, `expected HOST:PORT, not ${address}`);
  const socket = net.connect({ host, port: Number(port), noDelay: true });
  const incoming = socket[Symbol.asyncIterator](); // its errors come out of `next`
  let buffer = Buffer.alloc(0);
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  return {
    send: (bytes) => socket.write(bytes),
    close: () => socket.destroy(),
    async read(size) {
      while (buffer.length < size) {
        const { value, done } = await incoming.next();
        if (done) throw new Failure(4, 'the server ended the connection where an answer was due');
        buffer = Buffer.concat([buffer, value]);
      }
      const taken = buffer.subarray(0, size);
      buffer = buffer.subarray(size);
      return taken;
    },
  };
}

async function upload(connection, bets, window) {
  const unanswered = [];
  const settle = async () => {
    const count = unanswered.shift();
    const [stored] = await connection.read(1);
    if (stored === 0) throw new Failure(6, `the server refused a batch of ${count} bets`);
    if (stored !== count) throw new Failure(5, `expected an acknowledgement of ${count} bets, not of ${stored}`);
  };
  for (const { count, frame } of batches(bets)) {
    connection.send(frame);
    if (unanswered.push(count) >= window) await settle();
  }
  while (unanswered.length) await settle();
}

async function winners(connection, agency) {
  connection.send(Buffer.from([WINNERS_REQUEST, agency]));
  const count = (await connection.read(2)).readUInt16BE();
  const documents = (await connection.read(8 * count)).toString('latin1').match(/.{8}/gs) || [];
  if (!documents.every((document) => /^[0-9]{8}$/.test(document))) throw new Failure(5, 'a document that is none');
  return documents;
}

async function main([address, agencyText, path, windowText = '16']) {
  const [agency, window] = [Number(agencyText), Number(windowText)];
  if (!path || !(agency >= 1 && agency <= 255) || !(window >= 1)) {
    throw new Failure(2, 'usage: node client.js HOST:PORT AGENCY FILE.csv [WINDOW]');
  }
  const bets = readBets(path, agency);
  let connection = await connect(address);
  await upload(connection, bets, window);
  for (let asked = 1, documents; !documents; asked += 1) {
    try { // a lost connection loses no answer: who asks twice counts once
      connection = connection || await connect(address);
      documents = await winners(connection, agency);
      process.stdout.write(documents.map((document) => `${document}\n`).join(''));
    } catch (error) {
      if (error.exitCode === 5 || asked === ASK_TIMES) throw error;
      await new Promise((resolve) => { setTimeout(resolve, ASK_AGAIN_MS); });
    } finally {
      if (connection) connection.close();
      connection = null;
    }
  }
}

main(process.argv.slice(2)).catch((error) => {
  process.stderr.write(`client.js: ${error.message}\n`);
  process.exit(error.exitCode || 4);
});
