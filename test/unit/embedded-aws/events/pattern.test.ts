import { describe, expect, it } from 'vitest';
import type { Json } from '../../../../embedded-aws/core/service.ts';
import { compilePattern } from '../../../../embedded-aws/events/pattern.ts';

const YES = true;
const NO = false;

describe('compilePattern', () => {
  it.each<[pattern: Json, event: Json, expected: boolean]>([
    // Exact values; types count.
    [{ source: ['aws.ssm'] }, { source: 'aws.ssm' }, YES],
    [{ source: ['aws.ec2', 'aws.ssm'] }, { source: 'aws.ssm' }, YES],
    [{ source: ['aws.ec2'] }, { source: 'aws.ssm' }, NO],
    [{ source: ['aws.ec2'] }, {}, NO],
    [{ a: ['x'], b: ['y'] }, { a: 'x', b: 'y' }, YES],
    [{ a: ['x'], b: ['y'] }, { a: 'x', b: 'z' }, NO],
    [{ n: [300] }, { n: 300.0 }, YES],
    [{ n: [300] }, { n: '300' }, NO],
    [{ b: [true] }, { b: true }, YES],
    [{ b: [true] }, { b: 'true' }, NO],
    [{ detail: { state: ['on'] } }, { detail: { state: 'on', more: 1 } }, YES],
    [{ detail: { state: ['on'] } }, { detail: 'on' }, NO],
    // null and empty.
    [{ x: [null] }, { x: null }, YES],
    [{ x: [null] }, {}, NO],
    [{ x: [''] }, { x: '' }, YES],
    // Arrays of the event: any element.
    [{ x: ['b'] }, { x: ['a', 'b'] }, YES],
    [{ x: ['c'] }, { x: ['a', 'b'] }, NO],
    [{ x: { y: ['b'] } }, { x: [{ y: 'a' }, { y: 'b' }] }, YES],
    [{ x: ['a'] }, { x: [] }, NO],
    // exists, of leaves.
    [{ x: [{ exists: true }] }, { x: null }, YES],
    [{ x: [{ exists: true }] }, {}, NO],
    [{ x: [{ exists: false }] }, {}, YES],
    [{ x: [{ exists: false }] }, { x: 1 }, NO],
    [{ x: { y: [{ exists: false }] } }, {}, YES],
    [{ x: [{ exists: true }] }, { x: { y: 1 } }, NO],
    [{ x: ['a', { exists: false }] }, {}, YES],
    // prefix, suffix.
    [{ x: [{ prefix: 'REPORT#' }] }, { x: 'REPORT#1' }, YES],
    [{ x: [{ prefix: 'REPORT#' }] }, { x: 'ORDER#1' }, NO],
    [{ x: [{ prefix: 're' }] }, { x: 1 }, NO],
    [{ x: [{ suffix: '.png' }] }, { x: 'a.png' }, YES],
    [{ x: [{ suffix: '.png' }] }, { x: 'a.PNG' }, NO],
    [{ x: [{ prefix: { 'equals-ignore-case': 'EVENT' } }] }, { x: 'eventBridge' }, YES],
    [{ x: [{ suffix: { 'equals-ignore-case': '.PNG' } }] }, { x: 'a.Png' }, YES],
    // equals-ignore-case.
    [{ x: [{ 'equals-ignore-case': 'aLiCe' }] }, { x: 'Alice' }, YES],
    [{ x: [{ 'equals-ignore-case': 'a.ice' }] }, { x: 'alice' }, NO],
    // anything-but; the field must be there.
    [{ x: [{ 'anything-but': 'a' }] }, { x: 'b' }, YES],
    [{ x: [{ 'anything-but': 'a' }] }, { x: 'a' }, NO],
    [{ x: [{ 'anything-but': 'a' }] }, {}, NO],
    [{ x: [{ 'anything-but': ['a', 'b'] }] }, { x: 'b' }, NO],
    [{ x: [{ 'anything-but': [100, 200] }] }, { x: 300 }, YES],
    [{ x: [{ 'anything-but': { prefix: 'init' } }] }, { x: 'initial' }, NO],
    [{ x: [{ 'anything-but': { prefix: ['init', 'err'] } }] }, { x: 'done' }, YES],
    [{ x: [{ 'anything-but': { suffix: '.txt' } }] }, { x: 'a.txt' }, NO],
    [{ x: [{ 'anything-but': { 'equals-ignore-case': ['ON', 'off'] } }] }, { x: 'On' }, NO],
    [{ x: [{ 'anything-but': { wildcard: '*/lib/*' } }] }, { x: 'a/lib/b' }, NO],
    [{ x: [{ 'anything-but': { wildcard: '*/lib/*' } }] }, { x: 'a/src/b' }, YES],
    // numeric.
    [{ n: [{ numeric: ['>', 0, '<=', 5] }] }, { n: 5 }, YES],
    [{ n: [{ numeric: ['>', 0, '<=', 5] }] }, { n: 0 }, NO],
    [{ n: [{ numeric: ['=', 3.018e2] }] }, { n: 301.8 }, YES],
    [{ n: [{ numeric: ['<', 10] }] }, { n: '5' }, NO],
    [{ n: [{ numeric: ['>=', 5] }] }, { n: 5 }, YES],
    // cidr.
    [{ ip: [{ cidr: '10.0.0.0/24' }] }, { ip: '10.0.0.255' }, YES],
    [{ ip: [{ cidr: '10.0.0.0/24' }] }, { ip: '10.0.1.0' }, NO],
    [{ ip: [{ cidr: '0.0.0.0/0' }] }, { ip: '203.0.113.9' }, YES],
    [{ ip: [{ cidr: '200.0.0.0/8' }] }, { ip: '200.9.9.9' }, YES],
    [{ ip: [{ cidr: '10.0.0.0/24' }] }, { ip: 'not an address' }, NO],
    // wildcard.
    [{ x: [{ wildcard: 'dir/*.png' }] }, { x: 'dir/a/b.png' }, YES],
    [{ x: [{ wildcard: 'dir/*.png' }] }, { x: 'dir/a.pngx' }, NO],
    [{ x: [{ wildcard: 'a\\*b' }] }, { x: 'a*b' }, YES],
    [{ x: [{ wildcard: 'a\\*b' }] }, { x: 'axb' }, NO],
    [{ x: [{ wildcard: 'a.b*' }] }, { x: 'axb' }, NO],
    // $or, among other fields and nested.
    [{ s: ['x'], $or: [{ a: [1] }, { b: [2] }] }, { s: 'x', b: 2 }, YES],
    [{ s: ['x'], $or: [{ a: [1] }, { b: [2] }] }, { s: 'x', a: 2, b: 1 }, NO],
    [{ s: ['x'], $or: [{ a: [1] }, { b: [2] }] }, { s: 'y', a: 1 }, NO],
    [{ d: { $or: [{ a: [{ numeric: ['>', 5] }] }, { b: ['z'] }] } }, { d: { a: 6 } }, YES],
  ])('%j on %j: %s', (pattern, event, expected) => {
    expect(compilePattern(pattern)(event)).toBe(expected);
  });

  it.each<[pattern: Json, reason: string]>([
    [{ source: 'aws.ssm' }, 'source must be an object'],
    [{ source: [] }, 'source must not be an empty list'],
    [{ a: { b: [{ like: 'x' }] } }, 'a.b unrecognized match type "like"'],
    [{ a: [{ prefix: 'x', suffix: 'y' }] }, 'exactly one operator'],
    [{ a: [{ numeric: ['>', '5'] }] }, '"numeric" takes'],
    [{ a: [{ numeric: ['>', 5, '<'] }] }, 'one or two comparisons'],
    [{ a: [{ cidr: '10.0.0.0' }] }, '"cidr" needs address/bits'],
    [{ a: [{ wildcard: 'a**b' }] }, 'consecutive wildcard'],
    [{ a: [{ 'anything-but': { numeric: ['>', 1] } }] }, '"anything-but" takes'],
    [{ $or: [{ a: ['x'] }] }, 'at least two patterns'],
  ])('rejects %j', (pattern, reason) => {
    expect(() => compilePattern(pattern)).toThrow(expect.objectContaining({ code: 'InvalidEventPatternException' }));
    expect(() => compilePattern(pattern)).toThrow(reason);
  });

  it('fails by name on IPv6', () => {
    expect(() => compilePattern({ ip: [{ cidr: '2001:db8::/32' }] })).toThrow('IPv6');
  });
});
