/* The products of kernels.js in WebAssembly SIMD: machine code for any processor, put together here by hand. Each
   instruction is a few bytes, each function a list of them. https://webassembly.github.io/spec/core/binary */
Playground.define("assembly", [], () => {
  "use strict";

  /** @typedef {number[]} Code */

  /** A whole number of any size in packs of seven bits. @param {number} n @returns {Code} */
  const leb = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)]);
  /** The same with a sign. @param {number} n @returns {Code} */
  const signed = (n) => (n >= -64 && n < 64 ? [n & 127] : [(n & 127) | 128, ...signed(n >> 7)]);

  const [I32, V128] = [0x7f, 0x7b];
  const get = (/** @type {number} */ local) => [0x20, ...leb(local)];
  const set = (/** @type {number} */ local) => [0x21, ...leb(local)];
  const whole = (/** @type {number} */ n) => [0x41, ...signed(n)];
  const ADD = [0x6a];
  const TIMES = [0x6c];
  const BELOW_OR_EQUAL = [0x4c]; // of signed whole numbers
  const simd = (/** @type {number} */ code) => [0xfd, ...leb(code)];
  const load = (/** @type {number} */ offset) => [...simd(0x00), 3, ...leb(offset)];
  const loadTwice = (/** @type {number} */ offset) => [...simd(0x0a), 3, ...leb(offset)]; // one number in both halves
  const store = (/** @type {number} */ offset) => [...simd(0x0b), 3, ...leb(offset)];
  const NOTHING = [...simd(0x0c), ...new Array(16).fill(0)];
  const half = (/** @type {number} */ lane) => [...simd(0x21), lane];
  const PLUS = simd(0xf0);
  const PRODUCT = simd(0xf2);

  /** `local` += code. @param {number} local @param {Code} code @returns {Code} */
  const move = (local, code) => [...get(local), ...code, ...ADD, ...set(local)];

  /**
   * Repeat while a local and so many more are at most an end.
   * @param {number} local
   * @param {number} more
   * @param {Code} end
   * @param {Code} body which moves `local`
   * @returns {Code}
   */
  function whileFits(local, more, end, body) {
    const fits = [...get(local), ...whole(more), ...ADD, ...end, ...BELOW_OR_EQUAL];
    return [0x03, 0x40, ...fits, 0x04, 0x40, ...body, 0x0c, 1, 0x0b, 0x0b]; // loop, if, branch to the loop
  }

  /** Names for locals: the parameters first. @param {string[]} names @returns {Record<string, number>} */
  const named = (names) => Object.fromEntries(names.map((name, i) => [name, i]));

  const range = (/** @type {number} */ n) => Array.from({ length: n }, (_, i) => i);

  /** Parameters, whole numbers of its own, registers of two numbers, and code of a function. */
  /** @typedef {{parameters: number, locals: number, registers: number, code: Code}} Body */

  /**
   * out[o] = bias[o] + sum over i of w[o, i] x[i], for four rows and four columns at a time, and for single rows.
   * @returns {Body}
   */
  function mix() {
    const parameters = ["out", "rows", "w", "down", "along", "bias", "x", "inner", "columns"];
    const own = ["row", "column", "i", "at", "w0", "w1", "w2", "w3", "to", "from"];
    const l = named([...parameters, ...own]);
    const first = parameters.length + own.length; // the registers: sums, and two for x
    const sum = (/** @type {number} */ r, /** @type {number} */ v) => first + 2 * r + v;
    const [x0, x1] = [first + 8, first + 9];

    const some = (/** @type {number} */ rows) => {
      const w = range(rows).map((r) => l[`w${r}`]);
      /** @type {Code} */
      const begin = range(rows).flatMap((r) => [
        ...get(l.bias), 0x04, V128, // if there is a bias
        ...get(l.bias), ...get(l.row), ...whole(8), ...TIMES, ...ADD, ...loadTwice(8 * r), 0x05, ...NOTHING, 0x0b,
        ...set(sum(r, 0)), ...get(sum(r, 0)), ...set(sum(r, 1)),
        ...get(l.w), ...get(l.row), ...whole(r), ...ADD, ...get(l.down), ...TIMES, ...ADD, ...set(w[r]),
      ]);
      const add = range(rows).flatMap((r) => [x0, x1].flatMap((x, v) => [
        ...get(x), ...get(w[r]), ...loadTwice(0), ...PRODUCT, ...get(sum(r, v)), ...PLUS, ...set(sum(r, v)),
      ]));
      const inner = whileFits(l.i, 1, get(l.inner), [
        ...get(l.from), ...load(0), ...set(x0), ...get(l.from), ...load(16), ...set(x1), ...add,
        ...w.flatMap((local) => move(local, get(l.along))), ...move(l.from, get(l.columns)), ...move(l.i, whole(1)),
      ]);
      const end = range(rows).flatMap((r) => [
        ...get(l.to), ...get(sum(r, 0)), ...store(0), ...get(l.to), ...get(sum(r, 1)), ...store(16),
        ...move(l.to, get(l.columns)),
      ]);
      const columns = whileFits(l.column, 32, get(l.columns), [
        ...begin, ...get(l.x), ...get(l.column), ...ADD, ...set(l.from), ...whole(0), ...set(l.i), ...inner,
        ...get(l.out), ...get(l.row), ...get(l.columns), ...TIMES, ...ADD, ...get(l.column), ...ADD, ...set(l.to),
        ...end, ...move(l.column, whole(32)),
      ]);
      return whileFits(l.row, rows, get(l.rows), [
        ...whole(0), ...set(l.column), ...columns, ...move(l.row, whole(rows)),
      ]);
    };
    return { parameters: parameters.length, locals: own.length, registers: 10, code: [...some(4), ...some(1)] };
  }

  /**
   * out[i, j] += sum over the columns of a[i] b[j], for four i and two j at a time, and for what is left.
   * @returns {Body}
   */
  function dots() {
    const parameters = ["out", "a", "rows", "b", "across", "columns"];
    const own = ["row", "j", "column", "a0", "a1", "a2", "a3", "b0", "b1", "to"];
    const l = named([...parameters, ...own]);
    const first = parameters.length + own.length;
    const sum = (/** @type {number} */ r, /** @type {number} */ s) => first + 2 * r + s;
    const of = (/** @type {number} */ s) => first + 8 + s;

    const some = (/** @type {number} */ rows, /** @type {number} */ across) => {
      const point = (/** @type {string} */ name, /** @type {number} */ n, /** @type {number} */ base, /** @type {number} */ at) =>
        range(n).flatMap((k) => [
          ...get(base), ...get(at), ...whole(k), ...ADD, ...get(l.columns), ...TIMES, ...ADD, ...set(l[`${name}${k}`]),
        ]);
      const clear = range(rows).flatMap((r) => range(across).flatMap((s) => [...NOTHING, ...set(sum(r, s))]));
      const add = range(rows).flatMap((r) => range(across).flatMap((s) => [
        ...get(l[`a${r}`]), ...load(0), ...get(of(s)), ...PRODUCT, ...get(sum(r, s)), ...PLUS, ...set(sum(r, s)),
      ]));
      const along = whileFits(l.column, 16, get(l.columns), [
        ...range(across).flatMap((s) => [...get(l[`b${s}`]), ...load(0), ...set(of(s))]), ...add,
        ...range(rows).flatMap((r) => move(l[`a${r}`], whole(16))),
        ...range(across).flatMap((s) => move(l[`b${s}`], whole(16))), ...move(l.column, whole(16)),
      ]);
      const both = (/** @type {number} */ local) => [
        ...get(local), ...half(0), ...get(local), ...half(1), 0xa0, // added up
      ];
      const end = range(rows).flatMap((r) => [
        ...get(l.out), ...get(l.row), ...whole(r), ...ADD, ...get(l.across), ...TIMES, ...get(l.j), ...ADD,
        ...whole(8), ...TIMES, ...ADD, ...set(l.to),
        ...range(across).flatMap((s) => [
          ...get(l.to), ...get(l.to), 0x2b, 3, ...leb(8 * s), ...both(sum(r, s)), 0xa0, 0x39, 3, ...leb(8 * s),
        ]),
      ]);
      return whileFits(l.j, across, get(l.across), [
        ...clear, ...point("a", rows, l.a, l.row), ...point("b", across, l.b, l.j), ...whole(0), ...set(l.column),
        ...along, ...end, ...move(l.j, whole(across)),
      ]);
    };
    const all = (/** @type {number} */ rows) => whileFits(l.row, rows, get(l.rows), [
      ...whole(0), ...set(l.j), ...some(rows, 2), ...some(rows, 1), ...move(l.row, whole(rows)),
    ]);
    return { parameters: parameters.length, locals: own.length, registers: 10, code: [...all(4), ...all(1)] };
  }

  /** A list with its length. @param {Code[]} items @returns {Code} */
  const list = (items) => [...leb(items.length), ...items.flat()];
  /** Something with its length in bytes. @param {Code} code @returns {Code} */
  const sized = (code) => [...leb(code.length), ...code];
  /** @param {string} text @returns {Code} */
  const text = (text) => sized([...text].map((letter) => letter.charCodeAt(0)));

  /**
   * The program: functions `mix` and `dots`, which work on the memory `js.memory`.
   * @returns {Uint8Array<ArrayBuffer>}
   */
  function products() {
    const bodies = [mix(), dots()];
    const types = bodies.map(({ parameters }) => [0x60, ...list(range(parameters).map(() => [I32])), 0]);
    const codes = bodies.map(({ locals, registers, code }) =>
      sized([...list([[...leb(locals), I32], [...leb(registers), V128]]), ...code, 0x0b]));
    const sections = [
      [1, list(types)],
      [2, list([[...text("js"), ...text("memory"), 0x02, 0x00, 1]])],
      [3, list([[0], [1]])],
      [7, list([[...text("mix"), 0, 0], [...text("dots"), 0, 1]])],
      [10, list(codes)],
    ];
    const bytes = sections.flatMap(([id, content]) => [/** @type {number} */ (id), ...sized(/** @type {Code} */ (content))]);
    return new Uint8Array([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...bytes]);
  }

  return { products };
});
