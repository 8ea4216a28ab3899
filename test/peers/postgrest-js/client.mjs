// @supabase/postgrest-js against the gateway: a line of JSON {name, problem} for each check.
//   node client.mjs URL TOKEN
import { isDeepStrictEqual } from 'node:util';
import { PostgrestClient } from '@supabase/postgrest-js';

const [, , url, token] = process.argv;
const anonymous = new PostgrestClient(url);
const clerk = new PostgrestClient(url, { headers: { Authorization: `Bearer ${token}` } });

async function check(name, query, expected) {
  const answer = await query;
  const got = {};
  for (const key of Object.keys(expected))
    got[key] = answer[key] ?? null;
  if (got.error)
    got.error = Object.fromEntries(Object.keys(expected.error ?? got.error).map((key) => [key, got.error[key] ?? null]));
  const problem = isDeepStrictEqual(got, expected) ? null : JSON.stringify({ got, expected, answer });
  console.log(JSON.stringify({ name, problem }));
}

const ids = (...list) => list.map((id) => ({ id }));

await check('a scalar by POST', anonymous.rpc('sum_of', { a: 1, b: 2 }), { data: 3, error: null, status: 200 });
await check('a scalar by GET', anonymous.rpc('sum_of', { a: 1, b: 2 }, { get: true }), { data: 3, error: null, status: 200 });
await check('an array as argument by GET', anonymous.rpc('all_of', { v: ['a', 'b'] }, { get: true }), { data: ['{a,b}'], error: null });
await check('an array as argument by POST', anonymous.rpc('all_of', { v: ['a', 'b'] }), { data: ['a', 'b'], error: null });
await check('without arguments', anonymous.rpc('plain'), { data: 'What a function without parameters returns.', error: null });
await check('void', anonymous.rpc('nothing'), { data: null, error: null, status: 204 });
await check('a head with a count', anonymous.rpc('all_tools', {}, { head: true, count: 'exact' }), { count: 5, data: null, error: null, status: 200 });
await check('rows, selected', anonymous.rpc('all_tools').select('id,label:name').limit(1), { data: [{ id: 1, label: 'Plane 7' }], error: null });
await check('eq', anonymous.rpc('all_tools').select('id').eq('name', 'Saw'), { data: ids(3), error: null });
await check('neq, gt, lte', anonymous.rpc('all_tools').select('id').neq('id', 3).gt('id', 1).lte('id', 4), { data: ids(2, 4), error: null });
await check('in', anonymous.rpc('all_tools').select('id').in('name', ['Saw', 'Chisel', 'a,b']), { data: ids(3, 4), error: null });
await check('is', anonymous.rpc('all_tools').select('id').is('maker_id', null), { data: ids(5), error: null });
await check('like, ilike', anonymous.rpc('all_tools').select('id').like('name', 'Plane%').ilike('name', '%10'), { data: ids(2), error: null });
await check('likeAnyOf', anonymous.rpc('all_tools').select('id').likeAnyOf('name', ['S%', 'C%']), { data: ids(3, 4), error: null });
await check('or', anonymous.rpc('all_tools').select('id').or('id.eq.1,and(id.gt.3,name.neq.Chisel)'), { data: ids(1, 5), error: null });
await check('not', anonymous.rpc('all_tools').select('id').not('id', 'in', '(1,2)'), { data: ids(3, 4, 5), error: null });
await check('filter', anonymous.rpc('all_tools').select('id').filter('id', 'gte', 4), { data: ids(4, 5), error: null });
await check('match', anonymous.rpc('all_tools').select('id').match({ id: 2, name: 'Plane 10' }), { data: ids(2), error: null });
await check('contains', anonymous.rpc('all_items').select('id').contains('numbers', [1, 2]), { data: ids(2, 3), error: null });
await check('containedBy, overlaps', anonymous.rpc('all_items').select('id').containedBy('numbers', [1, 2, 3]).overlaps('numbers', [3]), { data: ids(3), error: null });
await check('ranges', anonymous.rpc('all_spans').select('id').rangeGte('span', '[4,7]').rangeAdjacent('span', '[12,20]'), { data: [], error: null });
await check('textSearch', anonymous.rpc('all_words').select('id').textSearch('vector', 'fat rats', { type: 'plain', config: 'english' }), { data: ids(3), error: null });
await check('order', anonymous.rpc('all_tools').select('id').order('maker_id', { ascending: false, nullsFirst: false }).order('id'), { data: ids(3, 4, 1, 2, 5), error: null });
await check('range', anonymous.rpc('all_tools', {}, { count: 'exact' }).select('id').range(1, 2), { data: ids(2, 3), count: 5, status: 206, error: null });
await check('single', anonymous.rpc('tool', { id: 1 }).select('id').single(), { data: { id: 1 }, error: null });
await check('single of many', anonymous.rpc('all_tools').select('id').single(), { data: null, status: 406, error: { code: 'PGRST116', details: 'The result contains 5 rows' } });
await check('maybeSingle of none', anonymous.rpc('tool', { id: 99 }).select('id').maybeSingle(), { data: null, error: null });
await check('csv', anonymous.rpc('tool', { id: 1 }).csv(), { data: 'id,name,maker_id\n1,"Plane 7",1', error: null });
await check('maxAffected', anonymous.rpc('rename_tools', { low: 1, high: 5, name: 'x' }).maxAffected(2), { data: null, status: 400, error: { code: 'PGRST124' } });
await check('rollback', anonymous.rpc('rename_tools', { low: 5, high: 5, name: 'x' }).select('name').rollback(), { data: [{ name: 'x' }], error: null });
await check('rolled back', anonymous.rpc('tool', { id: 5 }).select('name'), { data: [{ name: 'Nameless' }], error: null });
await check('an unknown function', anonymous.rpc('gree', { name: 'x' }), { data: null, status: 404, error: { code: 'PGRST202', hint: 'Perhaps you meant to call the function conform.greet' } });
await check('a raised error', anonymous.rpc('pay_first'), { data: null, status: 402, error: { code: 'PT402', message: 'Payment Required', details: 'Quota exceeded', hint: 'Upgrade your plan' } });
await check('nobody may not', anonymous.rpc('privileged_greet', { name: 'x' }), { data: null, status: 401, error: { code: '42501' } });
await check('the token\'s role may', clerk.rpc('privileged_greet', { name: 'x' }), { data: 'Privileged hello to x', error: null });
await check('another schema', anonymous.schema('conform_two').rpc('parents_below', { id: 4 }), { data: [{ id: 3, name: 'parent 3' }], error: null });
await check('an unknown schema', anonymous.schema('nowhere').rpc('plain'), { data: null, status: 406, error: { code: 'PGRST106' } });
