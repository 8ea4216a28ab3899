// The same call behind node:http and pg, for make bench (figures/gateway.py): token, role, transaction, one function.
//
// Usage: node server.mjs 'host=/socket port=… user=… dbname=…' pool
import http from 'node:http';
import pg from 'pg';

const begin = 'SELECT access.begin_request($1, $2, $3, $4, $5, $6, $7)';
const call = `SELECT (api.certificate("id" => $1::pg_catalog.uuid))::pg_catalog.text AS body,
 pg_catalog.current_setting('response.status', true) AS status, pg_catalog.current_setting('response.headers', true) AS headers`;

const settings = Object.fromEntries(process.argv[2].split(' ').map((pair) => pair.split('=')));
const pool = new pg.Pool({
  host: settings.host, port: Number(settings.port), user: settings.user, database: settings.dbname,
  max: Number(process.argv[3]), min: Number(process.argv[3]), idleTimeoutMillis: 0,
});

async function certificate(request, id) {
  const token = request.headers.authorization?.replace(/^Bearer /, '');
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query({
      name: 'begin', text: begin,
      values: [token, null, true, request.method, request.url, JSON.stringify(request.headers), '{}'],
    });
    const result = await client.query({ name: 'certificate', text: call, values: [id] });
    await client.query('COMMIT');
    return result.rows[0];
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

const server = http.createServer(async (request, response) => {
  const found = request.method === 'GET' && request.url.match(/^\/certificates\/([^/?]+)$/);
  if (!found) {
    response.writeHead(404).end();
    return;
  }
  try {
    const answer = await certificate(request, decodeURIComponent(found[1]));
    response.writeHead(Number(answer.status || 200), { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(answer.body) });
    response.end(answer.body);
  } catch (error) {
    console.error(error.message);
    response.writeHead(500).end(error.message);
  }
});

server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
